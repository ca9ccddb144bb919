//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// load submits jobs of all kinds and follows each to its end.
type load struct {
	c       *cluster
	history *history
	limit   int64 // of jobs; 0: none
	long    bool  // every job takes some seconds, and more when it is tried again
	next    atomic.Int64
}

// client submits one job after the other until submitting ends.
func (l *load) client(ctx context.Context, number int, submitting <-chan struct{}, rng *rand.Rand) {
	for {
		select {
		case <-submitting:
			return
		case <-ctx.Done():
			return
		default:
		}
		n := l.next.Add(1)
		if l.limit > 0 && n > l.limit {
			return
		}
		s := newSubmission(n, l.long, rng)
		if !l.submit(ctx, number, submitting, s, rng) {
			return
		}
		if rng.IntN(20) == 0 {
			l.cancel(ctx, number, submitting, s, time.Duration(rng.IntN(1500))*time.Millisecond)
		}
		l.follow(ctx, number, submitting, s)
	}
}

func newSubmission(n int64, long bool, rng *rand.Rand) *submission {
	s := &submission{key: "key-" + strconv.FormatInt(n, 10), lines: rng.IntN(30), attempts: 1}
	if long {
		s.lines, s.slower = 100+rng.IntN(100), true
		return s
	}
	switch rng.IntN(10) {
	case 0:
		s.code, s.attempts = 3, 2 // fails, twice
	case 1:
		s.code = 1
	case 2:
		s.lines = 100 + rng.IntN(200) // some seconds
	}
	return s
}

// submit repeats a submission until it is acknowledged, under one key.
func (l *load) submit(ctx context.Context, number int, submitting <-chan struct{}, s *submission, rng *rand.Rand) bool {
	body := &orchionv1.SubmitJobRequest{
		IdempotencyKey: s.key,
		Spec: &orchionv1.JobSpec{
			Kind: &orchionv1.JobSpec_Container{Container: &orchionv1.ContainerSpec{
				Image: "docker.io/orchion/testjob:faults", PullPolicy: orchionv1.PullPolicy_PULL_POLICY_NEVER,
				Args: s.args(),
			}},
			Retry:    &orchionv1.RetryPolicy{MaxAttempts: s.attempts},
			Priority: int32(rng.IntN(3)),
			// There are more clients than places, so some are stopped for others.
			Preemptible: rng.IntN(6) == 0,
		},
	}
	began := time.Now() // every try may be the one that took effect
	for {
		job := &orchionv1.Job{}
		err := l.c.call(ctx, http.MethodPost, "/api/jobs", body, job)
		if err == nil {
			s.id = job.GetId()
			l.history.did(number, request{submitted, s.id}, began, viewOf(job))
			l.history.acknowledge(s)
			return true
		}
		var status *statusError
		if errors.As(err, &status) {
			l.history.refused(status.status)
		}
		if hopeless(err) {
			l.history.violate(lostJob, "submitting is refused: %v", err)
			return false
		}
		if !rest(ctx, submitting, 50*time.Millisecond) {
			return false
		}
	}
}

// hopeless says whether trying again will not help.
func hopeless(err error) bool {
	var status *statusError
	return errors.As(err, &status) && status.status < http.StatusInternalServerError &&
		status.status != http.StatusTooManyRequests
}

// rest waits; false: it is time to end.
func rest(ctx context.Context, submitting <-chan struct{}, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-submitting:
		return false
	case <-ctx.Done():
		return false
	}
}

func (l *load) cancel(ctx context.Context, number int, submitting <-chan struct{}, s *submission, after time.Duration) {
	if !rest(ctx, submitting, after) {
		return
	}
	l.history.mu.Lock()
	s.cancelled = true
	l.history.mu.Unlock()
	// Once: whoever tries again would hide that an acknowledged one was lost.
	job, began := &orchionv1.Job{}, time.Now()
	err := l.c.call(ctx, http.MethodPost, "/api/jobs/"+s.id+":cancel", &orchionv1.CancelJobRequest{Id: s.id, Reason: "faults"}, job)
	var status *statusError
	switch {
	case err == nil:
		l.history.did(number, request{cancelled, s.id}, began, viewOf(job))
	case errors.As(err, &status) && strings.Contains(status.body, "it cannot be cancelled"):
		l.history.did(number, request{cancelled, s.id}, began, view{refused: true})
	case errors.As(err, &status) && status.status == http.StatusNotFound:
		l.history.violate(lostJob, "job %s is not found for cancelling: %v", s.id, err)
	}
}

// follow waits until a job has ended, or it is time to end.
func (l *load) follow(ctx context.Context, number int, submitting <-chan struct{}, s *submission) {
	for rest(ctx, submitting, 100*time.Millisecond) {
		if over := l.look(ctx, number, s.id); over {
			return
		}
	}
}

// look asks for a job that was acknowledged. It says whether it has ended or is
// lost.
func (l *load) look(ctx context.Context, number int, id string) (over bool) {
	job, began := &orchionv1.Job{}, time.Now()
	err := l.c.call(ctx, http.MethodGet, "/api/jobs/"+id, nil, job)
	var status *statusError
	switch {
	case errors.As(err, &status) && status.status == http.StatusNotFound:
		l.history.violate(lostJob, "job %s was acknowledged and is not found", id)
		return true
	case err != nil:
		return false
	}
	l.history.did(number, request{looked, id}, began, viewOf(job))
	return ended(job.GetState())
}

// reader looks at any jobs, beside the clients that follow them.
func (l *load) reader(ctx context.Context, number int, submitting <-chan struct{}, rng *rand.Rand) {
	for rest(ctx, submitting, time.Duration(rng.IntN(40))*time.Millisecond) {
		if id := l.history.some(rng); id != "" {
			l.look(ctx, number, id)
		}
	}
}

func (s *submission) args() []string {
	args := []string{"lines", strconv.Itoa(s.lines), "20ms", "exit", strconv.Itoa(int(s.code))}
	if s.slower {
		args = append(args, "slower", "4")
	}
	return args
}

func (s *submission) String() string { return fmt.Sprintf("job %s (%s)", s.id, s.key) }
