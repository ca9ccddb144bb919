package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

type logOptions struct {
	follow        bool
	attempt, tail int
	timestamps    bool
	since         time.Time // zero: all
	grep          string
}

// parseSince reads a time, or how long ago it was.
func parseSince(text string, now time.Time) (time.Time, error) {
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return at, usagef("--since is %q; it must be a period such as 10m or 36h, or a time such as 2006-01-02T15:04:05Z", text)
	}
	return at, nil
}

// maxLogLine is above the longest entry that the orchestrator sends, as JSON.
const maxLogLine = 1 << 20

// copyLogs prints a job's log: stdout to out, stderr to errOut, each line as it
// comes.
func (c *cli) copyLogs(ctx context.Context, id string, options logOptions, out, errOut io.Writer) error {
	query := url.Values{}
	if options.follow {
		query.Set("follow", "true")
	}
	if options.attempt > 0 {
		query.Set("attempt", strconv.Itoa(options.attempt))
	}
	if options.tail > 0 {
		query.Set("tail", strconv.Itoa(options.tail))
	}
	if !options.since.IsZero() {
		query.Set("since", options.since.UTC().Format(time.RFC3339Nano))
	}
	if options.grep != "" {
		query.Set("grep", options.grep)
	}
	return c.copyLog(ctx, "/api/jobs/"+segment(id)+"/logs", query, options.timestamps, out, errOut)
}

// copyLog prints the log that a path has.
func (c *cli) copyLog(ctx context.Context, path string, query url.Values, timestamps bool, out, errOut io.Writer) error {
	response, err := c.client().stream(ctx, http.MethodGet, path, query, "application/x-ndjson", nil)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }() // only read from
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(make([]byte, 0, 64<<10), maxLogLine)
	raw := c.output != outputTable
	for lines.Scan() {
		if raw {
			if _, err := fmt.Fprintf(out, "%s\n", lines.Bytes()); err != nil {
				return err
			}
			continue
		}
		entry := &orchionv1.LogEntry{}
		if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(lines.Bytes(), entry); err != nil {
			return fmt.Errorf("the log's stream: %w", err)
		}
		if err := printEntry(entry, timestamps, out, errOut); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("the log broke off: %w", err)
	}
	return nil
}

func printEntry(entry *orchionv1.LogEntry, timestamps bool, out, errOut io.Writer) error {
	w := out
	if entry.GetStream() == "stderr" {
		w = errOut
	}
	if timestamps && entry.GetTime() != nil {
		if _, err := fmt.Fprint(w, entry.GetTime().AsTime().Local().Format(time.RFC3339Nano), " "); err != nil {
			return err
		}
	}
	// To a pipe the text goes as it is; a terminal is kept from being steered
	// by more than colours.
	text := entry.GetText()
	if entry.GetNote() {
		text = "orchion: " + text
	}
	if isTerminal(w) {
		text = withoutControls(text)
	}
	_, err := fmt.Fprintln(w, text)
	return err
}
