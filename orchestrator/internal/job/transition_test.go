package job_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
)

var t0 = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// newJob is a job as the API hands it in, after Submit.
func newJob(t *testing.T, retry job.Retry) job.Job {
	t.Helper()
	j := job.Job{
		ID: "j1", Name: "one", CreatedAt: t0,
		Spec: job.Spec{Container: &job.Container{Image: "example.org/agent:1"}, Retry: retry},
	}
	must(t, j.Submit())
	return j
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantFault checks code and message of an error.
func wantFault(t *testing.T, err error, code fault.Code, message string) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) {
		t.Fatalf("got error %v, want a *fault.Error with %q", err, message)
	}
	if f.Code != code || f.Public() != message {
		t.Errorf("got code %d and message %q,\nwant code %d and message %q", f.Code, f.Public(), code, message)
	}
}

func TestLifecycle(t *testing.T) {
	j := newJob(t, job.Retry{})
	must(t, j.Claim("n1", t0.Add(1)))
	if j.State != job.Assigned {
		t.Fatalf("state is %s, want assigned", j.State)
	}
	changed, err := j.Start(1, t0.Add(2))
	must(t, err)
	if !changed || j.State != job.Running || !j.StartedAt.Equal(t0.Add(2)) {
		t.Fatalf("after start: changed %v, %+v", changed, j)
	}
	changed, err = j.Start(1, t0.Add(3))
	must(t, err)
	if changed || !j.StartedAt.Equal(t0.Add(2)) {
		t.Fatalf("a second start changed the job: %v, %+v", changed, j)
	}
	zero := 0
	must(t, j.Complete(1, job.End{State: job.AttemptSucceeded, At: t0.Add(4), ExitCode: &zero, Output: "42"}))
	want := job.Job{
		ID: "j1", Name: "one", CreatedAt: t0, Spec: j.Spec,
		State: job.Succeeded, StartedAt: t0.Add(2), FinishedAt: t0.Add(4),
		Result: &job.Result{ExitCode: &zero, Output: "42"},
		Attempts: []job.Attempt{{
			Number: 1, NodeID: "n1", State: job.AttemptSucceeded,
			AssignedAt: t0.Add(1), StartedAt: t0.Add(2), FinishedAt: t0.Add(4), ExitCode: &zero,
		}},
	}
	if diff := cmp.Diff(want, j); diff != "" {
		t.Errorf("job (-want +got):\n%s", diff)
	}
}

// TestEndThatSaysWhenItStarted: it is what starting and then ending the attempt
// is, or changes nothing.
func TestEndThatSaysWhenItStarted(t *testing.T) {
	for _, state := range []job.AttemptState{job.AttemptSucceeded, job.AttemptFailed, job.AttemptCancelled} {
		for _, mark := range []func(*job.Job) (bool, error){
			func(*job.Job) (bool, error) { return false, nil },
			func(j *job.Job) (bool, error) { return j.Cancel("why", t0) },
			func(j *job.Job) (bool, error) { return j.Evict(1, "drained") },
		} {
			want := newJob(t, job.Retry{MaxAttempts: 2})
			must(t, want.Claim("n1", t0))
			_, err := mark(&want)
			must(t, err)
			got := want
			end := job.End{State: state, At: t0.Add(3), Failure: job.FailureExitCode}
			late := end
			late.StartedAt = t0.Add(2)
			wantFault(t, got.Complete(2, late), fault.Precondition, "attempt 2 of job j1 is not its newest, which is 1; it cannot be completed")
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("a refused end changed the job (-want +got):\n%s", diff)
			}
			must(t, got.Complete(1, late))
			_, err = want.Start(1, t0.Add(2))
			must(t, err)
			must(t, want.Complete(1, end))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", state, diff)
			}
		}
	}
}

