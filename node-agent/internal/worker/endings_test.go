package worker

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/session"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// slowWaits takes a moment to say that a container has ended, as engines do.
type slowWaits struct{ driver.Driver }

func (d slowWaits) Wait(ctx context.Context, id string) (driver.Exit, error) {
	if !pause(ctx, time.Millisecond) {
		return driver.Exit{}, ctx.Err()
	}
	return d.Driver.Wait(ctx, id)
}

// A job that ended in time has not timed out because its agent was away until later.
func TestEndedInTimeWhileTheAgentWasAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		defer b.close()
		job := container("a", "work:1", "10", "0")
		job.Spec.Timeout = durationpb.New(20 * time.Second)
		b.assign(job)
		b.live(5 * time.Second)
		b.Stop()
		time.Sleep(20 * time.Second)
		b.cfg.Driver = slowWaits{b.engine}
		b.restart()
		b.Assign(&orchionv1.AssignmentSet{Jobs: []*orchionv1.JobAssignment{job}})
		b.live(time.Second)
		end := b.far.last("a")
		if end.GetState() != orchionv1.AttemptState_ATTEMPT_STATE_SUCCEEDED || end.GetReason() != "" {
			t.Errorf("end = %v, want a success", end)
		}
	})
}

// slowLinks opens no link until its context ends.
type slowLinks struct{ *links }

func (l slowLinks) Open(ctx context.Context, _ string, _ int) (Link, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// A job that runs already is stopped as any other when its cancellation overtakes the
// taking over of its link: with its grace, its exit code and its log.
func TestCancelWhileTheLinkIsTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		made := &links{}
		b := newBed(t, func(c *Config) { c.Links = made })
		made.bed = b
		defer b.close()
		job := container("a", "work:1", "600", "0")
		job.Spec.GetContainer().Models = []string{"m"}
		b.assign(job)
		b.live(time.Second)
		b.cfg.Links = slowLinks{made}
		b.restart()
		b.Assign(&orchionv1.AssignmentSet{Jobs: []*orchionv1.JobAssignment{job}})
		synctest.Wait()
		b.CancelAttempt(&orchionv1.CancelAttempt{Ref: ref("a"), Grace: durationpb.New(4 * time.Second)})
		b.live(2 * time.Second)
		end := b.far.last("a")
		if end.GetState() != orchionv1.AttemptState_ATTEMPT_STATE_CANCELLED || end.GetReason() != "its container ended with exit code 143" {
			t.Errorf("end = %v, want the container's own", end)
		}
		if got := len(b.far.logs["a"]); got != 2 {
			t.Errorf("%d lines of log, want 2", got)
		}
	})
}

// startsAndFails starts containers and says that it could not.
type startsAndFails struct{ driver.Driver }

func (d startsAndFails) Start(ctx context.Context, id string) error {
	return errors.Join(d.Driver.Start(ctx, id), errors.New("the answer was lost"))
}

// What is said to have failed before it ran must not run on: nothing but the lease, which
// ends with the attempt, would stop it while the orchestrator is away.
func TestFailedStartLeavesNothingRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		defer b.close()
		b.cfg.Driver = startsAndFails{b.engine}
		b.restart()
		b.assign(container("a", "work:1", "600", "0"))
		b.live(time.Second)
		if got := b.far.states("a"); got != "ASSIGNED FAILED" {
			t.Errorf("states = %s", got)
		}
		for _, c := range b.containers() {
			t.Errorf("container %s is %s before the acknowledgement, want none", c.Name, c.State)
		}
	})
}

// damagedLogs reads the first line of a log and fails at the next.
type damagedLogs struct{ driver.Driver }

func (d damagedLogs) Logs(ctx context.Context, id string, opts driver.LogOptions, handle func(driver.LogEntry) error) error {
	damaged := errors.New("the engine failed while reading the output: invalid character")
	return d.Driver.Logs(ctx, id, opts, func(e driver.LogEntry) error {
		if e.Index > 1 {
			return damaged
		}
		return handle(e)
	})
}

// pushAgain pushes as session.Logs does: again after each failure.
type pushAgain struct{ *orchestrator }

func (p pushAgain) Push(ctx context.Context, ref *orchionv1.AttemptRef, source session.LogSource) error {
	for {
		if err := p.orchestrator.Push(ctx, ref, source); err == nil || !pause(ctx, time.Second) {
			return err
		}
	}
}

// A log that the engine cannot read ends; the job must not go on for ever for it.
func TestDamagedLogDoesNotKeepTheJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		defer b.close()
		b.cfg.Driver, b.cfg.Logs = damagedLogs{b.engine}, pushAgain{b.far}
		b.restart()
		b.assign(container("a", "work:1", "30", "0"))
		b.live(25 * time.Second)
		if got := b.far.states("a"); got != "ASSIGNED RUNNING" {
			t.Errorf("states while it runs = %s", got)
		}
		b.live(time.Minute)
		end := b.far.last("a")
		if end.GetState() != orchionv1.AttemptState_ATTEMPT_STATE_SUCCEEDED || end.GetOutput() != "begin a 1" {
			t.Errorf("end = %v, want a success with the output that could be read", end)
		}
		if lines := b.far.logs["a"]; !slices.ContainsFunc(lines, func(l session.Line) bool { return l.Text == "begin a 1" }) {
			t.Errorf("log = %v, want what could be read", lines)
		}
	})
}
