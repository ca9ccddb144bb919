package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/store"
)

// doomedQuery finds jobs to delete, oldest first. No job ends before it was
// created, so that the index of the lists will do: of what it walks only jobs
// that ran for very long are passed over. Each state is an arm of its own, in
// the order of its index.
const doomedQuery = `SELECT seq, id, labels, created_at FROM jobs INDEXED BY jobs_by_state
		WHERE state = 4 AND created_at < ?1 AND finished_at < ?1 AND ` + notWaitedFor + ` UNION ALL
	SELECT seq, id, labels, created_at FROM jobs INDEXED BY jobs_by_state
		WHERE state = 5 AND created_at < ?1 AND finished_at < ?1 AND ` + notWaitedFor + ` UNION ALL
	SELECT seq, id, labels, created_at FROM jobs INDEXED BY jobs_by_state
		WHERE state = 6 AND created_at < ?1 AND finished_at < ?1 AND ` + notWaitedFor + `
	ORDER BY created_at, id LIMIT ?2`

// notWaitedFor holds for jobs that no waiting job depends on.
const notWaitedFor = `NOT EXISTS (SELECT 1 FROM job_waits WHERE for_id = jobs.id) AND
	(array_id = '' OR NOT EXISTS (SELECT 1 FROM job_waits WHERE for_id = jobs.array_id))`

// doomed is a job that is to be deleted.
type doomed struct {
	seq, created int64
	id           string
	labels       map[string]string
}

// DeleteEnded deletes the oldest jobs that ended before a time.
func (s *Store) DeleteEnded(ctx context.Context, before time.Time, limit int) (ids []string, err error) {
	if limit < 1 || limit > store.MaxPage {
		return nil, fault.BadField("limit", "is %d; allowed are 1 to %d", limit, store.MaxPage)
	}
	// Found beside the writer, which everyone waits for.
	list, err := s.doomed(ctx, before, limit)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	err = s.change(ctx, severalStatements, func(t *tx) error {
		ids = nil
		for i := range list {
			deleted, err := t.deleteEnded(&list[i])
			if err != nil {
				return err
			}
			if deleted {
				ids = append(ids, list[i].id)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return ids, nil
}

func (s *Store) doomed(ctx context.Context, before time.Time, limit int) (list []doomed, err error) {
	err = s.reading(ctx, func() error {
		rows, err := s.read.QueryContext(ctx, doomedQuery, toNanos(before), limit)
		if err != nil {
			return fmt.Errorf("looking for old jobs: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var d doomed
			var labels []byte
			if err := rows.Scan(&d.seq, &d.id, &labels, &d.created); err != nil {
				return fmt.Errorf("looking for old jobs: %w", err)
			}
			if err := fromJSON(labels, &d.labels, "labels of job", d.id); err != nil {
				return err
			}
			list = append(list, d)
		}
		return rows.Err()
	})
	return list, err
}

// deleteEnded deletes one job, unless it was retried or waited for meanwhile.
func (t *tx) deleteEnded(d *doomed) (deleted bool, err error) {
	result, err := t.execCounting("DELETE FROM jobs WHERE seq = ? AND state IN (4, 5, 6) AND "+notWaitedFor, d.seq)
	if err != nil {
		return false, fmt.Errorf("deleting job %s: %w", d.id, err)
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return false, err
	}
	for key, value := range d.labels {
		if err := t.exec("DELETE FROM job_labels WHERE key = ? AND value = ? AND created_at = ? AND id = ?", key, value, d.created, d.id); err != nil {
			return false, fmt.Errorf("deleting a label of job %s: %w", d.id, err)
		}
	}
	if err := t.exec("DELETE FROM job_blobs WHERE job = ?", d.seq); err != nil {
		return false, fmt.Errorf("releasing the blobs of job %s: %w", d.id, err)
	}
	if err := t.exec("UPDATE artifact_sets SET stored_at = -1, complete = 0 WHERE job_id = ?", d.id); err != nil {
		return false, fmt.Errorf("releasing the artifacts of job %s: %w", d.id, err)
	}
	if err := t.exec("INSERT OR IGNORE INTO deleted_jobs (id) VALUES (?)", d.id); err != nil {
		return false, fmt.Errorf("noting that job %s is deleted: %w", d.id, err)
	}
	return true, nil
}

// DeletedJobs answers jobs that were deleted and not forgotten yet.
func (s *Store) DeletedJobs(ctx context.Context, limit int) (ids []string, err error) {
	err = s.reading(ctx, func() error {
		rows, err := s.read.QueryContext(ctx, "SELECT id FROM deleted_jobs ORDER BY id LIMIT ?", limit)
		if err != nil {
			return fmt.Errorf("listing deleted jobs: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				return fmt.Errorf("listing deleted jobs: %w", err)
			}
			ids = append(ids, id)
		}
		return rows.Err()
	})
	return ids, err
}

// ForgetDeleted forgets jobs that were deleted.
func (s *Store) ForgetDeleted(ctx context.Context, ids []string) error {
	return s.change(ctx, severalStatements, func(t *tx) error {
		for _, id := range ids {
			if err := t.exec("DELETE FROM deleted_jobs WHERE id = ?", id); err != nil {
				return fmt.Errorf("forgetting deleted job %s: %w", id, err)
			}
		}
		return nil
	})
}
