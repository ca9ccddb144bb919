package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/store"
)

const (
	// maxLive bounds how many liveJobs are kept.
	maxLive = 8192
	// maxLiveBytes is the size of a spec from which on its job is read again
	// rather than kept.
	maxLiveBytes = 16 << 10
)

const (
	// insertJob takes the values of insertion.
	insertJob = `INSERT INTO jobs (id, idempotency_key, name, labels, spec, created_at,
		state, reason, node_id, started_at, finished_at, not_before,
		cancel_requested, cancel_reason, forgiven_attempts, result, attempts)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`
	// updateJob takes the values of changing and the row's number.
	updateJob = `UPDATE jobs SET state = ?, reason = ?, node_id = ?, started_at = ?, finished_at = ?, not_before = ?,
		cancel_requested = ?, cancel_reason = ?, forgiven_attempts = ?, result = ?, attempts = ?
		WHERE seq = ?`
)

// liveJobs are jobs that have not ended, as the open transaction sees them. The
// writer is the only one that changes jobs, so what it wrote last need not be
// read again for the next transition. Ended jobs, those with much in them and,
// past maxLive, any are left out; a rollback empties it.
type liveJobs map[string]record

func (l liveJobs) keep(r record) {
	if r.job.State.Ended() || isLarge(&r.job.Spec) {
		delete(l, r.job.ID)
		return
	}
	if _, held := l[r.job.ID]; !held && len(l) >= maxLive {
		for id := range l { // any one
			delete(l, id)
			break
		}
	}
	l[r.job.ID] = r
}

// isLarge says whether so much is in a spec that thousands of them should not
// be kept in memory.
func isLarge(s *job.Spec) bool {
	size := 0
	if c := s.Container; c != nil {
		for _, list := range [][]string{c.Command, c.Args, c.Models} {
			for _, text := range list {
				size += len(text)
			}
		}
		for name, value := range c.Env {
			size += len(name) + len(value)
		}
		for _, f := range c.Files {
			size += len(f.Content)
		}
	}
	if c := s.Chat; c != nil {
		for _, m := range c.Messages {
			size += len(m.Content)
		}
	}
	return size >= maxLiveBytes
}

// load reads a job for changing it.
func (t *tx) load(id string) (record, error) {
	if r, ok := t.live[id]; ok {
		return r, nil
	}
	row, err := t.row("SELECT "+jobColumns+" FROM jobs WHERE id = ?", id)
	if err != nil {
		return record{}, err
	}
	return oneJob(row, id)
}

// oneJob reads the row of one job.
func oneJob(row *sql.Row, id string) (record, error) {
	var r record
	err := r.scan(row.Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return record{}, store.NoJob(id)
	}
	if err != nil {
		return record{}, fmt.Errorf("reading job %s: %w", id, err)
	}
	return r, nil
}

// SubmitJob inserts a queued job.
func (s *Store) SubmitJob(ctx context.Context, j job.Job) (stored job.Job, created bool, err error) {
	if err := j.Submit(); err != nil {
		return job.Job{}, false, err
	}
	// Encoded here, beside the writer, which everyone waits for.
	insert, err := insertion(j)
	if err != nil {
		return job.Job{}, false, err
	}
	atomic := oneStatement
	if len(j.Labels) > 0 {
		atomic = severalStatements
	}
	err = s.change(ctx, atomic, func(t *tx) error {
		if j.IdempotencyKey != "" {
			row, err := t.row("SELECT "+jobColumns+" FROM jobs WHERE idempotency_key = ?", j.IdempotencyKey)
			if err != nil {
				return err
			}
			var holder record
			switch err := holder.scan(row.Scan); {
			case err == nil:
				stored, created = holder.job, false
				return nil
			case !errors.Is(err, sql.ErrNoRows):
				return fmt.Errorf("looking for the idempotency key: %w", err)
			}
		}
		result, err := t.execCounting(insertJob, insert...)
		if err != nil {
			return fmt.Errorf("inserting job %s: %w", j.ID, err)
		}
		if n, err := result.RowsAffected(); err != nil {
			return fmt.Errorf("inserting job %s: %w", j.ID, err)
		} else if n == 0 {
			return store.JobExists(j.ID)
		}
		seq, err := result.LastInsertId()
		if err != nil {
			return fmt.Errorf("inserting job %s: %w", j.ID, err)
		}
		for key, value := range j.Labels {
			if err := t.exec("INSERT INTO job_labels (key, value, created_at, id, job) VALUES (?, ?, ?, ?, ?)",
				key, value, toNanos(j.CreatedAt), j.ID, seq); err != nil {
				return fmt.Errorf("inserting a label of job %s: %w", j.ID, err)
			}
		}
		t.live.keep(record{seq: seq, job: j})
		stored, created = j, true
		return nil
	})
	if err != nil {
		return job.Job{}, false, err
	}
	return stored, created, nil
}

