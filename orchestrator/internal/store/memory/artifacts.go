package memory

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/store"
)

// artifactSet is what one attempt left.
type artifactSet struct {
	job.ArtifactSet
	list    []job.Artifact
	deleted bool // with its job
}

// PutArtifacts stores what an attempt left.
func (s *Store) PutArtifacts(ctx context.Context, ref job.Ref, list []job.Artifact, now time.Time) error {
	return s.do(ctx, func() error {
		j, ok := s.jobs[ref.JobID]
		if !ok {
			return store.NoJob(ref.JobID)
		}
		if err := j.MayLeave(ref.Attempt); err != nil {
			return err
		}
		set := artifactSet{ArtifactSet: job.ArtifactSet{Attempt: ref.Attempt, Files: len(list), StoredAt: now}}
		for _, a := range list {
			a.Attempt = ref.Attempt
			set.Bytes += a.Size
			set.list = append(set.list, a)
		}
		slices.SortFunc(set.list, func(a, b job.Artifact) int { return cmp.Compare(a.Name, b.Name) })
		s.artifacts[ref] = set
		return nil
	})
}

// sets are what the attempts of a job left, in their order.
func (s *Store) setsLocked(jobID string) ([]artifactSet, error) {
	if _, ok := s.jobs[jobID]; !ok {
		return nil, store.NoJob(jobID)
	}
	var sets []artifactSet
	for ref, set := range s.artifacts {
		if ref.JobID == jobID && !set.deleted {
			sets = append(sets, set)
		}
	}
	slices.SortFunc(sets, func(a, b artifactSet) int { return cmp.Compare(a.Attempt, b.Attempt) })
	return sets, nil
}

// ArtifactSets answers which attempts of a job left something.
func (s *Store) ArtifactSets(ctx context.Context, jobID string) (list []job.ArtifactSet, err error) {
	err = s.do(ctx, func() error {
		sets, err := s.setsLocked(jobID)
		for _, set := range sets {
			list = append(list, set.ArtifactSet)
		}
		return err
	})
	return list, err
}

// ListArtifacts answers what the attempts of a job left.
func (s *Store) ListArtifacts(ctx context.Context, jobID string, f store.ArtifactFilter) (list []job.Artifact, err error) {
	if err := f.Validate(); err != nil {
		return nil, err
	}
	err = s.do(ctx, func() error {
		sets, err := s.setsLocked(jobID)
		for _, set := range sets {
			for _, a := range set.list {
				after := a.Attempt > f.AfterAttempt || a.Attempt == f.AfterAttempt && a.Name > f.AfterName
				if after && (f.Attempt == 0 || a.Attempt == f.Attempt) && (f.Name == "" || a.Name == f.Name) && len(list) < f.Limit {
					list = append(list, a)
				}
			}
		}
		return err
	})
	return list, err
}

// DeleteArtifacts deletes what was stored before a time, and what jobs left that
// are deleted.
func (s *Store) DeleteArtifacts(ctx context.Context, before time.Time, limit int) (more bool, err error) {
	err = s.do(ctx, func() error {
		for ref, set := range s.artifacts {
			if !set.deleted && (before.IsZero() || !set.StoredAt.Before(before)) {
				continue
			}
			set.deleted, more = true, true
			if set.list = set.list[min(limit, len(set.list)):]; len(set.list) == 0 {
				delete(s.artifacts, ref)
			} else {
				s.artifacts[ref] = set
			}
			return nil
		}
		return nil
	})
	return more, err
}
