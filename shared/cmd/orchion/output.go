package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"go.yaml.in/yaml/v3"
	"golang.org/x/term"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// The values of --output.
const (
	outputTable = "table"
	outputJSON  = "json"
	outputYAML  = "yaml"
)

var outputs = []string{outputTable, outputJSON, outputYAML}

// show prints a message as --output says; table prints it for people.
func (c *cli) show(w io.Writer, message proto.Message, table func(io.Writer) error) error {
	if c.output == outputTable {
		return table(w)
	}
	data, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(message)
	if err != nil {
		return err
	}
	// protojson varies its white space on purpose; scripts want it stable.
	var value any
	if err := json.Unmarshal(data, &value); err != nil {
		return err
	}
	return c.encode(w, value)
}

// encode prints a value as --output says, which is not table.
func (c *cli) encode(w io.Writer, value any) error {
	if c.output == outputYAML {
		encoder := yaml.NewEncoder(w)
		encoder.SetIndent(2)
		return encoder.Encode(value)
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

// table prints rows in columns; the first row is the head.
func table(w io.Writer, rows ...[]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, row := range rows {
		for i := range row {
			row[i] = printable(row[i])
		}
		if _, err := fmt.Fprintln(t, strings.TrimRight(strings.Join(row, "\t"), "\t")); err != nil {
			return err
		}
	}
	return t.Flush()
}

// printable keeps what a machine or a job named itself from steering the
// terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return ' '
		}
		return r
	}, s)
}

// isTerminal says whether a person watches.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// age says how long ago something was.
func age(t *timestamppb.Timestamp) string {
	if t == nil {
		return "-"
	}
	return short(time.Since(t.AsTime()))
}

// short prints a duration in its largest unit or two.
func short(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd", int(d.Hours())/24)
	}
}

// bytesText prints a size in binary units.
func bytesText(n int64) string {
	const step = 1024
	if n < step {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n), ""
	for _, unit = range []string{"KiB", "MiB", "GiB", "TiB", "PiB"} {
		value /= step
		if value < step {
			break
		}
	}
	return fmt.Sprintf("%.1f %s", value, unit)
}

// enumText turns JOB_STATE_RUNNING into running.
func enumText(name, prefix string) string {
	return strings.ToLower(strings.TrimPrefix(name, prefix))
}

// orDash prints something for what is empty.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
