package storetest

import (
	"testing"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
)

func testSubmit(t *testing.T, im Implementation) {
	s := open(t, im)
	want := fullJob(1)
	stored := submit(t, s, want)
	want.State = job.Queued
	same(t, "stored", want, stored)
	same(t, "read", want, get(t, s, want.ID))

	_, _, err := s.SubmitJob(t.Context(), newJob(1))
	wantFault(t, err, fault.AlreadyExists, "there is already a job job-0001")
	same(t, "after a second submit with its id", want, get(t, s, want.ID))

	bad := newJob(2)
	bad.ID = "../etc"
	_, _, err = s.SubmitJob(t.Context(), bad)
	wantFault(t, err, fault.Invalid, `id: "../etc" is not 1 to 64 lower-case letters, digits, hyphens and underscores, beginning with a letter or digit`)
	ended := newJob(2)
	ended.State = job.Succeeded
	_, _, err = s.SubmitJob(t.Context(), ended)
	wantFault(t, err, fault.Precondition, "job job-0002 is succeeded; it cannot be submitted")
	_, err = s.GetJob(t.Context(), "job-0002")
	wantFault(t, err, fault.NotFound, `there is no job "job-0002"`)
}

func testIdempotency(t *testing.T, im Implementation) {
	s := open(t, im)
	first := newJob(1)
	first.IdempotencyKey = "nightly 2030-01-02"
	submit(t, s, first)
	claimed := must(t)(s.ClaimJob(t.Context(), first.ID, "n1", epoch))

	again := newJob(2)
	again.IdempotencyKey = first.IdempotencyKey
	stored, created, err := s.SubmitJob(t.Context(), again)
	ok(t, err)
	if created {
		t.Error("a second job was created under one key")
	}
	same(t, "the job that holds the key, as it is now", claimed, stored)
	_, err = s.GetJob(t.Context(), again.ID)
	wantFault(t, err, fault.NotFound, `there is no job "job-0002"`)

	// No key is not a key.
	submit(t, s, newJob(3))
	submit(t, s, newJob(4))
	// The key is not given free when its job ends.
	must(t)(s.CompleteAttempt(t.Context(), job.Ref{JobID: first.ID, Attempt: 1}, job.End{State: job.AttemptSucceeded, At: epoch}))
	if _, created, err := s.SubmitJob(t.Context(), again); created || err != nil {
		t.Errorf("after the job ended its key made a new one: created %v, %v", created, err)
	}
}

// testLifecycle walks through every field that transitions write, and reads
// back each time.
func testLifecycle(t *testing.T, im Implementation) {
	s := open(t, im)
	j := fullJob(1)
	want := submit(t, s, j)
	one, zero := 1, 0
	step := func(name string, transition func(*job.Job) error, got job.Job, err error) {
		t.Helper()
		ok(t, err)
		ok(t, transition(&want))
		same(t, name+": answered", want, got)
		same(t, name+": read", want, get(t, s, j.ID))
	}
	at := func(n int) time.Time { return epoch.Add(time.Duration(n) * time.Second) }
	failed := job.End{State: job.AttemptFailed, At: at(3), ExitCode: &one, Reason: "exit code 1", Output: "so far", Failure: job.FailureExitCode}
	done := job.End{State: job.AttemptSucceeded, At: at(9), ExitCode: &zero, Output: "42\n"}

	got, err := s.ClaimJob(t.Context(), j.ID, "n1", at(1), "GPU-1", "GPU-2")
	step("claim", func(j *job.Job) error { return j.Claim("n1", at(1), "GPU-1", "GPU-2") }, got, err)
	got, err = s.StartAttempt(t.Context(), job.Ref{JobID: j.ID, Attempt: 1}, at(2))
	step("start", func(j *job.Job) error { _, err := j.Start(1, at(2)); return err }, got, err)
	got, err = s.StartAttempt(t.Context(), job.Ref{JobID: j.ID, Attempt: 1}, at(3))
	step("start again", func(*job.Job) error { return nil }, got, err)
	got, err = s.CompleteAttempt(t.Context(), job.Ref{JobID: j.ID, Attempt: 1}, failed)
	step("fail", func(j *job.Job) error { return j.Complete(1, failed) }, got, err)
	if want.State != job.Queued || want.NotBefore.IsZero() {
		t.Fatalf("a failed attempt with retries left: %+v", want)
	}
	got, err = s.ClaimJob(t.Context(), j.ID, "n2", at(4))
	step("claim 2", func(j *job.Job) error { return j.Claim("n2", at(4)) }, got, err)
	got, err = s.LoseAttempt(t.Context(), job.Ref{JobID: j.ID, Attempt: 2}, "its lease ran out", at(5))
	step("lose", func(j *job.Job) error { return j.Lose(2, "its lease ran out", at(5)) }, got, err)
	got, err = s.ClaimJob(t.Context(), j.ID, "n1", at(6))
	step("claim 3", func(j *job.Job) error { return j.Claim("n1", at(6)) }, got, err)
	third, stopped := job.Ref{JobID: j.ID, Attempt: 3}, job.End{State: job.AttemptCancelled, At: at(7), Reason: "stopped"}
	got, err = s.EvictAttempt(t.Context(), third, "drained")
	step("evict", func(j *job.Job) error { _, err := j.Evict(3, "drained"); return err }, got, err)
	got, err = s.EvictAttempt(t.Context(), third, "drained again")
	step("evict again", func(*job.Job) error { return nil }, got, err)
	got, err = s.CompleteAttempt(t.Context(), third, stopped)
	step("evicted", func(j *job.Job) error { return j.Complete(3, stopped) }, got, err)
	got, err = s.ClaimJob(t.Context(), j.ID, "n1", at(8))
	step("claim 4", func(j *job.Job) error { return j.Claim("n1", at(8)) }, got, err)
	got, err = s.CompleteAttempt(t.Context(), job.Ref{JobID: j.ID, Attempt: 4}, done)
	step("succeed", func(j *job.Job) error { return j.Complete(4, done) }, got, err)
}

