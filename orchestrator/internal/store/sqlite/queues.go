package sqlite

import (
	"context"
	"fmt"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/store"
)

// PutQueue inserts or replaces the settings of a queue.
func (s *Store) PutQueue(ctx context.Context, q job.Queue) error {
	if err := q.Validate(); err != nil {
		return err
	}
	return s.change(ctx, oneStatement, func(t *tx) error {
		if err := t.exec("REPLACE INTO queues (name, weight, max_running, paused) VALUES (?, ?, ?, ?)",
			q.Name, int64(q.Weight), int64(q.MaxRunning), q.Paused); err != nil {
			return fmt.Errorf("saving the settings of queue %s: %w", q.Name, err)
		}
		return nil
	})
}

// DeleteQueue forgets the settings of a queue.
func (s *Store) DeleteQueue(ctx context.Context, name string) error {
	return s.remove(ctx, "DELETE FROM queues WHERE name = ?", name, store.NoQueue)
}

// ListQueues answers the queues that something is set for, ordered by name.
func (s *Store) ListQueues(ctx context.Context) ([]job.Queue, error) {
	var queues []job.Queue
	err := s.reading(ctx, func() error {
		rows, err := s.read.QueryContext(ctx, "SELECT name, weight, max_running, paused FROM queues ORDER BY name")
		if err != nil {
			return fmt.Errorf("listing queues: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var q job.Queue
			if err := rows.Scan(&q.Name, &q.Weight, &q.MaxRunning, &q.Paused); err != nil {
				return fmt.Errorf("listing queues: %w", err)
			}
			queues = append(queues, q)
		}
		return rows.Err()
	})
	return queues, err
}
