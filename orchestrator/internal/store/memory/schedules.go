package memory

import (
	"cmp"
	"context"

	"github.com/orchion/orchion/orchestrator/internal/schedule"
)

// PutSchedule inserts or replaces a schedule.
func (s *Store) PutSchedule(ctx context.Context, c schedule.Schedule) error {
	return s.do(ctx, func() error {
		if err := schedule.CheckName("name", c.Name); err != nil {
			return err
		}
		s.schedules[c.Name] = c
		return nil
	})
}

// DeleteSchedule forgets a schedule.
func (s *Store) DeleteSchedule(ctx context.Context, name string) error {
	return s.do(ctx, func() error {
		if _, ok := s.schedules[name]; !ok {
			return schedule.NoSchedule(name)
		}
		delete(s.schedules, name)
		return nil
	})
}

// ListSchedules answers all schedules, ordered by name.
func (s *Store) ListSchedules(ctx context.Context) ([]schedule.Schedule, error) {
	var list []schedule.Schedule
	err := s.do(ctx, func() error {
		list = sortedValues(s.schedules, func(a, b schedule.Schedule) int { return cmp.Compare(a.Name, b.Name) })
		return nil
	})
	return list, err
}
