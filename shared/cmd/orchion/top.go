package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

const (
	// topNodes is how many nodes are asked for: more than fit on a screen.
	topNodes = 100
	// topQueueShare and topNodeShare are which part of a screen queues and nodes get at the
	// most; the jobs get the rest.
	topQueueShare = 6
	topNodeShare  = 4
	// minTopInterval keeps watching from becoming a load.
	minTopInterval = 200 * time.Millisecond
)

func (c *cli) jobTop() *cobra.Command {
	var once bool
	var limit int
	var interval time.Duration
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch queues, nodes and what runs",
		Long: "Shows queues, nodes and the jobs that nodes hold, newest first, and again each second until q or Ctrl-C is\n" +
			"pressed. With --once, and where nobody watches, it prints that once.",
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case limit < 1 || limit > 1000:
				return usagef("--limit is %d; it must be between 1 and 1000", limit)
			case interval < minTopInterval:
				return usagef("--interval is %s; it must be at least %s", interval, minTopInterval)
			}
			fetch := func(ctx context.Context) (*snapshot, error) { return c.snapshot(ctx, limit) }
			first, err := fetch(cmd.Context())
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if once || c.output != outputTable || !isTerminal(out) {
				return c.showSnapshot(out, first)
			}
			return watchTop(cmd.Context(), out, interval, first, fetch)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&once, "once", false, "print it once")
	f.IntVarP(&limit, "limit", "n", 50, "how many jobs at the most, 1 to 1000")
	f.DurationVar(&interval, "interval", time.Second, "how often it is shown anew, at least "+minTopInterval.String())
	return cmd
}

// snapshot is what there is to see at one time.
type snapshot struct {
	url     string
	at      time.Time
	cluster *orchionv1.Cluster
	queues  *orchionv1.ListQueuesResponse
	nodes   *orchionv1.ListNodesResponse
	jobs    *orchionv1.ListJobsResponse
	// failed is why it could not be taken anew; empty: it was.
	failed string
}

