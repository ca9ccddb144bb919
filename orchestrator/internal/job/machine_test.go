package job_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
)

// TestStateMachine throws events in any order at a job and holds it to what
// must be true whatever happens.
func TestStateMachine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := t0
		failure := rapid.SampledFrom(append(job.Failures(), 0))
		j := job.Job{ID: "j1", CreatedAt: t0, Spec: job.Spec{Retry: job.Retry{
			MaxAttempts:      rapid.IntRange(0, 4).Draw(t, "maxAttempts"),
			RetryOn:          rapid.SliceOfN(failure.Filter(job.Failure.Selectable), 0, 2).Draw(t, "retryOn"),
			NoRetryExitCodes: rapid.SliceOfN(rapid.IntRange(1, 3), 0, 2).Draw(t, "noRetryExitCodes"),
		}, QueueTimeout: time.Duration(rapid.IntRange(0, 3).Draw(t, "queueTimeout")) * time.Second}}
		if rapid.Bool().Draw(t, "dependent") {
			j.Spec.After = []job.Dependency{{ID: "j0"}}
		}
		if rapid.Bool().Draw(t, "delayed") {
			j.Spec.StartAfter = t0.Add(2 * time.Second)
		}
		if err := j.Submit(); err != nil {
			t.Fatal(err)
		}
		before := j
		number := func() int { return rapid.IntRange(0, len(j.Attempts)+1).Draw(t, "attempt") }
		// do applies an event and checks the step it made.
		do := func(event job.Event, err error) {
			if err != nil {
				if code := fault.CodeOf(err); code != fault.Precondition {
					t.Fatalf("%s: code %d, want Precondition: %v", event, code, err)
				}
				if diff := cmp.Diff(before, j); diff != "" {
					t.Fatalf("refused %s changed the job:\n%s", event, diff)
				}
				return
			}
			checkStep(t, event, before, j)
			before = j
		}
		t.Repeat(map[string]func(*rapid.T){
			"claim": func(t *rapid.T) {
				do(job.EventClaim, j.Claim(rapid.SampledFrom([]string{"n1", "n2"}).Draw(t, "node"), now))
			},
			"start": func(*rapid.T) { _, err := j.Start(number(), now); do(job.EventStart, err) },
			"complete": func(t *rapid.T) {
				state := rapid.SampledFrom([]job.AttemptState{job.AttemptSucceeded, job.AttemptFailed, job.AttemptCancelled}).Draw(t, "end")
				end := job.End{State: state, At: now, Failure: failure.Draw(t, "failure")}
				if rapid.Bool().Draw(t, "told of late") {
					end.StartedAt = now
				}
				if end.Failure == job.FailureExitCode {
					code := rapid.IntRange(1, 3).Draw(t, "exitCode")
					end.ExitCode = &code
				}
				before := j
				err := j.Complete(number(), end)
				do(job.EventComplete, err)
				if err == nil {
					checkRetry(t, before, j, end)
				}
			},
			"lose":   func(*rapid.T) { do(job.EventLose, j.Lose(number(), "lease", now)) },
			"cancel": func(*rapid.T) { _, err := j.Cancel("why", now); do(job.EventCancel, err) },
			"evict":  func(*rapid.T) { _, err := j.Evict(number(), "drained"); do(job.EventEvict, err) },
			"expire": func(*rapid.T) { do(job.EventExpire, j.Expire("full", now)) },
			"release": func(t *rapid.T) {
				_, err := j.Release(rapid.SampledFrom([]string{"", "job x failed"}).Draw(t, "unmet"), now)
				do(job.EventRelease, err)
			},
			"retry": func(*rapid.T) { _, err := j.Retry(now); do(job.EventRetry, err) },
			"": func(t *rapid.T) {
				now = now.Add(time.Second)
				checkJob(t, j)
			},
		})
	})
}

