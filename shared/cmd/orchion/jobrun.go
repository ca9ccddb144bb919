package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"github.com/spf13/cobra"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// exitInterrupted is how a shell counts a program that Ctrl-C ended.
const exitInterrupted = 130

func (c *cli) jobRun() *cobra.Command {
	var s submission
	var dir string
	cmd := &cobra.Command{
		Use:   "run {-f FILE [--set NAME=VALUE...] | --image IMAGE [-- ARG...] | --chat MODEL PROMPT...}",
		Short: "Submit a job, follow it, and end with its exit code",
		Long: "Submits a job, prints its log until it has ended, and ends with its exit code.\n" +
			"Ctrl-C cancels the job and waits for its end; Ctrl-C once more leaves it to itself.\n" +
			"The file is YAML or JSON; docs/jobs.md describes it.",
		Example: "  orchion job run -f job.yaml --set city=Oslo\n" +
			"  orchion job run --image docker.io/library/busybox -- sh -c 'echo hello; exit 3'",
		RunE: func(cmd *cobra.Command, args []string) error {
			request, err := s.request(cmd, args)
			if err != nil {
				return err
			}
			if request.Count != nil {
				return errFollowsOne
			}
			if err := c.upload(cmd.Context(), s.uploads, cmd.ErrOrStderr()); err != nil {
				return err
			}
			return c.run(cmd, request, dir)
		},
	}
	s.flags(cmd)
	cmd.Flags().StringVar(&dir, "download", "", "put the files that it leaves into this folder")
	return cmd
}

// run submits a job, stays with it to its end, and downloads to dir what it left,
// unless that is empty.
func (c *cli) run(cmd *cobra.Command, request *orchionv1.SubmitJobRequest, dir string) error {
	// Listened to from before the job is there: from then on Ctrl-C is about the
	// job, and not the end of what looks after it.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)

	j := &orchionv1.Job{}
	if err := c.client().call(cmd.Context(), http.MethodPost, "/api/jobs", nil, request, j); err != nil {
		return err
	}
	ctx, leave := context.WithCancel(context.WithoutCancel(cmd.Context()))
	defer leave()
	var interrupted atomic.Bool
	heeding := make(chan struct{})
	go func() {
		defer close(heeding)
		select {
		case <-ctx.Done():
			return
		case <-signals:
		}
		interrupted.Store(true)
		c.cancelInterrupted(ctx, j.GetId(), cmd.ErrOrStderr())
		select {
		case <-ctx.Done():
		case <-signals:
			leave()
		}
	}()
	err := c.follow(ctx, j.GetId(), cmd.OutOrStdout(), cmd.ErrOrStderr())
	if ended := (jobEndedError{}); dir != "" && ctx.Err() == nil && (err == nil || errors.As(err, &ended)) {
		if failed := c.downloadAfter(ctx, j.GetId(), dir, cmd.ErrOrStderr()); failed != nil {
			if err == nil {
				err = failed
			} else {
				_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "%v\n", failed) // how the job ended matters more
			}
		}
	}
	leave()
	<-heeding
	if ended := (jobEndedError{}); interrupted.Load() && errors.As(err, &ended) {
		return jobEndedError{exitInterrupted}
	}
	return err
}

// cancelInterrupted cancels a job because its user pressed Ctrl-C.
func (c *cli) cancelInterrupted(ctx context.Context, id string, errOut io.Writer) {
	_, _ = fmt.Fprintf(errOut, "\ncancelling job %s; press Ctrl-C again to leave it to itself\n", id) // only news
	body := &orchionv1.CancelJobRequest{Reason: "interrupted by the user of orchion job run"}
	if err := c.client().call(ctx, http.MethodPost, "/api/jobs/"+segment(id)+":cancel", nil, body, nil); err != nil && ctx.Err() == nil {
		_, _ = fmt.Fprintf(errOut, "the job could not be cancelled: %v\n", err) // it is followed on
	}
}
