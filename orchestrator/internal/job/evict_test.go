package job_test

import (
	"testing"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
)

func TestEvict(t *testing.T) {
	one := 1
	for _, test := range []struct {
		name    string
		end     func(*job.Job) error
		state   job.State
		attempt job.AttemptState
		reason  string
	}{
		{"the node stops it", func(j *job.Job) error {
			return j.Complete(1, job.End{State: job.AttemptCancelled, At: t0, Reason: "stopped"})
		}, job.Queued, job.AttemptEvicted, "attempt 1 was evicted from node n1: node n1 is drained; waits for a node"},
		{"its container takes the signal for a failure", func(j *job.Job) error {
			return j.Complete(1, job.End{State: job.AttemptFailed, At: t0, ExitCode: &one})
		}, job.Queued, job.AttemptEvicted, "attempt 1 was evicted from node n1: node n1 is drained; waits for a node"},
		{"it succeeds first", func(j *job.Job) error {
			return j.Complete(1, job.End{State: job.AttemptSucceeded, At: t0})
		}, job.Succeeded, job.AttemptSucceeded, ""},
		{"its node is lost", func(j *job.Job) error { return j.Lose(1, "lease", t0) },
			job.Queued, job.AttemptLost, "attempt 1 was lost with node n1: lease; waits for a node"},
		{"cancelling wins", func(j *job.Job) error {
			if _, err := j.Cancel("no longer wanted", t0); err != nil {
				return err
			}
			return j.Complete(1, job.End{State: job.AttemptCancelled, At: t0, Reason: "stopped"})
		}, job.Cancelled, job.AttemptCancelled, "cancelled: no longer wanted (stopped)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			j := newJob(t, job.Retry{})
			must(t, j.Claim("n1", t0))
			changed, err := j.Evict(1, "node n1 is drained")
			must(t, err)
			if !changed || j.State != job.Assigned || j.Reason != "being evicted: node n1 is drained" {
				t.Fatalf("after evict: changed %v, %+v", changed, j)
			}
			changed, err = j.Evict(1, "again")
			must(t, err)
			if changed || j.Attempts[0].EvictReason != "node n1 is drained" {
				t.Errorf("a second eviction changed the job: %+v", j)
			}
			_, err = j.Start(1, t0)
			must(t, err)
			if j.State != job.Running || j.Reason != "being evicted: node n1 is drained" {
				t.Errorf("start made it %s with the reason %q", j.State, j.Reason)
			}
			must(t, test.end(&j))
			if j.State != test.state || j.Attempts[0].State != test.attempt || j.Reason != test.reason || !j.NotBefore.IsZero() {
				t.Errorf("ended as %s, attempt %s, %q, not before %v; want %s, %s, %q, at once",
					j.State, j.Attempts[0].State, j.Reason, j.NotBefore, test.state, test.attempt, test.reason)
			}
		})
	}
}

func TestEvictedAttemptsDoNotCount(t *testing.T) {
	j := newJob(t, job.Retry{})
	number := 0
	evict := func(end func(int) error) {
		t.Helper()
		number++
		must(t, j.Claim("n1", t0))
		_, err := j.Evict(number, "drained")
		must(t, err)
		must(t, end(number))
		if j.State != job.Queued {
			t.Fatalf("%s after evicted attempt %d: %s", j.State, number, j.Reason)
		}
	}
	for range job.MaxLost + 1 {
		evict(func(n int) error { return j.Lose(n, "", t0) })
		evict(func(n int) error { return j.Complete(n, job.End{State: job.AttemptFailed, At: t0}) })
	}
	// The policy allows one attempt, and this is the first that counts.
	must(t, j.Claim("n1", t0))
	must(t, j.Complete(number+1, job.End{State: job.AttemptFailed, At: t0, Reason: "by itself"}))
	if j.State != job.Failed {
		t.Errorf("%s after an attempt that failed by itself, want failed", j.State)
	}
}

func TestEvictRefusals(t *testing.T) {
	queued := newJob(t, job.Retry{})
	_, err := queued.Evict(1, "drained")
	wantFault(t, err, fault.Precondition, "job j1 is queued and has no attempt 1; it cannot be evicted")
	claimed := queued
	must(t, claimed.Claim("n1", t0))
	_, err = claimed.Evict(1, "")
	wantFault(t, err, fault.Invalid, "reason: is empty; an eviction says why")
	_, err = claimed.Evict(2, "drained")
	wantFault(t, err, fault.Precondition, "attempt 2 of job j1 is not its newest, which is 1; it cannot be evicted")
	must(t, claimed.Complete(1, job.End{State: job.AttemptSucceeded, At: t0}))
	_, err = claimed.Evict(1, "drained")
	wantFault(t, err, fault.Precondition, "attempt 1 of job j1 is succeeded; it cannot be evicted")

	// One that is being cancelled stays so.
	cancelling := queued
	must(t, cancelling.Claim("n1", t0))
	_, err = cancelling.Cancel("no longer wanted", t0)
	must(t, err)
	if changed, err := cancelling.Evict(1, "drained"); changed || err != nil || cancelling.Reason != "being cancelled: no longer wanted" {
		t.Errorf("evicting a job that is being cancelled: changed %v, %v, %q", changed, err, cancelling.Reason)
	}
}