// checkStep holds one accepted event to the table and to the fences.
func checkStep(t *rapid.T, event job.Event, before, after job.Job) {
	if before.State != after.State {
		found := false
		for _, r := range job.Transitions() {
			found = found || r.Event == event && r.From == before.State && r.To == after.State
		}
		if !found {
			t.Fatalf("%s went from %s to %s, which is not in the table", event, before.State, after.State)
		}
	}
	if len(after.Attempts) < len(before.Attempts) || len(after.Attempts) > len(before.Attempts)+1 {
		t.Fatalf("%s went from %d attempts to %d", event, len(before.Attempts), len(after.Attempts))
	}
	for i, b := range before.Attempts {
		a := after.Attempts[i]
		if b.State.Ended() && !cmp.Equal(a, b) {
			t.Fatalf("%s changed an attempt that had ended: %+v to %+v", event, b, a)
		}
		if a.State < b.State || a.NodeID != b.NodeID || a.Number != b.Number {
			t.Fatalf("%s moved an attempt backwards: %+v to %+v", event, b, a)
		}
	}
}

// checkRetry holds what followed a failure to the retry policy.
func checkRetry(t *rapid.T, before, after job.Job, end job.End) {
	if end.State != job.AttemptFailed || before.CancelRequested {
		return
	}
	policy, again := before.Spec.Retry, after.State == job.Queued
	newest, _ := after.Current()
	if newest.State != job.AttemptFailed {
		return // it was to be evicted
	}
	switch {
	case newest.Failure != end.Failure:
		t.Fatalf("a failure of class %q is noted as %q", end.Failure, newest.Failure)
	case again && end.Failure == job.FailureInvalid:
		t.Fatal("what cannot run is tried again")
	case again && end.Failure == job.FailureExitCode && slices.Contains(policy.NoRetryExitCodes, *end.ExitCode):
		t.Fatalf("exit code %d is tried again", *end.ExitCode)
	case again && end.Failure.Selectable() && len(policy.RetryOn) > 0 && !slices.Contains(policy.RetryOn, end.Failure):
		t.Fatalf("%q is tried again, retryOn is %v", end.Failure, policy.RetryOn)
	}
	if node, avoid := after.Avoid(); avoid != end.Failure.Infrastructure() || avoid && node != newest.NodeID {
		t.Fatalf("after %q on %s, %q is avoided: %v", end.Failure, newest.NodeID, node, avoid)
	}
}

// checkJob holds a job to its invariants.
func checkJob(t *rapid.T, j job.Job) {
	active, failed, lost, infrastructure := 0, 0, 0, 0
	for i, a := range j.Attempts {
		if a.Number != i+1 {
			t.Fatalf("attempt %d stands at %d", a.Number, i)
		}
		if !a.State.Ended() {
			active++
			if i != len(j.Attempts)-1 {
				t.Fatalf("attempt %d has not ended but is not the newest", a.Number)
			}
		}
		if a.State == job.AttemptEvicted && a.EvictReason == "" {
			t.Fatalf("attempt %d was evicted without being asked for", a.Number)
		}
		if i >= j.ForgivenAttempts && a.EvictReason == "" {
			switch {
			case a.State == job.AttemptFailed && a.Failure.Infrastructure():
				infrastructure++
			case a.State == job.AttemptFailed:
				failed++
			case a.State == job.AttemptLost:
				lost++
			}
		}
		if a.State.Ended() == a.FinishedAt.IsZero() {
			t.Fatalf("attempt %d is %s, finished at %v", a.Number, a.State, a.FinishedAt)
		}
	}
	switch {
	case (active == 1) != j.State.Active():
		t.Fatalf("the job is %s with %d live attempts", j.State, active)
	case j.State.Ended() == j.FinishedAt.IsZero(), j.State.Ended() == (j.Result == nil):
		t.Fatalf("the job is %s, finished at %v, result %v", j.State, j.FinishedAt, j.Result)
	case j.CancelRequested && !j.State.Active():
		t.Fatalf("the job is %s and still to be cancelled", j.State)
	case j.Waiting && (j.State != job.Queued || len(j.Attempts) > 0):
		t.Fatalf("the job is %s after %d attempts and still waits for others", j.State, len(j.Attempts))
	case !j.NotBefore.IsZero() && j.State != job.Queued:
		t.Fatalf("the job is %s and still backs off", j.State)
	case failed > max(1, j.Spec.Retry.MaxAttempts):
		t.Fatalf("%d attempts failed with %d allowed", failed, j.Spec.Retry.MaxAttempts)
	case lost > job.MaxLost:
		t.Fatalf("%d attempts were lost", lost)
	case infrastructure > job.MaxInfrastructure:
		t.Fatalf("%d attempts failed for no fault of the job", infrastructure)
	}
}
