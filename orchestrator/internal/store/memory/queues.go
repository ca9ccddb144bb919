package memory

import (
	"cmp"
	"context"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/store"
)

// PutQueue inserts or replaces the settings of a queue.
func (s *Store) PutQueue(ctx context.Context, q job.Queue) error {
	return s.do(ctx, func() error {
		if err := q.Validate(); err != nil {
			return err
		}
		s.queues[q.Name] = q
		return nil
	})
}

// DeleteQueue forgets the settings of a queue.
func (s *Store) DeleteQueue(ctx context.Context, name string) error {
	return s.do(ctx, func() error {
		if _, ok := s.queues[name]; !ok {
			return store.NoQueue(name)
		}
		delete(s.queues, name)
		return nil
	})
}

// ListQueues answers the queues that something is set for, ordered by name.
func (s *Store) ListQueues(ctx context.Context) ([]job.Queue, error) {
	var list []job.Queue
	err := s.do(ctx, func() error {
		list = sortedValues(s.queues, func(a, b job.Queue) int { return cmp.Compare(a.Name, b.Name) })
		return nil
	})
	return list, err
}
