package job_test

import (
	"strings"
	"testing"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/job"
)

// failedWith is an end of a class.
func failedWith(f job.Failure, code int) job.End {
	end := job.End{State: job.AttemptFailed, At: t0, Failure: f, Reason: "it went wrong"}
	if code != 0 {
		end.ExitCode = &code
	}
	return end
}

func TestRetryByClass(t *testing.T) {
	const (
		again  = "; 2 of 3 tries left, the next in "
		free   = "; no fault of the job, so it keeps its tries; the next in "
		never  = "; not tried again: "
		listed = "is not among retry.retryOn"
	)
	for _, test := range []struct {
		name  string
		retry job.Retry
		end   job.End
		state job.State
		words string
	}{
		{"exit code", job.Retry{}, failedWith(job.FailureExitCode, 1), job.Queued, again},
		{"not said", job.Retry{}, failedWith(0, 1), job.Queued, again},
		{"out of memory", job.Retry{}, failedWith(job.FailureOutOfMemory, 137), job.Queued, again},
		{"timeout", job.Retry{}, failedWith(job.FailureTimeout, 143), job.Queued, again},
		{"start", job.Retry{}, failedWith(job.FailureStart, 0), job.Queued, again},
		{"image", job.Retry{}, failedWith(job.FailureImage, 0), job.Failed, never + "the image has to be put right first"},
		{"image when it is listed", job.Retry{RetryOn: []job.Failure{job.FailureImage}}, failedWith(job.FailureImage, 0), job.Queued, again},
		{"invalid", job.Retry{}, failedWith(job.FailureInvalid, 0), job.Failed, never + "what cannot run now cannot run later"},
		{"not listed", job.Retry{RetryOn: []job.Failure{job.FailureTimeout}}, failedWith(job.FailureExitCode, 1), job.Failed, listed},
		{"a code that is final", job.Retry{NoRetryExitCodes: []int{2, 3}}, failedWith(job.FailureExitCode, 3), job.Failed, never + "exit code 3 is among retry.noRetryExitCodes"},
		{"another code", job.Retry{NoRetryExitCodes: []int{2, 3}}, failedWith(job.FailureExitCode, 4), job.Queued, again},
		{"image unavailable", job.Retry{}, failedWith(job.FailureImageUnavailable, 0), job.Queued, free},
		{"engine", job.Retry{}, failedWith(job.FailureEngine, 0), job.Queued, free},
		{"engine although not listed", job.Retry{RetryOn: []job.Failure{job.FailureTimeout}}, failedWith(job.FailureEngine, 0), job.Queued, free},
		{"node", job.Retry{}, failedWith(job.FailureNode, 0), job.Queued, free},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.retry.MaxAttempts = 3
			j := newJob(t, test.retry)
			must(t, j.Claim("n1", t0))
			must(t, j.Complete(1, test.end))
			if j.State != test.state || !strings.Contains(j.Reason, "it went wrong") || !strings.Contains(j.Reason, test.words) {
				t.Errorf("%s, %q; want %s and %q", j.State, j.Reason, test.state, test.words)
			}
			if got := j.Attempts[0].Failure; got != test.end.Failure {
				t.Errorf("the attempt's class is %s, want %s", got, test.end.Failure)
			}
			if j.State == job.Failed && j.Result.Error != j.Reason {
				t.Errorf("the result says %q, the job %q", j.Result.Error, j.Reason)
			}
		})
	}
	t.Run("nothing is said of tries that there are not", func(t *testing.T) {
		j := newJob(t, job.Retry{})
		must(t, j.Claim("n1", t0))
		must(t, j.Complete(1, failedWith(job.FailureInvalid, 0)))
		if j.State != job.Failed || j.Reason != "it went wrong" {
			t.Errorf("%s, %q", j.State, j.Reason)
		}
	})
}

// What is no fault of the job is tried on another node, without touching the
// tries of the job, and not for ever.
func TestInfrastructureFailures(t *testing.T) {
	j := newJob(t, job.Retry{MaxAttempts: 2})
	now := t0
	for n := 1; n <= job.MaxInfrastructure; n++ {
		if j.State != job.Queued {
			t.Fatalf("%s after %d failures, want queued: %s", j.State, n-1, j.Reason)
		}
		must(t, j.Claim("n1", now))
		if _, avoid := j.Avoid(); avoid {
			t.Error("a node is avoided while the job has one")
		}
		end := failedWith(job.FailureEngine, 0)
		end.At = now
		must(t, j.Complete(n, end))
		if node, avoid := j.Avoid(); !avoid || node != "n1" {
			t.Errorf("after attempt %d %q is avoided: %v; want n1", n, node, avoid)
		}
		if n < job.MaxInfrastructure {
			if wait := j.NotBefore.Sub(now); wait < 2500*time.Millisecond || wait > 5*time.Minute {
				t.Errorf("waits %s after %d failures", wait, n)
			}
		}
		now = now.Add(10 * time.Minute)
	}
	if want := "it went wrong; given up after 10 attempts that failed for no fault of the job"; j.State != job.Failed || j.Reason != want {
		t.Errorf("%s, %q; want failed, %q", j.State, j.Reason, want)
	}
	// By hand it starts from anew, and anywhere.
	if _, err := j.Retry(t0); err != nil {
		t.Fatal(err)
	}
	if node, avoid := j.Avoid(); avoid {
		t.Errorf("%s is avoided after a retry by hand", node)
	}
	must(t, j.Claim("n1", now))
	must(t, j.Complete(job.MaxInfrastructure+1, failedWith(job.FailureExitCode, 1)))
	if want := "1 of 2 tries left"; j.State != job.Queued || !strings.Contains(j.Reason, want) {
		t.Errorf("%s, %q; want queued with %q", j.State, j.Reason, want)
	}
}

func TestLostAttemptsHaveTheirClass(t *testing.T) {
	j := newJob(t, job.Retry{})
	must(t, j.Claim("n1", t0))
	must(t, j.Lose(1, "its lease ran out", t0))
	if got := j.Attempts[0].Failure; got != job.FailureNodeLost {
		t.Errorf("the class is %s, want %s", got, job.FailureNodeLost)
	}
	if node, avoid := j.Avoid(); avoid {
		t.Errorf("%s is avoided: a lost node takes no work, and a returned one may", node)
	}
	must(t, j.Claim("n1", t0))
	must(t, j.Complete(2, job.End{State: job.AttemptSucceeded, At: t0, Failure: job.FailureEngine}))
	if got := j.Attempts[1].Failure; got != 0 {
		t.Errorf("a success has the class %s", got)
	}
}
