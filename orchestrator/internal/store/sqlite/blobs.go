package sqlite

import (
	"context"
	"fmt"

	"github.com/orchion/orchion/orchestrator/internal/blob"
	"github.com/orchion/orchion/orchestrator/internal/job"
)

// useBlobs notes which blobs a new job is given.
func (t *tx) useBlobs(j *job.Job, seq int64) error {
	for _, digest := range j.Spec.Blobs() {
		if err := t.exec("INSERT INTO job_blobs (digest, job) VALUES (?, ?)", string(digest), seq); err != nil {
			return fmt.Errorf("noting a blob of job %s: %w", j.ID, err)
		}
	}
	return nil
}

// useScheduleBlobs notes which blobs the jobs of a schedule are given from now on.
func (t *tx) useScheduleBlobs(name string, digests []blob.Digest) error {
	if err := t.exec("DELETE FROM schedule_blobs WHERE schedule = ?", name); err != nil {
		return fmt.Errorf("forgetting the blobs of schedule %s: %w", name, err)
	}
	for _, digest := range digests {
		if err := t.exec("INSERT INTO schedule_blobs (digest, schedule) VALUES (?, ?)", string(digest), name); err != nil {
			return fmt.Errorf("noting a blob of schedule %s: %w", name, err)
		}
	}
	return nil
}

const blobInUse = `SELECT EXISTS (SELECT 1 FROM job_blobs WHERE digest = ?1)
	OR EXISTS (SELECT 1 FROM schedule_blobs WHERE digest = ?1) OR EXISTS (SELECT 1 FROM artifacts WHERE digest = ?1)`

// BlobsInUse answers which of some blobs are input files, of jobs or schedules,
// or artifacts.
func (s *Store) BlobsInUse(ctx context.Context, digests []blob.Digest) (map[blob.Digest]bool, error) {
	used := map[blob.Digest]bool{}
	err := s.reading(ctx, func() error {
		for _, digest := range digests {
			var found bool
			err := s.read.QueryRowContext(ctx, blobInUse, string(digest)).Scan(&found)
			if err != nil {
				return fmt.Errorf("looking for who uses blob %s: %w", digest, err)
			}
			if found {
				used[digest] = true
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return used, nil
}
