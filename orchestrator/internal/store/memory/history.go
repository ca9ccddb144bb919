package memory

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/store"
)

// DeleteEnded deletes the oldest jobs that ended before a time.
func (s *Store) DeleteEnded(ctx context.Context, before time.Time, limit int) (ids []string, err error) {
	if limit < 1 || limit > store.MaxPage {
		return nil, fault.BadField("limit", "is %d; allowed are 1 to %d", limit, store.MaxPage)
	}
	err = s.do(ctx, func() error {
		waitedFor := map[string]bool{}
		for _, j := range s.jobs {
			if j.Waiting {
				for _, d := range j.Spec.After {
					waitedFor[d.ID] = true
				}
			}
		}
		list := sortedValues(s.jobs, newestFirst)
		slices.Reverse(list)
		for _, j := range list {
			if len(ids) == limit {
				break
			}
			if !j.State.Ended() || !j.FinishedAt.Before(before) || waitedFor[j.ID] || waitedFor[j.ArrayID] {
				continue
			}
			s.deleteLocked(j)
			ids = append(ids, j.ID)
		}
		return nil
	})
	return ids, err
}

func (s *Store) deleteLocked(j job.Job) {
	delete(s.jobs, j.ID)
	if j.IdempotencyKey != "" {
		delete(s.keys, j.IdempotencyKey)
	}
	if j.ArrayID != "" {
		left := slices.DeleteFunc(slices.Clone(s.arrays[j.ArrayID]), func(id string) bool { return id == j.ID })
		if s.arrays[j.ArrayID] = left; len(left) == 0 {
			delete(s.arrays, j.ArrayID)
		}
	}
	s.deleted[j.ID] = struct{}{}
	for ref, set := range s.artifacts {
		if ref.JobID == j.ID {
			set.deleted = true
			s.artifacts[ref] = set
		}
	}
}

// DeletedJobs answers jobs that were deleted and not forgotten yet.
func (s *Store) DeletedJobs(ctx context.Context, limit int) (ids []string, err error) {
	err = s.do(ctx, func() error {
		ids = slices.SortedFunc(maps.Keys(s.deleted), cmp.Compare)
		ids = ids[:min(limit, len(ids))]
		return nil
	})
	return ids, err
}

// ForgetDeleted forgets jobs that were deleted.
func (s *Store) ForgetDeleted(ctx context.Context, ids []string) error {
	return s.do(ctx, func() error {
		for _, id := range ids {
			delete(s.deleted, id)
		}
		return nil
	})
}
