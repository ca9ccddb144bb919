package sqlite

import (
	"context"
	"fmt"

	"github.com/orchion/orchion/orchestrator/internal/schedule"
)

// PutSchedule inserts or replaces a schedule.
func (s *Store) PutSchedule(ctx context.Context, c schedule.Schedule) error {
	if err := schedule.CheckName("name", c.Name); err != nil {
		return err
	}
	template, err := toJSON(c.Template)
	if err != nil {
		return err
	}
	return s.change(ctx, severalStatements, func(t *tx) error {
		if err := t.exec(`REPLACE INTO schedules
			(name, cron, time_zone, overlap, paused, template, created_at, cursor, pending, last_run_at, last_job_id, reason)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			c.Name, c.Cron, c.TimeZone, int64(c.Overlap), c.Paused, template, toNanos(c.CreatedAt), toNanos(c.Cursor),
			toNanos(c.Pending), toNanos(c.LastRunAt), c.LastJobID, c.Reason); err != nil {
			return fmt.Errorf("saving schedule %s: %w", c.Name, err)
		}
		return t.useScheduleBlobs(c.Name, c.Template.Spec.Blobs())
	})
}

// DeleteSchedule forgets a schedule.
func (s *Store) DeleteSchedule(ctx context.Context, name string) error {
	return s.change(ctx, severalStatements, func(t *tx) error {
		if err := t.remove("DELETE FROM schedules WHERE name = ?", name, schedule.NoSchedule); err != nil {
			return err
		}
		return t.useScheduleBlobs(name, nil)
	})
}

// ListSchedules answers all schedules, ordered by name.
func (s *Store) ListSchedules(ctx context.Context) ([]schedule.Schedule, error) {
	var list []schedule.Schedule
	err := s.reading(ctx, func() error {
		rows, err := s.read.QueryContext(ctx, `SELECT name, cron, time_zone, overlap, paused, template, created_at, cursor, pending,
			last_run_at, last_job_id, reason FROM schedules ORDER BY name`)
		if err != nil {
			return fmt.Errorf("listing schedules: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var c schedule.Schedule
			var template []byte
			var created, cursor, pending, lastRun int64
			if err := rows.Scan(&c.Name, &c.Cron, &c.TimeZone, &c.Overlap, &c.Paused, &template, &created, &cursor, &pending,
				&lastRun, &c.LastJobID, &c.Reason); err != nil {
				return fmt.Errorf("listing schedules: %w", err)
			}
			c.CreatedAt, c.Cursor, c.Pending, c.LastRunAt = fromNanos(created), fromNanos(cursor), fromNanos(pending), fromNanos(lastRun)
			if err := fromJSON(template, &c.Template, "template of schedule", c.Name); err != nil {
				return err
			}
			list = append(list, c)
		}
		return rows.Err()
	})
	return list, err
}
