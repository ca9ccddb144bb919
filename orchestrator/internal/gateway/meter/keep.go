package meter

import (
	"context"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/usage"
)

const (
	// keepEvery is how often old usage is looked for.
	keepEvery = 10 * time.Minute
	// deleteBatch is how many rows are deleted in one transaction, which others
	// wait for.
	deleteBatch = 500
	// breath lies between two transactions, for the others.
	breath = 20 * time.Millisecond
)

// keep puts the minutes of hours together that are old enough, and deletes what
// is older than it is kept for.
func (m *Meter) keep(ctx context.Context) {
	now := time.Now()
	err := repeat(ctx, func() (bool, error) { return m.cfg.Store.FoldUsage(ctx, now.Add(-usage.MinutesKept)) })
	if err == nil && m.cfg.Retention > 0 {
		err = repeat(ctx, func() (bool, error) { return m.cfg.Store.DeleteUsage(ctx, now.Add(-m.cfg.Retention), deleteBatch) })
	}
	if err != nil && ctx.Err() == nil {
		m.log.ErrorContext(ctx, "old usage could not be put together or deleted", "retry_in", keepEvery, "error", err)
	}
}

// repeat calls f for as long as there is more.
func repeat(ctx context.Context, f func() (more bool, err error)) error {
	for {
		more, err := f()
		if err != nil || !more {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(breath):
		}
	}
}