func TestFailureIsRetriedWithBackoffUntilTheLimit(t *testing.T) {
	j := newJob(t, job.Retry{MaxAttempts: 2, InitialBackoff: 4 * time.Second})
	one := 1
	must(t, j.Claim("n1", t0))
	must(t, j.Complete(1, job.End{State: job.AttemptFailed, At: t0, ExitCode: &one}))
	if j.State != job.Queued || j.Result != nil || !j.FinishedAt.IsZero() {
		t.Fatalf("after the first failure: %+v", j)
	}
	if wait := j.NotBefore.Sub(t0); wait < 2*time.Second || wait > 4*time.Second {
		t.Errorf("waits %v, want between half and the whole of 4s", wait)
	}
	if want := "attempt 1 failed: exit code 1; 1 of 2 tries left, the next in " + j.NotBefore.Sub(t0).Round(time.Millisecond).String(); j.Reason != want {
		t.Errorf("reason %q, want %q", j.Reason, want)
	}
	// A lost attempt in between does not count.
	must(t, j.Claim("n2", t0))
	must(t, j.Lose(2, "its lease ran out", t0))
	if want := "attempt 2 was lost with node n2: its lease ran out; waits for a node"; j.State != job.Queued || j.Reason != want {
		t.Errorf("after the loss: %s, %q, want queued, %q", j.State, j.Reason, want)
	}
	must(t, j.Claim("n3", t0))
	must(t, j.Complete(3, job.End{State: job.AttemptFailed, At: t0, Reason: "timed out after 30s"}))
	if j.State != job.Failed || j.Reason != "timed out after 30s" || j.Result.Error != "timed out after 30s" {
		t.Errorf("after the second failure: %+v", j)
	}
}

func TestLostTooOften(t *testing.T) {
	j := newJob(t, job.Retry{})
	for n := 1; n <= job.MaxLost; n++ {
		if j.State != job.Queued {
			t.Fatalf("%s after %d losses, want queued", j.State, n-1)
		}
		must(t, j.Claim("n1", t0))
		must(t, j.Lose(n, "", t0))
	}
	if want := "lost 10 nodes; the last: n1"; j.State != job.Failed || j.Reason != want || j.Result.Error != want {
		t.Fatalf("after %d losses: %+v, want failed with %q", job.MaxLost, j, want)
	}
	// Retrying by hand counts from anew.
	_, err := j.Retry(t0)
	must(t, err)
	must(t, j.Claim("n1", t0))
	must(t, j.Lose(job.MaxLost+1, "", t0))
	if j.State != job.Queued {
		t.Errorf("%s after a retry and one loss, want queued", j.State)
	}
}

func TestCancel(t *testing.T) {
	failed := job.End{State: job.AttemptFailed, At: t0, Reason: "exit code 137"}
	cancelled := job.End{State: job.AttemptCancelled, At: t0, Reason: "stopped"}
	for _, test := range []struct {
		name   string
		end    func(*job.Job) error
		state  job.State
		reason string
	}{
		{"the node stops it", func(j *job.Job) error { return j.Complete(1, cancelled) }, job.Cancelled, "cancelled: no longer wanted (stopped)"},
		{"it fails first", func(j *job.Job) error { return j.Complete(1, failed) }, job.Cancelled, "cancelled: no longer wanted (exit code 137)"},
		{"it succeeds first", func(j *job.Job) error { return j.Complete(1, job.End{State: job.AttemptSucceeded, At: t0}) }, job.Succeeded, ""},
		{"its node is lost", func(j *job.Job) error { return j.Lose(1, "lease", t0) }, job.Cancelled, "cancelled: no longer wanted (its node was lost meanwhile)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			j := newJob(t, job.Retry{MaxAttempts: 5})
			must(t, j.Claim("n1", t0))
			changed, err := j.Cancel("no longer wanted", t0)
			must(t, err)
			if !changed || j.State != job.Assigned || !j.CancelRequested || j.Reason != "being cancelled: no longer wanted" {
				t.Fatalf("after cancel: changed %v, %+v", changed, j)
			}
			changed, err = j.Cancel("again", t0)
			must(t, err)
			if changed || j.CancelReason != "no longer wanted" {
				t.Errorf("a second cancel changed the job: %+v", j)
			}
			_, err = j.Start(1, t0)
			must(t, err)
			if j.Reason != "being cancelled: no longer wanted" {
				t.Errorf("start made the reason %q", j.Reason)
			}
			must(t, test.end(&j))
			if j.State != test.state || j.Reason != test.reason || j.CancelRequested || j.FinishedAt.IsZero() {
				t.Errorf("ended as %s, %q, requested %v; want %s, %q, false", j.State, j.Reason, j.CancelRequested, test.state, test.reason)
			}
		})
	}
	t.Run("queued", func(t *testing.T) {
		j := newJob(t, job.Retry{})
		changed, err := j.Cancel("", t0.Add(1))
		must(t, err)
		if !changed || j.State != job.Cancelled || j.Reason != "cancelled" || !j.FinishedAt.Equal(t0.Add(1)) {
			t.Errorf("changed %v, %+v", changed, j)
		}
		if changed, err = j.Cancel("again", t0); changed || err != nil {
			t.Errorf("a second cancel: changed %v, %v", changed, err)
		}
	})
}

