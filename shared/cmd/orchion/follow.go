package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// errFollowsOne says that the jobs of an array are not followed.
var errFollowsOne = usagef("one job can be followed, not a count of them; submit them, and follow one with: orchion job logs -f ID")

// follow prints a job's log until it has ended and answers its exit code.
func (c *cli) follow(ctx context.Context, id string, out, errOut io.Writer) error {
	if _, err := fmt.Fprintf(errOut, "job %s\n", id); err != nil {
		return err
	}
	watching, stop := context.WithCancel(ctx)
	waited := make(chan struct{})
	go func() {
		defer close(waited)
		c.sayWhyItWaits(watching, id, errOut)
	}()
	err := c.copyLogs(ctx, id, logOptions{follow: true}, out, errOut)
	stop()
	<-waited
	if err != nil {
		return err
	}
	j := &orchionv1.Job{}
	for {
		if err := c.client().call(ctx, http.MethodGet, "/api/jobs/"+segment(id), nil, nil, j); err != nil {
			return err
		}
		if terminal(j.GetState()) {
			break
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
	if j.GetState() == orchionv1.JobState_JOB_STATE_SUCCEEDED {
		return nil
	}
	_, _ = fmt.Fprintf(errOut, "job %s %s: %s\n", id, jobState(j), printable(j.GetReason())) // the exit code says it too
	if code := j.GetResult().GetExitCode(); code != 0 {
		return jobEndedError{int(code)}
	}
	return jobEndedError{exitFailed}
}

// sayWhyItWaits prints each new reason of a job that does not run yet.
func (c *cli) sayWhyItWaits(ctx context.Context, id string, w io.Writer) {
	said := ""
	for {
		j := &orchionv1.Job{}
		if err := c.client().call(ctx, http.MethodGet, "/api/jobs/"+segment(id), nil, nil, j); err != nil {
			return // the log says it
		}
		switch j.GetState() {
		case orchionv1.JobState_JOB_STATE_QUEUED, orchionv1.JobState_JOB_STATE_ASSIGNED:
		default:
			return
		}
		if reason := printable(j.GetReason()); reason != "" && reason != said {
			_, _ = fmt.Fprintf(w, "%s: %s\n", jobState(j), reason) // only progress
			said = reason
		}
		if pause(ctx) != nil {
			return
		}
	}
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(pollInterval):
		return nil
	}
}
