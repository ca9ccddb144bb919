package storetest

import (
	"fmt"
	"testing"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/store"
)

// newArray are the jobs of an array as they are handed in, beginning with the
// n-th job of the test.
func newArray(n, count int, id string) []job.Job {
	jobs := make([]job.Job, count)
	for i := range jobs {
		jobs[i] = newJob(n + i)
		jobs[i].CreatedAt = epoch
		jobs[i].Labels = map[string]string{"team": "blue"}
		jobs[i].ArrayID, jobs[i].ArrayIndex, jobs[i].ArrayCount = id, i, count
	}
	return jobs
}

func testArrays(t *testing.T, im Implementation) {
	s := open(t, im)
	jobs := newArray(1, 5, "array-a")
	jobs[0].IdempotencyKey = "all of them"
	first, created, err := s.SubmitJobs(t.Context(), jobs)
	if err != nil || !created || first.ID != "job-0001" || first.State != job.Queued {
		t.Fatalf("submitting an array: %+v, created %v, %v", first, created, err)
	}
	for i := range jobs {
		want := jobs[i]
		want.State = job.Queued
		same(t, "a job of the array", want, get(t, s, want.ID))
	}
	must(t)(s.ClaimJob(t.Context(), "job-0001", "n1", epoch))
	again := newArray(11, 5, "array-b")
	again[0].IdempotencyKey = jobs[0].IdempotencyKey
	first, created, err = s.SubmitJobs(t.Context(), again)
	if err != nil || created || first.ID != "job-0001" || first.State != job.Assigned {
		t.Errorf("the same key again: %+v, created %v, %v", first, created, err)
	}

	// All or none.
	broken := newArray(21, 3, "array-c")
	broken[2].ID = "job-0003"
	_, _, err = s.SubmitJobs(t.Context(), broken)
	wantFault(t, err, fault.AlreadyExists, "there is already a job job-0003")
	for _, id := range []string{"job-0011", "job-0021"} {
		_, err = s.GetJob(t.Context(), id)
		wantFault(t, err, fault.NotFound, fmt.Sprintf("there is no job %q", id))
	}
	submit(t, s, newJob(31))
	for _, limit := range []int{2, 100} {
		same(t, "the jobs of the array", []string{"job-0005", "job-0004", "job-0003", "job-0002", "job-0001"},
			ids(pages(t, s, store.JobFilter{ArrayID: "array-a", Limit: limit})))
		same(t, "those of it that wait", []string{"job-0005", "job-0004", "job-0003", "job-0002"},
			ids(pages(t, s, store.JobFilter{ArrayID: "array-a", States: []job.State{job.Queued, job.Failed}, Limit: limit})))
		same(t, "those of no array", nil, ids(pages(t, s, store.JobFilter{ArrayID: "array-b", Limit: limit})))
	}
}

func testOutcome(t *testing.T, im Implementation) {
	s := open(t, im)
	if _, _, err := s.SubmitJobs(t.Context(), newArray(1, 4, "array-a")); err != nil {
		t.Fatal(err)
	}
	want := func(id string, want job.Outcome) {
		t.Helper()
		got, err := s.Outcome(t.Context(), id)
		ok(t, err)
		same(t, "outcome of "+id, want, got)
	}
	end := func(id string, state job.AttemptState) {
		t.Helper()
		must(t)(s.ClaimJob(t.Context(), id, "n1", epoch))
		must(t)(s.CompleteAttempt(t.Context(), job.Ref{JobID: id, Attempt: 1}, job.End{State: state, At: epoch}))
	}
	want("job-0001", job.Outcome{Pending: "job-0001"})
	want("array-a", job.Outcome{Pending: "job-0004"})
	end("job-0004", job.AttemptSucceeded)
	want("job-0004", job.Outcome{})
	want("array-a", job.Outcome{Pending: "job-0003"})
	end("job-0003", job.AttemptFailed)
	want("job-0003", job.Outcome{Unsuccessful: "job-0003", State: job.Failed})
	want("array-a", job.Outcome{Pending: "job-0002", Unsuccessful: "job-0003", State: job.Failed})
	must(t)(s.CancelJob(t.Context(), "job-0001", "", epoch))
	end("job-0002", job.AttemptSucceeded)
	want("array-a", job.Outcome{Unsuccessful: "job-0001", State: job.Cancelled})
	_, err := s.Outcome(t.Context(), "none")
	wantFault(t, err, fault.NotFound, `there is no job "none"`)
	_, err = s.Outcome(t.Context(), "array-none")
	wantFault(t, err, fault.NotFound, `there is no array "array-none"`)
}

func testWaiting(t *testing.T, im Implementation) {
	s := open(t, im)
	submit(t, s, newJob(1))
	if _, _, err := s.SubmitJobs(t.Context(), newArray(2, 2, "array-a")); err != nil {
		t.Fatal(err)
	}
	waiting := func(n int, ids ...string) job.Job {
		j := newJob(n)
		for _, id := range ids {
			j.Spec.After = append(j.Spec.After, job.Dependency{ID: id, On: job.OnEnd})
		}
		return j
	}
	j := submit(t, s, waiting(10, "job-0001", "array-a"))
	if !j.Waiting || j.Reason != "waits for job job-0001 to end and for 1 more" {
		t.Errorf("a job that waits: %+v", j)
	}
	same(t, "read", j, get(t, s, j.ID))
	_, err := s.ClaimJob(t.Context(), j.ID, "n1", epoch)
	wantFault(t, err, fault.Precondition, "job job-0010 waits for other jobs; it cannot be given to a node")
	for _, id := range []string{"none", "array-none"} {
		_, _, err = s.SubmitJob(t.Context(), waiting(11, "job-0001", id))
		wantFault(t, err, fault.Invalid, fmt.Sprintf("spec.after[1].jobId: names %q, which does not exist; a job can only wait for jobs and arrays that were submitted before it", id))
		_, err = s.GetJob(t.Context(), "job-0011")
		wantFault(t, err, fault.NotFound, `there is no job "job-0011"`)
	}

	free := must(t)(s.ReleaseJob(t.Context(), j.ID, "", epoch))
	if free.Waiting || free.State != job.Queued || free.Reason != "" || !free.WaitsSince().Equal(free.CreatedAt) {
		t.Errorf("released, it is %+v", free)
	}
	same(t, "released, read", free, get(t, s, j.ID))
	same(t, "released again", free, must(t)(s.ReleaseJob(t.Context(), j.ID, "job x failed", epoch)))
	must(t)(s.ClaimJob(t.Context(), j.ID, "n1", epoch))
	_, err = s.ReleaseJob(t.Context(), j.ID, "", epoch)
	wantFault(t, err, fault.Precondition, "job job-0010 is assigned; it cannot be released from waiting for other jobs")

	j = submit(t, s, waiting(12, "array-a"))
	ended := must(t)(s.ReleaseJob(t.Context(), j.ID, "job x failed", epoch))
	if ended.State != job.Cancelled || ended.Waiting || ended.Reason != "cancelled: job x failed" {
		t.Errorf("released for nothing, it is %+v", ended)
	}
	retried := must(t)(s.RetryJob(t.Context(), j.ID, epoch))
	if retried.Waiting || retried.State != job.Queued {
		t.Errorf("retried by hand, it is %+v", retried)
	}
	must(t)(s.CancelJob(t.Context(), submit(t, s, waiting(13, "job-0001")).ID, "", epoch))
	_, err = s.ReleaseJob(t.Context(), "none", "", epoch)
	wantFault(t, err, fault.NotFound, `there is no job "none"`)
}