// insertion are all the values of a new job's row but its number.
func insertion(j job.Job) ([]any, error) {
	labels, err := toJSON(j.Labels)
	if err != nil {
		return nil, err
	}
	spec, err := toJSON(j.Spec)
	if err != nil {
		return nil, err
	}
	rest, err := changing(j)
	if err != nil {
		return nil, err
	}
	key := sql.NullString{String: j.IdempotencyKey, Valid: j.IdempotencyKey != ""}
	return append([]any{j.ID, key, j.Name, labels, spec, toNanos(j.CreatedAt)}, rest...), nil
}

// transition makes one transition of a job; one that changes nothing writes
// nothing.
func (s *Store) transition(ctx context.Context, id string, do func(*job.Job) (changed bool, err error)) (job.Job, error) {
	var after job.Job
	err := s.change(ctx, oneStatement, func(t *tx) error {
		r, err := t.load(id)
		if err != nil {
			return err
		}
		changed, err := do(&r.job)
		if err != nil {
			return err
		}
		after = r.job
		if !changed {
			return nil
		}
		values, err := changing(r.job)
		if err != nil {
			return err
		}
		if err := t.exec(updateJob, append(values, r.seq)...); err != nil {
			return fmt.Errorf("updating job %s: %w", id, err)
		}
		t.live.keep(r)
		return nil
	})
	if err != nil {
		return job.Job{}, err
	}
	return after, nil
}

// always is for transitions that change something whenever they are allowed.
func always(err error) (bool, error) { return err == nil, err }

// ClaimJob gives a queued job to a node as its next attempt.
func (s *Store) ClaimJob(ctx context.Context, id, nodeID string, now time.Time) (job.Job, error) {
	return s.transition(ctx, id, func(j *job.Job) (bool, error) { return always(j.Claim(nodeID, now)) })
}

// StartAttempt marks an assigned attempt as running.
func (s *Store) StartAttempt(ctx context.Context, ref job.Ref, at time.Time) (job.Job, error) {
	return s.transition(ctx, ref.JobID, func(j *job.Job) (bool, error) { return j.Start(ref.Attempt, at) })
}

// CompleteAttempt ends an attempt.
func (s *Store) CompleteAttempt(ctx context.Context, ref job.Ref, end job.End) (job.Job, error) {
	return s.transition(ctx, ref.JobID, func(j *job.Job) (bool, error) { return always(j.Complete(ref.Attempt, end)) })
}

// LoseAttempt marks an attempt as lost and queues the job again.
func (s *Store) LoseAttempt(ctx context.Context, ref job.Ref, reason string, now time.Time) (job.Job, error) {
	return s.transition(ctx, ref.JobID, func(j *job.Job) (bool, error) { return always(j.Lose(ref.Attempt, reason, now)) })
}

// CancelJob cancels a queued job and marks one that a node holds.
func (s *Store) CancelJob(ctx context.Context, id, reason string, now time.Time) (job.Job, error) {
	return s.transition(ctx, id, func(j *job.Job) (bool, error) { return j.Cancel(reason, now) })
}

// EvictAttempt marks an attempt that its node is to end.
func (s *Store) EvictAttempt(ctx context.Context, ref job.Ref, reason string) (job.Job, error) {
	return s.transition(ctx, ref.JobID, func(j *job.Job) (bool, error) { return j.Evict(ref.Attempt, reason) })
}

// ExpireJob fails a queued job whose queue timeout has run out.
func (s *Store) ExpireJob(ctx context.Context, id, met string, now time.Time) (job.Job, error) {
	return s.transition(ctx, id, func(j *job.Job) (bool, error) { return always(j.Expire(met, now)) })
}

// RetryJob queues a failed or cancelled job again.
func (s *Store) RetryJob(ctx context.Context, id string, now time.Time) (job.Job, error) {
	return s.transition(ctx, id, func(j *job.Job) (bool, error) { return j.Retry(now) })
}