func testRefusals(t *testing.T, im Implementation) {
	s := open(t, im)
	submit(t, s, newJob(1))
	ref := func(n int) job.Ref { return job.Ref{JobID: "job-0001", Attempt: n} }
	end := job.End{State: job.AttemptSucceeded, At: epoch}

	_, err := s.StartAttempt(t.Context(), ref(1), epoch)
	wantFault(t, err, fault.Precondition, "job job-0001 is queued and has no attempt 1; it cannot be started")
	_, err = s.RetryJob(t.Context(), "job-0001", epoch)
	ok(t, err) // a queued job is answered unchanged

	must(t)(s.ClaimJob(t.Context(), "job-0001", "n1", epoch))
	before := must(t)(s.LoseAttempt(t.Context(), ref(1), "", epoch))
	_, err = s.CompleteAttempt(t.Context(), ref(1), end)
	wantFault(t, err, fault.Precondition, "attempt 1 of job job-0001 is lost; it cannot be completed")
	same(t, "after a late completion", before, get(t, s, "job-0001"))

	must(t)(s.ClaimJob(t.Context(), "job-0001", "n2", epoch))
	_, err = s.ClaimJob(t.Context(), "job-0001", "n3", epoch)
	wantFault(t, err, fault.Precondition, "job job-0001 is assigned; it cannot be given to a node")
	_, err = s.CompleteAttempt(t.Context(), ref(1), end)
	wantFault(t, err, fault.Precondition, "attempt 1 of job job-0001 is not its newest, which is 2; it cannot be completed")
	_, err = s.LoseAttempt(t.Context(), ref(1), "", epoch)
	wantFault(t, err, fault.Precondition, "attempt 1 of job job-0001 is not its newest, which is 2; it cannot be lost")
	_, err = s.EvictAttempt(t.Context(), ref(1), "drained")
	wantFault(t, err, fault.Precondition, "attempt 1 of job job-0001 is not its newest, which is 2; it cannot be evicted")
	_, err = s.RetryJob(t.Context(), "job-0001", epoch)
	wantFault(t, err, fault.Precondition, "job job-0001 is assigned; it cannot be retried")

	must(t)(s.CompleteAttempt(t.Context(), ref(2), end))
	_, err = s.CancelJob(t.Context(), "job-0001", "", epoch)
	wantFault(t, err, fault.Precondition, "job job-0001 is succeeded; it cannot be cancelled")

	for name, call := range map[string]func() (job.Job, error){
		"get":   func() (job.Job, error) { return s.GetJob(t.Context(), "none") },
		"claim": func() (job.Job, error) { return s.ClaimJob(t.Context(), "none", "n1", epoch) },
		"start": func() (job.Job, error) { return s.StartAttempt(t.Context(), job.Ref{JobID: "none", Attempt: 1}, epoch) },
		"complete": func() (job.Job, error) {
			return s.CompleteAttempt(t.Context(), job.Ref{JobID: "none", Attempt: 1}, end)
		},
		"lose": func() (job.Job, error) {
			return s.LoseAttempt(t.Context(), job.Ref{JobID: "none", Attempt: 1}, "", epoch)
		},
		"evict": func() (job.Job, error) {
			return s.EvictAttempt(t.Context(), job.Ref{JobID: "none", Attempt: 1}, "drained")
		},
		"cancel": func() (job.Job, error) { return s.CancelJob(t.Context(), "none", "", epoch) },
		"expire": func() (job.Job, error) { return s.ExpireJob(t.Context(), "none", "", epoch) },
		"retry":  func() (job.Job, error) { return s.RetryJob(t.Context(), "none", epoch) },
	} {
		t.Run(name, func(t *testing.T) {
			_, err := call()
			wantFault(t, err, fault.NotFound, `there is no job "none"`)
		})
	}
}

