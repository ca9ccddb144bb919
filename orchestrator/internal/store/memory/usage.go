package memory

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/store"
	"github.com/orchion/orchion/orchestrator/internal/usage"
)

// usageKey is what tells rows apart.
type usageKey struct {
	step  time.Duration
	start int64 // in seconds since 1970
	usage.Key
}

func (k usageKey) row(c *usage.Counts) usage.Row {
	return usage.Row{Start: time.Unix(k.start, 0).UTC(), Step: k.step, Key: k.Key, Counts: *c}
}

// AddUsage adds counts to those of the same time, step and key.
func (s *Store) AddUsage(ctx context.Context, rows []usage.Row) error {
	if err := store.CheckUsage(rows); err != nil {
		return err
	}
	return s.do(ctx, func() error {
		s.addUsage(rows)
		return nil
	})
}

func (s *Store) addUsage(rows []usage.Row) {
	for i := range rows {
		key := usageKey{rows[i].Step, rows[i].Start.Unix(), rows[i].Key}
		counts := s.usage[key]
		counts.Add(&rows[i].Counts)
		s.usage[key] = counts
	}
}

// Usage calls f with the rows of a time.
func (s *Store) Usage(ctx context.Context, from, to time.Time, f func(*usage.Row) error) error {
	var rows []usage.Row
	err := s.do(ctx, func() error {
		for key, counts := range s.usage {
			if row := key.row(&counts); !row.Start.Before(from) && row.Start.Before(to) {
				rows = append(rows, row)
			}
		}
		return nil
	})
	for i := range rows {
		if err := f(&rows[i]); err != nil {
			return err
		}
	}
	return err
}

// FoldUsage puts the minutes of the oldest hour that ended before a time
// together.
func (s *Store) FoldUsage(ctx context.Context, before time.Time) (more bool, err error) {
	err = s.do(ctx, func() error {
		var oldest time.Time
		byHour := map[time.Time][]usageKey{}
		for key, counts := range s.usage {
			hour := key.row(&counts).Start.Truncate(time.Hour)
			if key.step != time.Minute || hour.Add(time.Hour).After(before) {
				continue
			}
			if !more || hour.Before(oldest) {
				more, oldest = true, hour
			}
			byHour[hour] = append(byHour[hour], key)
		}
		var rows []usage.Row
		for _, key := range byHour[oldest] {
			counts := s.usage[key]
			rows = append(rows, key.row(&counts))
			delete(s.usage, key)
		}
		s.addUsage(usage.Fold(oldest, rows))
		return nil
	})
	return more, err
}

// DeleteUsage deletes the oldest rows that start before a time.
func (s *Store) DeleteUsage(ctx context.Context, before time.Time, limit int) (more bool, err error) {
	if limit < 1 || limit > store.MaxPage {
		return false, fault.BadField("limit", "is %d; allowed are 1 to %d", limit, store.MaxPage)
	}
	err = s.do(ctx, func() error {
		var old []usageKey
		for key := range s.usage {
			if time.Unix(key.start, 0).Before(before) {
				old = append(old, key)
			}
		}
		slices.SortFunc(old, func(a, b usageKey) int { return cmp.Compare(a.start, b.start) })
		more = len(old) >= limit
		for _, key := range old[:min(limit, len(old))] {
			delete(s.usage, key)
		}
		return nil
	})
	return more, err
}
