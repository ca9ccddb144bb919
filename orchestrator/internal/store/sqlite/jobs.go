package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
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
	insertJob = `INSERT INTO jobs (id, idempotency_key, name, queue, labels, spec, created_at, array_id, array_index, array_count,
		state, reason, node_id, started_at, finished_at, not_before,
		cancel_requested, cancel_reason, forgiven_attempts, waiting, result, attempts)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`
	// updateJob takes the values of changing and the row's number.
	updateJob = `UPDATE jobs SET state = ?, reason = ?, node_id = ?, started_at = ?, finished_at = ?, not_before = ?,
		cancel_requested = ?, cancel_reason = ?, forgiven_attempts = ?, waiting = ?, result = ?, attempts = ?
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
	if p := s.Process; p != nil {
		for _, text := range p.Args {
			size += len(text)
		}
		for name, value := range p.Env {
			size += len(name) + len(value)
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
	return s.SubmitJobs(ctx, []job.Job{j})
}

// SubmitJobs inserts queued jobs, all or none.
func (s *Store) SubmitJobs(ctx context.Context, jobs []job.Job) (first job.Job, created bool, err error) {
	return s.insertNew(ctx, slices.Clone(jobs), (*job.Job).Submit)
}

// SubmitClaimed inserts a job that a node has been given.
func (s *Store) SubmitClaimed(ctx context.Context, j job.Job, nodeID string, now time.Time, gpus ...string) (stored job.Job, created bool, err error) {
	return s.insertNew(ctx, []job.Job{j}, func(j *job.Job) error {
		if err := j.Submit(); err != nil {
			return err
		}
		return j.Claim(nodeID, now, gpus...)
	})
}

// insertNew inserts jobs as begin makes them, all or none.
func (s *Store) insertNew(ctx context.Context, jobs []job.Job, begin func(*job.Job) error) (first job.Job, created bool, err error) {
	atomic := oneStatement
	rows := make([][]any, len(jobs))
	for i := range jobs {
		if err := begin(&jobs[i]); err != nil {
			return job.Job{}, false, err
		}
		// Encoded here, beside the writer, which everyone waits for.
		if rows[i], err = insertion(jobs[i]); err != nil {
			return job.Job{}, false, err
		}
		if len(jobs) > 1 || len(jobs[i].Labels) > 0 || jobs[i].Waiting || len(jobs[i].Spec.Blobs()) > 0 {
			atomic = severalStatements
		}
	}
	err = s.change(ctx, atomic, func(t *tx) error {
		holder, taken, err := t.keyHolder(jobs[0].IdempotencyKey)
		if err != nil {
			return err
		}
		if taken {
			first, created = holder, false
			return nil
		}
		for i := range jobs {
			if err := t.insert(&jobs[i], rows[i]); err != nil {
				return err
			}
		}
		first, created = jobs[0], true
		return nil
	})
	if err != nil {
		return job.Job{}, false, err
	}
	return first, created, nil
}

// keyHolder is the job that holds an idempotency key, if the key is one and is
// taken.
func (t *tx) keyHolder(key string) (holder job.Job, taken bool, err error) {
	if key == "" {
		return job.Job{}, false, nil
	}
	row, err := t.row("SELECT "+jobColumns+" FROM jobs WHERE idempotency_key = ?", key)
	if err != nil {
		return job.Job{}, false, err
	}
	var r record
	switch err := r.scan(row.Scan); {
	case errors.Is(err, sql.ErrNoRows):
		return job.Job{}, false, nil
	case err != nil:
		return job.Job{}, false, fmt.Errorf("looking for the idempotency key: %w", err)
	}
	return r.job, true, nil
}

// insert inserts one job, given the values of its row.
func (t *tx) insert(j *job.Job, values []any) error {
	result, err := t.execCounting(insertJob, values...)
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
	for i, d := range j.Spec.After {
		if err := t.await(i, d.ID, seq); err != nil {
			return err
		}
	}
	if err := t.useBlobs(j, seq); err != nil {
		return err
	}
	t.live.keep(record{seq: seq, job: *j})
	return nil
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
	return append([]any{
		j.ID, key, j.Name, j.Spec.QueueName(), labels, spec, toNanos(j.CreatedAt), j.ArrayID, int64(j.ArrayIndex), int64(j.ArrayCount),
	}, rest...), nil
}

// transition makes one transition of a job; one that changes nothing writes
// nothing.
func (s *Store) transition(ctx context.Context, id string, do func(*job.Job) (changed bool, err error)) (job.Job, error) {
	return s.transitionIn(ctx, oneStatement, id, do)
}

// transitionIn is transition for one that may end the job's waiting for others,
// which is several statements, and for those that may not.
func (s *Store) transitionIn(ctx context.Context, atomic atomicity, id string, do func(*job.Job) (changed bool, err error)) (job.Job, error) {
	var after job.Job
	err := s.change(ctx, atomic, func(t *tx) error {
		r, err := t.load(id)
		if err != nil {
			return err
		}
		waited := r.job.Waiting
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
		if waited && !r.job.Waiting {
			if err := t.unawait(&r); err != nil {
				return err
			}
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
func (s *Store) ClaimJob(ctx context.Context, id, nodeID string, now time.Time, gpus ...string) (job.Job, error) {
	return s.transition(ctx, id, func(j *job.Job) (bool, error) { return always(j.Claim(nodeID, now, gpus...)) })
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
	return s.transitionIn(ctx, severalStatements, id, func(j *job.Job) (bool, error) { return j.Cancel(reason, now) })
}

// ReleaseJob ends a job's waiting for others.
func (s *Store) ReleaseJob(ctx context.Context, id, unmet string, now time.Time) (job.Job, error) {
	return s.transitionIn(ctx, severalStatements, id, func(j *job.Job) (bool, error) { return j.Release(unmet, now) })
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
