package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/blob"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/store"
)

// artifactBatch is how many artifacts are written in one transaction, which
// others wait for.
const artifactBatch = 500

// PutArtifacts stores what an attempt left. Nothing of it is seen before all is
// there.
func (s *Store) PutArtifacts(ctx context.Context, ref job.Ref, list []job.Artifact, now time.Time) error {
	var bytes int64
	for i := range list {
		bytes += list[i].Size
	}
	// Each step is for the attempt only as long as it is the job's.
	step := func(run func(*tx) error) error {
		return s.change(ctx, severalStatements, func(t *tx) error {
			r, err := t.load(ref.JobID)
			if err != nil {
				return err
			}
			if err := r.job.MayLeave(ref.Attempt); err != nil {
				return err
			}
			if err := run(t); err != nil {
				return fmt.Errorf("storing what %s left: %w", ref, err)
			}
			return nil
		})
	}
	err := step(func(t *tx) error {
		return t.exec(`INSERT OR REPLACE INTO artifact_sets (job_id, attempt, stored_at, complete, files, bytes) VALUES (?, ?, ?, 0, ?, ?)`,
			ref.JobID, ref.Attempt, toNanos(now), len(list), bytes)
	})
	for more := true; more && err == nil; {
		err = step(func(t *tx) (err error) {
			more, err = t.deleteArtifacts(ref, artifactBatch)
			return err
		})
	}
	for batch := range slices.Chunk(list, artifactBatch) {
		if err != nil {
			return err
		}
		err = step(func(t *tx) error {
			for i := range batch {
				a := &batch[i]
				if err := t.exec("INSERT INTO artifacts (job_id, attempt, name, path, digest, size, mode) VALUES (?, ?, ?, ?, ?, ?, ?)",
					ref.JobID, ref.Attempt, a.Name, a.Path, string(a.Digest), a.Size, a.Mode); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		return err
	}
	return step(func(t *tx) error {
		return t.exec("UPDATE artifact_sets SET complete = 1 WHERE job_id = ? AND attempt = ?", ref.JobID, ref.Attempt)
	})
}

// deleteArtifacts deletes artifacts of an attempt, at most so many, and says
// whether there may be more.
func (t *tx) deleteArtifacts(ref job.Ref, limit int) (more bool, err error) {
	result, err := t.execCounting(`DELETE FROM artifacts WHERE job_id = ?1 AND attempt = ?2 AND name IN
		(SELECT name FROM artifacts WHERE job_id = ?1 AND attempt = ?2 ORDER BY name LIMIT ?3)`, ref.JobID, ref.Attempt, limit)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n == int64(limit), err
}

// ArtifactSets answers which attempts of a job left something.
func (s *Store) ArtifactSets(ctx context.Context, jobID string) (sets []job.ArtifactSet, err error) {
	err = s.reading(ctx, func() error {
		if err := s.hasJob(ctx, jobID); err != nil {
			return err
		}
		rows, err := s.read.QueryContext(ctx,
			"SELECT attempt, files, bytes, stored_at FROM artifact_sets WHERE job_id = ? AND complete = 1 ORDER BY attempt", jobID)
		if err != nil {
			return fmt.Errorf("reading what job %s left: %w", jobID, err)
		}
		defer rows.Close()
		for rows.Next() {
			var set job.ArtifactSet
			var at int64
			if err := rows.Scan(&set.Attempt, &set.Files, &set.Bytes, &at); err != nil {
				return fmt.Errorf("reading what job %s left: %w", jobID, err)
			}
			set.StoredAt = fromNanos(at)
			sets = append(sets, set)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, err
	}
	return sets, nil
}

// hasJob is NotFound when there is no such job.
func (s *Store) hasJob(ctx context.Context, id string) error {
	var one int
	err := s.read.QueryRowContext(ctx, "SELECT 1 FROM jobs WHERE id = ?", id).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return store.NoJob(id)
	}
	return err
}

// ListArtifacts answers what the attempts of a job left.
func (s *Store) ListArtifacts(ctx context.Context, jobID string, f store.ArtifactFilter) (list []job.Artifact, err error) {
	if err := f.Validate(); err != nil {
		return nil, err
	}
	text := `SELECT attempt, name, path, digest, size, mode FROM artifacts WHERE job_id = ? AND (attempt, name) > (?, ?)
		AND attempt IN (SELECT attempt FROM artifact_sets WHERE job_id = artifacts.job_id AND complete = 1)`
	args := []any{jobID, f.AfterAttempt, f.AfterName}
	if f.Attempt != 0 {
		text += " AND attempt = ?"
		args = append(args, f.Attempt)
	}
	if f.Name != "" {
		text += " AND name = ?"
		args = append(args, f.Name)
	}
	args = append(args, f.Limit)
	err = s.reading(ctx, func() error {
		if err := s.hasJob(ctx, jobID); err != nil {
			return err
		}
		rows, err := s.read.QueryContext(ctx, text+" ORDER BY attempt, name LIMIT ?", args...)
		if err != nil {
			return fmt.Errorf("listing what job %s left: %w", jobID, err)
		}
		defer rows.Close()
		for rows.Next() {
			var a job.Artifact
			var digest string
			if err := rows.Scan(&a.Attempt, &a.Name, &a.Path, &digest, &a.Size, &a.Mode); err != nil {
				return fmt.Errorf("listing what job %s left: %w", jobID, err)
			}
			a.Digest = blob.Digest(digest)
			list = append(list, a)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// DeleteArtifacts deletes what was stored before a time, and what jobs left that
// are deleted.
func (s *Store) DeleteArtifacts(ctx context.Context, before time.Time, limit int) (more bool, err error) {
	var until int64 // what jobs left that are deleted
	if !before.IsZero() {
		until = toNanos(before)
	}
	var ref job.Ref
	err = s.reading(ctx, func() error {
		return s.read.QueryRowContext(ctx, "SELECT job_id, attempt FROM artifact_sets WHERE stored_at < ? ORDER BY stored_at LIMIT 1", until).
			Scan(&ref.JobID, &ref.Attempt)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking for old artifacts: %w", err)
	}
	err = s.change(ctx, severalStatements, func(t *tx) error {
		// Stored anew meanwhile, it is not old any more.
		result, err := t.execCounting("UPDATE artifact_sets SET complete = 0 WHERE job_id = ? AND attempt = ? AND stored_at < ?",
			ref.JobID, ref.Attempt, until)
		if err != nil {
			return fmt.Errorf("deleting what %s left: %w", ref, err)
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return err
		}
		rest, err := t.deleteArtifacts(ref, limit)
		if err == nil && !rest {
			err = t.exec("DELETE FROM artifact_sets WHERE job_id = ? AND attempt = ?", ref.JobID, ref.Attempt)
		}
		if err != nil {
			return fmt.Errorf("deleting what %s left: %w", ref, err)
		}
		return nil
	})
	return err == nil, err
}
