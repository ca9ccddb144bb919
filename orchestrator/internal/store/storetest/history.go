package storetest

import (
	"testing"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/label"
	"github.com/orchion/orchion/orchestrator/internal/store"
)

func testHistory(t *testing.T, im Implementation) {
	s := open(t, im)
	at := func(n int) time.Time { return epoch.Add(time.Duration(n) * time.Hour) }
	end := func(id string, state job.AttemptState, when time.Time) {
		t.Helper()
		must(t)(s.ClaimJob(t.Context(), id, "n1", epoch))
		must(t)(s.CompleteAttempt(t.Context(), job.Ref{JobID: id, Attempt: 1}, job.End{State: state, At: when}))
	}
	for n := 1; n <= 8; n++ {
		j := fullJob(n)
		j.Spec.Retry = job.Retry{}
		submit(t, s, j)
	}
	end("job-0001", job.AttemptSucceeded, at(9)) // ran for long
	end("job-0002", job.AttemptSucceeded, at(1))
	end("job-0003", job.AttemptFailed, at(2))
	must(t)(s.CancelJob(t.Context(), "job-0004", "", at(3)))
	end("job-0005", job.AttemptSucceeded, at(4))
	must(t)(s.ClaimJob(t.Context(), "job-0006", "n1", epoch))
	array := newArray(20, 2, "array-a")
	if _, _, err := s.SubmitJobs(t.Context(), array); err != nil {
		t.Fatal(err)
	}
	end("job-0020", job.AttemptSucceeded, at(1))
	waiting := newJob(30)
	waiting.Spec.After = []job.Dependency{{ID: "job-0003", On: job.OnEnd}, {ID: "array-a"}}
	submit(t, s, waiting)

	remove := func(before time.Time, limit int, want ...string) {
		t.Helper()
		got, err := s.DeleteEnded(t.Context(), before, limit)
		ok(t, err)
		same(t, "deleted", want, got)
		for _, id := range want {
			_, err := s.GetJob(t.Context(), id)
			wantFault(t, err, fault.NotFound, `there is no job "`+id+`"`)
		}
	}
	remove(at(1), 10)
	remove(at(5), 2, "job-0002", "job-0004") // what is waited for stays
	must(t)(s.RetryJob(t.Context(), "job-0003", at(5)))
	must(t)(s.CancelJob(t.Context(), "job-0003", "", at(5)))
	must(t)(s.ReleaseJob(t.Context(), waiting.ID, "", at(5)))
	remove(at(5), 10, "job-0020", "job-0005")
	remove(at(6), 10, "job-0003")
	remove(at(10), 1, "job-0001")
	remove(at(10), 10)

	selector, err := label.Parse("team=blue")
	ok(t, err)
	same(t, "what is left", []string{"job-0030", "job-0008", "job-0007", "job-0006", "job-0021"},
		ids(pages(t, s, store.JobFilter{Limit: 2})))
	same(t, "what is left with a label", []string{"job-0008", "job-0007", "job-0006", "job-0021"},
		ids(pages(t, s, store.JobFilter{Limit: 2, Labels: selector})))
	// An idempotency key is free again, and so is the id.
	again := fullJob(1)
	submit(t, s, again)

	gone := []string{"job-0001", "job-0002", "job-0003", "job-0004", "job-0005", "job-0020"}
	deleted := func(limit int, want ...string) {
		t.Helper()
		got, err := s.DeletedJobs(t.Context(), limit)
		ok(t, err)
		same(t, "deleted jobs that are remembered", want, got)
	}
	deleted(2, gone[:2]...)
	deleted(100, gone...)
	ok(t, s.ForgetDeleted(t.Context(), gone[:5]))
	deleted(100, "job-0020")
	_, err = s.DeleteEnded(t.Context(), at(1), 0)
	wantFault(t, err, fault.Invalid, "limit: is 0; allowed are 1 to 1000")
}
