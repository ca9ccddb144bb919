// Package history bounds how many ended jobs are kept, and for how long: it
// deletes the others with their logs and artifacts, a few at a time, so that those who work
// with the store hardly notice.
package history

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/upkeep"
)

// Store is what the history needs of store.Store.
type Store interface {
	CountJobs(ctx context.Context) (map[job.State]int64, error)
	DeleteEnded(ctx context.Context, before time.Time, limit int) (ids []string, err error)
	DeletedJobs(ctx context.Context, limit int) (ids []string, err error)
	ForgetDeleted(ctx context.Context, ids []string) error
	DeleteArtifacts(ctx context.Context, before time.Time, limit int) (more bool, err error)
}

// Logs is what the history needs of store.LogStore.
type Logs interface {
	DeleteJob(ctx context.Context, jobID string) error
}

// Config says what is kept. Store and Logs must be set.
type Config struct {
	Store Store
	Logs  Logs
	// Keep is how long a job is kept after it ended; 0: for ever.
	Keep time.Duration
	// KeepArtifacts is how long artifacts are kept; 0: as long as their job.
	KeepArtifacts time.Duration
	// Max is how many ended jobs are kept; 0: any number.
	Max int
	// Removed is told of every job that is deleted. It must not block. Default:
	// nobody is told.
	Removed func(jobID string)
	Logger  *slog.Logger // default: discards
}

const (
	// every is how often old jobs are looked for.
	every = time.Minute
	// batch is how many jobs are deleted in one transaction, which others wait
	// for.
	batch = 100
	// artifactBatch is how many artifacts are.
	artifactBatch = 500
	// breath lies between two batches, for the others.
	breath = 20 * time.Millisecond
)

// Keeper deletes old jobs. Make one with New.
type Keeper struct {
	*upkeep.Loop

	cfg Config
}

// New makes a keeper; call Start.
func New(cfg Config) (*Keeper, error) {
	if cfg.Store == nil || cfg.Logs == nil {
		return nil, errors.New("history: Config needs Store and Logs")
	}
	if cfg.Removed == nil {
		cfg.Removed = func(string) {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	k := &Keeper{cfg: cfg}
	k.Loop = upkeep.New(every, func(ctx context.Context) {
		if err := k.sweep(ctx); err != nil && ctx.Err() == nil {
			cfg.Logger.Error("old jobs could not be deleted", "retry_in", every, "error", err)
		}
	})
	return k, nil
}

// sweep deletes all that is not to be kept any more.
func (k *Keeper) sweep(ctx context.Context) error {
	// What an earlier sweep left behind comes first: its jobs are gone.
	if err := k.deleteLogs(ctx); err != nil {
		return err
	}
	deleted := 0
	if k.cfg.Keep > 0 {
		n, err := k.deleteJobs(ctx, time.Now().Add(-k.cfg.Keep), -1)
		deleted += n
		if err != nil {
			return err
		}
	}
	if k.cfg.Max > 0 {
		counts, err := k.cfg.Store.CountJobs(ctx)
		if err != nil {
			return err
		}
		over := int(counts[job.Succeeded]+counts[job.Failed]+counts[job.Cancelled]) - k.cfg.Max
		if over > 0 {
			n, err := k.deleteJobs(ctx, time.Now(), over)
			deleted += n
			if err != nil {
				return err
			}
		}
	}
	if deleted > 0 {
		k.cfg.Logger.Info("old jobs deleted", "jobs", deleted)
	}
	return k.deleteArtifacts(ctx)
}

// deleteArtifacts deletes old artifacts, and those of jobs that are deleted.
func (k *Keeper) deleteArtifacts(ctx context.Context) error {
	var before time.Time
	if k.cfg.KeepArtifacts > 0 {
		before = time.Now().Add(-k.cfg.KeepArtifacts)
	}
	for {
		more, err := k.cfg.Store.DeleteArtifacts(ctx, before, artifactBatch)
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

// deleteJobs deletes jobs that ended before a time, with their logs: at most so
// many, or all with -1.
func (k *Keeper) deleteJobs(ctx context.Context, before time.Time, most int) (deleted int, err error) {
	for most < 0 || deleted < most {
		limit := batch
		if most >= 0 {
			limit = min(limit, most-deleted)
		}
		ids, err := k.cfg.Store.DeleteEnded(ctx, before, limit)
		if err != nil || len(ids) == 0 {
			return deleted, err
		}
		deleted += len(ids)
		for _, id := range ids {
			k.cfg.Removed(id)
		}
		if err := k.deleteLogs(ctx); err != nil {
			return deleted, err
		}
		select {
		case <-ctx.Done():
			return deleted, ctx.Err()
		case <-time.After(breath):
		}
	}
	return deleted, nil
}

// deleteLogs deletes the logs of jobs that are gone. That they are to be is
// durable, so a job's log never outlives it by more than a restart.
func (k *Keeper) deleteLogs(ctx context.Context) error {
	for {
		ids, err := k.cfg.Store.DeletedJobs(ctx, batch)
		if err != nil || len(ids) == 0 {
			return err
		}
		for _, id := range ids {
			if err := k.cfg.Logs.DeleteJob(ctx, id); err != nil {
				return err
			}
		}
		if err := k.cfg.Store.ForgetDeleted(ctx, ids); err != nil {
			return err
		}
	}
}
