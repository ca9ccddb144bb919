package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

func crowded(queues, nodes, jobs int) *snapshot {
	s := &snapshot{
		url: "http://localhost:8080", at: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC),
		cluster: &orchionv1.Cluster{Nodes: &orchionv1.NodeCounts{Online: int32(nodes)}, Jobs: &orchionv1.JobCounts{Active: int32(jobs)}},
		queues:  &orchionv1.ListQueuesResponse{}, nodes: &orchionv1.ListNodesResponse{TotalSize: int32(nodes)}, jobs: &orchionv1.ListJobsResponse{},
	}
	for i := range queues {
		s.queues.Queues = append(s.queues.Queues, &orchionv1.Queue{Name: fmt.Sprint("queue-", i), Weight: 1})
	}
	for i := range nodes {
		s.nodes.Nodes = append(s.nodes.Nodes, &orchionv1.Node{Hostname: fmt.Sprint("node-", i)})
	}
	for i := range jobs {
		s.jobs.Jobs = append(s.jobs.Jobs, &orchionv1.Job{Id: fmt.Sprint("job-", i), Name: "x\x1b[2J" + strings.Repeat("y", 100)})
	}
	return s
}

func TestSnapshotFitsTheScreen(t *testing.T) {
	for _, tt := range []struct{ queues, nodes, jobs, width, height int }{
		{1, 1, 0, 80, 24}, {1, 1, 3, 80, 24}, {40, 100, 50, 80, 24}, {40, 100, 50, 20, 50}, {40, 100, 50, 80, 5}, {3, 3, 3, 1, 1},
	} {
		t.Run(fmt.Sprintf("%+v", tt), func(t *testing.T) {
			lines := crowded(tt.queues, tt.nodes, tt.jobs).lines(tt.width, tt.height)
			if len(lines) > tt.height {
				t.Errorf("%d lines on a screen of %d", len(lines), tt.height)
			}
			for _, line := range lines {
				if n := len([]rune(line)); n > tt.width {
					t.Errorf("%d characters on a line of %d: %q", n, tt.width, line)
				}
				if strings.Contains(line, "\x1b") {
					t.Errorf("a job steers the terminal: %q", line)
				}
			}
			text := strings.Join(lines, "\n")
			if tt.width == 80 && tt.height == 24 {
				for _, part := range []string{"QUEUE", "NODE", "JOB"} {
					if !strings.Contains(text, "\n"+part) {
						t.Errorf("no part %s:\n%s", part, text)
					}
				}
				if shown := strings.Count(text, "\njob-"); (tt.jobs > 0) != (shown > 0) || (tt.jobs > shown) != strings.Contains(text, fmt.Sprintf("JOB (%d MORE)", tt.jobs-shown)) {
					t.Errorf("%d of %d jobs are shown:\n%s", shown, tt.jobs, text)
				}
			}
		})
	}
}

func TestShowTop(t *testing.T) {
	var out bytes.Buffer
	keys, tick := make(chan byte), make(chan time.Time)
	answers := []func() (*snapshot, error){
		func() (*snapshot, error) { return nil, errors.New("connection refused\nstart one") },
		func() (*snapshot, error) { return crowded(1, 1, 1), nil },
	}
	ended := make(chan error, 1)
	go func() {
		ended <- showTop(t.Context(), &out, func() (int, int) { return 100, 30 }, keys, tick, crowded(1, 1, 0), func(context.Context) (*snapshot, error) {
			next := answers[0]
			answers = answers[1:]
			return next()
		})
	}()
	tick <- time.Time{}
	tick <- time.Time{}
	keys <- 'x' // no key of ours
	keys <- 'q'
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	text := out.String()
	frames := strings.Split(text, topLeft)
	if !strings.HasPrefix(text, enterScreen) || !strings.HasSuffix(text, leaveScreen) || len(frames) != 5 {
		t.Fatalf("%d frames: %q", len(frames)-1, text)
	}
	if strings.Contains(frames[1], "NOT CURRENT") || !strings.Contains(frames[2], "NOT CURRENT: connection refused\x1b[K") || strings.Contains(frames[3], "NOT CURRENT") {
		t.Errorf("frames: %q", frames)
	}
	if strings.Contains(frames[2], "job-0") || !strings.Contains(frames[3], "job-0") {
		t.Errorf("the job is not shown when it is there: %q", frames)
	}
	if strings.Contains(strings.ReplaceAll(text, "\r\n", ""), "\n") {
		t.Errorf("a line that a raw terminal would not begin at its left: %q", text)
	}
}

func TestShowTopEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	err := showTop(ctx, &out, func() (int, int) { return 80, 24 }, nil, nil, crowded(0, 0, 0), nil)
	if err != nil || !strings.HasSuffix(out.String(), leaveScreen) {
		t.Errorf("error %v after %q", err, out.String())
	}
}