func (c *cli) snapshot(ctx context.Context, jobs int) (*snapshot, error) {
	s := &snapshot{
		url: c.url, at: time.Now(), cluster: &orchionv1.Cluster{}, queues: &orchionv1.ListQueuesResponse{},
		nodes: &orchionv1.ListNodesResponse{}, jobs: &orchionv1.ListJobsResponse{},
	}
	held := url.Values{"state": {"JOB_STATE_RUNNING,JOB_STATE_ASSIGNED"}, "pageSize": {strconv.Itoa(jobs)}}
	for _, call := range []struct {
		path  string
		query url.Values
		into  proto.Message
	}{
		{"/api/cluster", nil, s.cluster},
		{"/api/queues", nil, s.queues},
		{"/api/nodes", url.Values{"pageSize": {strconv.Itoa(topNodes)}}, s.nodes},
		{"/api/jobs", held, s.jobs},
	} {
		if err := c.client().call(ctx, http.MethodGet, call.path, call.query, nil, call.into); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// showSnapshot prints all of it.
func (c *cli) showSnapshot(w io.Writer, s *snapshot) error {
	if c.output == outputTable {
		for _, line := range s.lines(0, 0) {
			if _, err := fmt.Fprintln(w, line); err != nil {
				return err
			}
		}
		return nil
	}
	value := map[string]any{}
	for name, message := range map[string]proto.Message{"cluster": s.cluster, "queues": s.queues, "nodes": s.nodes, "jobs": s.jobs} {
		data, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(message)
		if err != nil {
			return err
		}
		var plain any
		if err := json.Unmarshal(data, &plain); err != nil {
			return err
		}
		if list, ok := plain.(map[string]any); ok && list[name] != nil {
			plain = list[name] // of a page, what is on it
		}
		value[name] = plain
	}
	return c.encode(w, value)
}

// lines are what to print on a screen of that size; 0: without bounds.
func (s *snapshot) lines(width, height int) []string {
	nodes, jobs := s.cluster.GetNodes(), s.cluster.GetJobs()
	lines := []string{
		fmt.Sprintf("%s at %s", s.url, s.at.UTC().Format("15:04:05Z")),
		fmt.Sprintf("nodes: %d online, %d draining, %d offline   jobs: %d queued, %d on nodes",
			nodes.GetOnline(), nodes.GetDraining(), nodes.GetOffline(), jobs.GetQueued(), jobs.GetActive()),
	}
	if p := s.cluster.GetPause(); p != nil {
		lines = append(lines, "RESCHEDULING IS PAUSED: "+p.GetReason())
	}
	if s.failed != "" {
		lines = append(lines, "NOT CURRENT: "+s.failed)
	}
	for i, part := range []struct {
		rows [][]string
		most int
		all  int
	}{
		{s.queueRows(), height / topQueueShare, len(s.queues.GetQueues())},
		{s.nodeRows(), height / topNodeShare, int(s.nodes.GetTotalSize())},
		{s.jobRows(), height, int(jobs.GetActive())},
	} {
		rows := part.rows
		if height > 0 {
			// An empty line and the heads of this part and of those that follow.
			left := height - len(lines) - 2*(3-i)
			if most := max(min(part.most, left), 1); len(rows)-1 > most {
				rows = rows[:most+1]
			}
		}
		if more := part.all - (len(rows) - 1); more > 0 {
			rows[0][0] += fmt.Sprintf(" (%d MORE)", more)
		}
		lines = append(lines, "")
		lines = append(lines, tableLines(rows)...)
	}
	if height > 0 && len(lines) > height {
		lines = lines[:height]
	}
	for i := range lines {
		lines[i] = cutTo(printable(lines[i]), width)
	}
	return lines
}

func tableLines(rows [][]string) []string {
	var text bytes.Buffer
	_ = table(&text, rows...) // a buffer takes all
	return strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n")
}

// cutTo cuts text to so many characters; 0: not at all.
func cutTo(text string, width int) string {
	runes := []rune(text)
	if width <= 0 || len(runes) <= width {
		return text
	}
	return string(runes[:width-1]) + "…"
}

func (s *snapshot) queueRows() [][]string {
	rows := [][]string{{"QUEUE", "WEIGHT", "QUEUED", "RUNNING", "LIMIT", "STATE"}}
	for _, q := range s.queues.GetQueues() {
		rows = append(rows, queueRow(q))
	}
	return rows
}

func (s *snapshot) nodeRows() [][]string {
	rows := [][]string{{"NODE", "STATE", "JOBS", "CPU", "MEMORY", "DISK", "GPUS"}}
	for _, n := range s.nodes.GetNodes() {
		has, used := n.GetCapabilities(), n.GetUsage()
		gpus := "-"
		if len(used.GetGpus()) > 0 {
			var busy []string
			for _, g := range used.GetGpus() {
				busy = append(busy, fmt.Sprintf("%.0f%%", g.GetUtilizationPercent()))
			}
			gpus = strings.Join(busy, " ")
		}
		rows = append(rows, []string{
			n.GetHostname(), nodeState(n), strconv.Itoa(int(used.GetRunningJobs())), fmt.Sprintf("%.0f%%", used.GetCpuPercent()),
			share(used.GetMemoryUsedBytes(), has.GetMemory().GetTotalBytes()), share(used.GetDiskUsedBytes(), has.GetDisk().GetTotalBytes()), gpus,
		})
	}
	return rows
}

// share prints how much of something is used.
func share(used, total int64) string {
	if total <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f%% of %s", 100*float64(used)/float64(total), bytesText(total))
}

func (s *snapshot) jobRows() [][]string {
	rows := [][]string{{"JOB", "NAME", "QUEUE", "STATE", "NODE", "ATTEMPT", "AGE", "RUNS", "REASON"}}
	for _, j := range s.jobs.GetJobs() {
		row := jobRow(j)
		rows = append(rows, []string{row[0], row[1], j.GetSpec().GetQueue(), row[2], row[3], row[4], row[5], row[6], row[7]})
	}
	return rows
}

// Sequences of a terminal: a screen of its own without a cursor, and back; to the upper left;
// the rest of the line, and of the screen, is empty.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	topLeft     = "\x1b[H"
	restOfLine  = "\x1b[K"
	restBelow   = "\x1b[J"
)

// watchTop shows snapshots on the terminal until somebody has seen enough.
func watchTop(ctx context.Context, out io.Writer, interval time.Duration, first *snapshot, fetch func(context.Context) (*snapshot, error)) error {
	size := func() (int, int) {
		if file, ok := out.(*os.File); ok {
			if width, height, err := term.GetSize(int(file.Fd())); err == nil {
				return width, height
			}
		}
		return 80, 24
	}
	keys := make(chan byte)
	if stdin := int(os.Stdin.Fd()); term.IsTerminal(stdin) {
		before, err := term.MakeRaw(stdin)
		if err != nil {
			return fmt.Errorf("read keys from the terminal: %w", err)
		}
		defer func() { _ = term.Restore(stdin, before) }() // nothing else could be done
		go readKeys(os.Stdin, keys)
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	return showTop(ctx, out, size, keys, ticker.C, first, fetch)
}

// readKeys ends with the program.
func readKeys(from io.Reader, keys chan<- byte) {
	key := make([]byte, 1)
	for {
		if n, err := from.Read(key); err != nil || n == 0 {
			return
		}
		keys <- key[0]
	}
}

// leaves says whether a key ends the watching: q, Ctrl-C and Ctrl-D.
func leaves(key byte) bool { return key == 'q' || key == 'Q' || key == 3 || key == 4 }

// showTop shows a snapshot, and a newer one with each tick. One that cannot be taken leaves
// the last on the screen, which says so.
func showTop(ctx context.Context, out io.Writer, size func() (width, height int), keys <-chan byte, tick <-chan time.Time,
	s *snapshot, fetch func(context.Context) (*snapshot, error),
) error {
	if _, err := io.WriteString(out, enterScreen); err != nil {
		return err
	}
	defer func() { _, _ = io.WriteString(out, leaveScreen) }() // we are leaving anyway
	for {
		width, height := size()
		frame := topLeft + strings.Join(s.lines(width, height), restOfLine+"\r\n") + restOfLine + restBelow
		if _, err := io.WriteString(out, frame); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil // Ctrl-C is how one leaves
		case key := <-keys:
			if leaves(key) {
				return nil
			}
		case <-tick:
			next, err := fetch(ctx)
			switch {
			case ctx.Err() != nil:
				return nil
			case err != nil:
				stale := *s
				stale.failed, _, _ = strings.Cut(err.Error(), "\n")
				s = &stale
			default:
				s = next
			}
		}
	}
}