func TestRefusals(t *testing.T) {
	queued := newJob(t, job.Retry{})
	claimed := queued
	must(t, claimed.Claim("n1", t0))
	done := claimed
	must(t, done.Complete(1, job.End{State: job.AttemptSucceeded, At: t0}))
	second := claimed
	must(t, second.Lose(1, "", t0))
	lost := second
	must(t, second.Claim("n2", t0))

	claim := func(j *job.Job) error { return j.Claim("n2", t0) }
	start := func(j *job.Job) error { _, err := j.Start(1, t0); return err }
	complete := func(j *job.Job) error { return j.Complete(1, job.End{State: job.AttemptSucceeded, At: t0}) }
	lose := func(j *job.Job) error { return j.Lose(1, "", t0) }
	cancel := func(j *job.Job) error { _, err := j.Cancel("", t0); return err }
	retry := func(j *job.Job) error { _, err := j.Retry(t0); return err }
	for _, test := range []struct {
		name    string
		from    job.Job
		do      func(*job.Job) error
		code    fault.Code
		message string
	}{
		{"submit twice", claimed, (*job.Job).Submit, fault.Precondition, "job j1 has been worked on; only a new job can be submitted"},
		{"submit without id", job.Job{CreatedAt: t0}, (*job.Job).Submit, fault.Invalid, `id: "" is not 1 to 64 lower-case letters, digits, hyphens and underscores, beginning with a letter or digit`},
		{"submit without time", job.Job{ID: "j1"}, (*job.Job).Submit, fault.Invalid, "createdAt: is missing; a job needs a time of creation"},
		{"submit ended", job.Job{ID: "j1", CreatedAt: t0, State: job.Failed}, (*job.Job).Submit, fault.Precondition, "job j1 is failed; it cannot be submitted"},
		{"claim without node", queued, func(j *job.Job) error { return j.Claim("", t0) }, fault.Invalid, "nodeId: is empty; a claim names the node"},
		{"claim claimed", claimed, claim, fault.Precondition, "job j1 is assigned; it cannot be given to a node"},
		{"claim ended", done, claim, fault.Precondition, "job j1 is succeeded; it cannot be given to a node"},
		{"start unclaimed", queued, start, fault.Precondition, "job j1 is queued and has no attempt 1; it cannot be started"},
		{"start ended", done, start, fault.Precondition, "attempt 1 of job j1 is succeeded; it cannot be started"},
		{"start overtaken", second, start, fault.Precondition, "attempt 1 of job j1 is not its newest, which is 2; it cannot be started"},
		{"complete lost", lost, complete, fault.Precondition, "attempt 1 of job j1 is lost; it cannot be completed"},
		{"complete overtaken", second, complete, fault.Precondition, "attempt 1 of job j1 is not its newest, which is 2; it cannot be completed"},
		{"complete twice", done, complete, fault.Precondition, "attempt 1 of job j1 is succeeded; it cannot be completed"},
		{"complete as lost", claimed, func(j *job.Job) error { return j.Complete(1, job.End{State: job.AttemptLost}) }, fault.Invalid, "state: lost is not how a node ends an attempt; allowed are succeeded, failed and cancelled"},
		{"lose twice", lost, lose, fault.Precondition, "attempt 1 of job j1 is lost; it cannot be lost"},
		{"cancel ended", done, cancel, fault.Precondition, "job j1 is succeeded; it cannot be cancelled"},
		{"retry active", claimed, retry, fault.Precondition, "job j1 is assigned; it cannot be retried"},
		{"retry succeeded", done, retry, fault.Precondition, "job j1 is succeeded; it cannot be retried"},
	} {
		t.Run(test.name, func(t *testing.T) {
			j := test.from
			wantFault(t, test.do(&j), test.code, test.message)
			if diff := cmp.Diff(test.from, j); diff != "" {
				t.Errorf("a refused transition changed the job:\n%s", diff)
			}
		})
	}
}

