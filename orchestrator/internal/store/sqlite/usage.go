package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/store"
	"github.com/orchion/orchion/orchestrator/internal/usage"
)

// AddUsage adds counts to those of the same time, step and key.
func (s *Store) AddUsage(ctx context.Context, rows []usage.Row) error {
	if err := store.CheckUsage(rows); err != nil {
		return err
	}
	return s.change(ctx, severalStatements, func(t *tx) error { return t.addUsage(rows) })
}

func (t *tx) addUsage(rows []usage.Row) error {
	for i := range rows {
		r := &rows[i]
		found, err := t.row("SELECT counts FROM usage WHERE step = ? AND start = ? AND model = ? AND caller = ? AND node = ?",
			stepSeconds(r.Step), r.Start.Unix(), r.Model, r.Caller, r.NodeID)
		if err != nil {
			return err
		}
		counts := r.Counts
		var data []byte
		switch err := found.Scan(&data); {
		case err == nil:
			before, err := readCounts(data)
			if err != nil {
				return err
			}
			counts.Add(&before)
		case !errors.Is(err, sql.ErrNoRows):
			return fmt.Errorf("reading usage: %w", err)
		}
		if err := t.exec("REPLACE INTO usage (step, start, model, caller, node, counts) VALUES (?, ?, ?, ?, ?, ?)",
			stepSeconds(r.Step), r.Start.Unix(), r.Model, r.Caller, r.NodeID, counts.AppendBinary(nil)); err != nil {
			return fmt.Errorf("saving usage: %w", err)
		}
	}
	return nil
}

func stepSeconds(step time.Duration) int64 { return int64(step / time.Second) }

func readCounts(data []byte) (usage.Counts, error) {
	counts, err := usage.ParseCounts(data)
	if err != nil {
		return counts, fmt.Errorf("reading usage: %w", err)
	}
	return counts, nil
}

// Usage calls f with the rows of a time.
func (s *Store) Usage(ctx context.Context, from, to time.Time, f func(*usage.Row) error) error {
	return s.reading(ctx, func() error {
		return s.usageRows(ctx, f, "SELECT step, start, model, caller, node, counts FROM usage WHERE step IN (60, 3600) AND start >= ? AND start < ?",
			ceilSeconds(from), ceilSeconds(to))
	})
}

// ceilSeconds is the first whole second that is not before a time.
func ceilSeconds(t time.Time) int64 {
	seconds := t.Unix()
	if t.Nanosecond() > 0 {
		seconds++
	}
	return seconds
}

func (s *Store) usageRows(ctx context.Context, f func(*usage.Row) error, query string, args ...any) error {
	rows, err := s.read.QueryContext(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("listing usage: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var r usage.Row
		var step, start int64
		var counts sql.RawBytes
		if err := rows.Scan(&step, &start, &r.Model, &r.Caller, &r.NodeID, &counts); err != nil {
			return fmt.Errorf("listing usage: %w", err)
		}
		r.Step, r.Start = time.Duration(step)*time.Second, time.Unix(start, 0).UTC()
		if r.Counts, err = readCounts(counts); err != nil {
			return err
		}
		if err := f(&r); err != nil {
			return err
		}
	}
	return rows.Err()
}

// FoldUsage puts the minutes of the oldest hour that ended before a time
// together. They are read beside the writer, which everyone waits for: nothing
// is added to minutes that are so old.
func (s *Store) FoldUsage(ctx context.Context, before time.Time) (more bool, err error) {
	var rows []usage.Row
	var hour time.Time
	err = s.reading(ctx, func() error {
		var oldest sql.NullInt64
		if err := s.read.QueryRowContext(ctx, "SELECT min(start) FROM usage WHERE step = 60").Scan(&oldest); err != nil {
			return fmt.Errorf("looking for old usage: %w", err)
		}
		hour = time.Unix(oldest.Int64, 0).UTC().Truncate(time.Hour)
		if !oldest.Valid || hour.Add(time.Hour).After(before) {
			return nil
		}
		return s.usageRows(ctx, func(r *usage.Row) error {
			rows = append(rows, *r)
			return nil
		}, "SELECT step, start, model, caller, node, counts FROM usage WHERE step = 60 AND start >= ? AND start < ?",
			hour.Unix(), hour.Add(time.Hour).Unix())
	})
	if err != nil || len(rows) == 0 {
		return false, err
	}
	folded := usage.Fold(hour, rows)
	err = s.change(ctx, severalStatements, func(t *tx) error {
		if err := t.exec("DELETE FROM usage WHERE step = 60 AND start >= ? AND start < ?", hour.Unix(), hour.Add(time.Hour).Unix()); err != nil {
			return fmt.Errorf("putting usage together: %w", err)
		}
		return t.addUsage(folded)
	})
	return err == nil, err
}

// DeleteUsage deletes the oldest rows that start before a time, of one step
// after the other.
func (s *Store) DeleteUsage(ctx context.Context, before time.Time, limit int) (more bool, err error) {
	if limit < 1 || limit > store.MaxPage {
		return false, fault.BadField("limit", "is %d; allowed are 1 to %d", limit, store.MaxPage)
	}
	err = s.change(ctx, severalStatements, func(t *tx) error {
		var deleted int64
		for _, step := range []time.Duration{time.Hour, time.Minute} {
			result, err := t.execCounting(`DELETE FROM usage WHERE (step, start, model, caller, node) IN
				(SELECT step, start, model, caller, node FROM usage WHERE step = ? AND start < ? ORDER BY start LIMIT ?)`,
				stepSeconds(step), ceilSeconds(before), int64(limit)-deleted)
			if err != nil {
				return fmt.Errorf("deleting old usage: %w", err)
			}
			n, err := result.RowsAffected()
			if err != nil {
				return err
			}
			deleted += n
		}
		more = deleted == int64(limit)
		return nil
	})
	return more, err
}
