package storetest

import (
	"testing"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/store"
)

func testQueues(t *testing.T, im Implementation) {
	s := open(t, im)
	list := func(s store.Store) []job.Queue {
		t.Helper()
		queues, err := s.ListQueues(t.Context())
		ok(t, err)
		return queues
	}
	same(t, "an empty store", nil, list(s))
	night := job.Queue{Name: "night", Weight: 3, MaxRunning: 7, Paused: true}
	ok(t, s.PutQueue(t.Context(), night))
	ok(t, s.PutQueue(t.Context(), job.NewQueue("day")))
	same(t, "two by name", []job.Queue{job.NewQueue("day"), night}, list(s))
	night.Paused, night.MaxRunning = false, 0
	ok(t, s.PutQueue(t.Context(), night))
	same(t, "one replaced", []job.Queue{job.NewQueue("day"), night}, list(s))

	wantFault(t, s.PutQueue(t.Context(), job.Queue{Name: "x"}), fault.Invalid, "weight: is 0; it must be between 1 and 1000")
	ok(t, s.DeleteQueue(t.Context(), "day"))
	wantFault(t, s.DeleteQueue(t.Context(), "day"), fault.NotFound, `nothing is set for a queue "day"`)
	same(t, "one deleted", []job.Queue{night}, list(s))

	if im.Reopen == nil {
		return
	}
	other := im.Open(t)
	ok(t, other.PutQueue(t.Context(), night))
	other = im.Reopen(t, other)
	defer other.Close()
	same(t, "after reopening", []job.Queue{night}, list(other))
}