func TestTransitionsDoNotWriteThroughCopies(t *testing.T) {
	j := newJob(t, job.Retry{MaxAttempts: 3})
	must(t, j.Claim("n1", t0))
	before := j
	_, err := j.Start(1, t0)
	must(t, err)
	must(t, j.Complete(1, job.End{State: job.AttemptFailed, At: t0}))
	must(t, j.Claim("n2", t0))
	if got := before.Attempts[0].State; got != job.AttemptAssigned || len(before.Attempts) != 1 {
		t.Errorf("the copy's attempt is %s of %d, want assigned of 1", got, len(before.Attempts))
	}
}

func TestBackoff(t *testing.T) {
	for _, test := range []struct {
		retry    job.Retry
		failures int
		whole    time.Duration
	}{
		{job.Retry{}, 1, time.Second},
		{job.Retry{}, 3, 4 * time.Second},
		{job.Retry{}, 7, time.Minute},
		{job.Retry{}, 1_000_000, time.Minute},
		{job.Retry{InitialBackoff: time.Hour}, 2, time.Hour},
		{job.Retry{InitialBackoff: time.Hour, MaxBackoff: time.Minute}, 1, time.Minute},
		{job.Retry{InitialBackoff: 1, MaxBackoff: 1<<63 - 1}, 200, 1<<63 - 1},
	} {
		seen := map[time.Duration]bool{}
		for _, id := range []string{"a", "b", "c", "d", "e", "f"} {
			got := test.retry.Backoff(id, test.failures)
			if got < test.whole/2 || got > test.whole {
				t.Errorf("%+v after %d failures: %v, want between %v and %v", test.retry, test.failures, got, test.whole/2, test.whole)
			}
			seen[got] = true
			if again := test.retry.Backoff(id, test.failures); again != got {
				t.Errorf("backoff of one job differs: %v and %v", got, again)
			}
		}
		if len(seen) < 5 {
			t.Errorf("%+v after %d failures: only %d different waits for 6 jobs", test.retry, test.failures, len(seen))
		}
	}
}

func TestValidID(t *testing.T) {
	for id, want := range map[string]bool{
		"0197a0c2-5f6e-7000-8000-0123456789ab": true, "a": true, "j_1": true,
		"": false, "-a": false, "_a": false, "A": false, "a/b": false, "..": false, "a.b": false, "a\x00": false, "ä": false, `a\b`: false,
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa": false, // 65
	} {
		if got := job.ValidID(id); got != want {
			t.Errorf("ValidID(%q) = %v, want %v", id, got, want)
		}
	}
}