func testExpire(t *testing.T, im Implementation) {
	s := open(t, im)
	j := newJob(1)
	j.Spec.QueueTimeout = time.Minute
	j.Spec.StartAfter = j.CreatedAt.Add(time.Hour)
	if j = submit(t, s, j); !j.NotBefore.Equal(j.Spec.StartAfter) {
		t.Errorf("a job that is to start later may start at %v", j.NotBefore)
	}
	end := j.Spec.StartAfter.Add(time.Minute)
	_, err := s.ExpireJob(t.Context(), j.ID, "full", end.Add(-1))
	wantFault(t, err, fault.Precondition, "job job-0001 has not waited for its queue timeout yet; it cannot be given up for its queue timeout")
	same(t, "expired too early", j, get(t, s, j.ID))
	failed := must(t)(s.ExpireJob(t.Context(), j.ID, "full", end))
	if failed.State != job.Failed || failed.Reason != "waited for a node longer than its queue timeout of 1m0s: full" {
		t.Errorf("a job that waited too long is %s: %s", failed.State, failed.Reason)
	}
	same(t, "expired, read", failed, get(t, s, j.ID))
	_, err = s.ExpireJob(t.Context(), j.ID, "full", end)
	wantFault(t, err, fault.Precondition, "job job-0001 is failed; it cannot be given up for its queue timeout")

	// By hand it gets its whole time again, durably.
	must(t)(s.RetryJob(t.Context(), j.ID, end))
	again := get(t, s, j.ID)
	if got := again.WaitsSince(); !got.Equal(end) {
		t.Errorf("a job that was retried waits since %v, want %v", got, end)
	}
}

func testCancelAndRetry(t *testing.T, im Implementation) {
	s := open(t, im)
	submit(t, s, newJob(1))
	cancelled := must(t)(s.CancelJob(t.Context(), "job-0001", "no longer wanted", epoch))
	if cancelled.State != job.Cancelled || cancelled.Reason != "cancelled: no longer wanted" {
		t.Errorf("cancelling a queued job made it %s, %q", cancelled.State, cancelled.Reason)
	}
	same(t, "cancelled again", cancelled, must(t)(s.CancelJob(t.Context(), "job-0001", "other", epoch.Add(1))))

	retried := must(t)(s.RetryJob(t.Context(), "job-0001", epoch))
	if retried.State != job.Queued || retried.Result != nil || !retried.FinishedAt.IsZero() {
		t.Errorf("retrying made it %+v", retried)
	}
	same(t, "retried again", retried, must(t)(s.RetryJob(t.Context(), "job-0001", epoch)))

	must(t)(s.ClaimJob(t.Context(), "job-0001", "n1", epoch))
	marked := must(t)(s.CancelJob(t.Context(), "job-0001", "stop", epoch))
	if marked.State != job.Assigned || !marked.CancelRequested || marked.CancelReason != "stop" {
		t.Errorf("cancelling an assigned job made it %+v", marked)
	}
	same(t, "marked, read", marked, get(t, s, "job-0001"))
	same(t, "marked again", marked, must(t)(s.CancelJob(t.Context(), "job-0001", "other", epoch)))
	ended := must(t)(s.CompleteAttempt(t.Context(), job.Ref{JobID: "job-0001", Attempt: 1},
		job.End{State: job.AttemptCancelled, At: epoch, Reason: "stopped"}))
	if ended.State != job.Cancelled || ended.CancelRequested || ended.Reason != "cancelled: stop (stopped)" {
		t.Errorf("when its node stopped it, the job was %+v", ended)
	}

	// Attempts before a retry by hand are forgiven, durably.
	must(t)(s.RetryJob(t.Context(), "job-0001", epoch))
	if got := get(t, s, "job-0001"); got.ForgivenAttempts != 1 {
		t.Errorf("%d attempts are forgiven after a retry, want 1", got.ForgivenAttempts)
	}
}
