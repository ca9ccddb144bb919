package storetest

import (
	"fmt"
	"sync"
	"testing"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
)

// racers is how many goroutines try the same thing at once.
const racers = 16

// race runs f in many goroutines that start together and answers how many were
// refused as a precondition; any other error fails the test.
func race(t *testing.T, f func(n int) error) (refused int) {
	t.Helper()
	errs := make([]error, racers)
	start := make(chan struct{})
	var group sync.WaitGroup
	for n := range racers {
		group.Go(func() {
			<-start
			errs[n] = f(n)
		})
	}
	close(start)
	group.Wait()
	for _, err := range errs {
		switch {
		case err == nil:
		case fault.CodeOf(err) == fault.Precondition:
			refused++
		default:
			t.Errorf("a racer got %v", err)
		}
	}
	return refused
}

func testRacingSubmits(t *testing.T, im Implementation) {
	s := open(t, im)
	var mu sync.Mutex // guards created and answered
	created, answered := 0, map[string]bool{}
	race(t, func(n int) error {
		j := newJob(n)
		j.IdempotencyKey = "one"
		stored, isNew, err := s.SubmitJob(t.Context(), j)
		mu.Lock()
		defer mu.Unlock()
		answered[stored.ID] = true
		if isNew {
			created++
		}
		return err
	})
	if created != 1 || len(answered) != 1 {
		t.Errorf("%d jobs were created under one key and %v answered, want one", created, answered)
	}
}

func testRacingClaims(t *testing.T, im Implementation) {
	s := open(t, im)
	for n := range 8 {
		submit(t, s, newJob(n))
		id := newJob(n).ID
		refused := race(t, func(n int) error {
			_, err := s.ClaimJob(t.Context(), id, fmt.Sprintf("n%d", n), epoch)
			return err
		})
		if refused != racers-1 {
			t.Errorf("%d of %d claims were refused, want all but one", refused, racers)
		}
		if got := get(t, s, id); got.State != job.Assigned || len(got.Attempts) != 1 {
			t.Errorf("after the race: %+v", got)
		}
	}
}

func testRacingCompletions(t *testing.T, im Implementation) {
	s := open(t, im)
	for n := range 8 {
		submit(t, s, newJob(n))
		ref := job.Ref{JobID: newJob(n).ID, Attempt: 1}
		must(t)(s.ClaimJob(t.Context(), ref.JobID, "n1", epoch))
		refused := race(t, func(n int) error {
			var err error
			switch n % 3 {
			case 0:
				_, err = s.LoseAttempt(t.Context(), ref, "lease", epoch)
			case 1:
				_, err = s.CompleteAttempt(t.Context(), ref, job.End{State: job.AttemptFailed, At: epoch, Reason: "no"})
			default:
				_, err = s.CompleteAttempt(t.Context(), ref, job.End{State: job.AttemptSucceeded, At: epoch})
			}
			return err
		})
		if refused != racers-1 {
			t.Errorf("%d of %d ends were refused, want all but one", refused, racers)
		}
		if got := get(t, s, ref.JobID); len(got.Attempts) != 1 || !got.Attempts[0].State.Ended() {
			t.Errorf("after the race: %+v", got)
		}
	}
}
