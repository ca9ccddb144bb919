package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/store"
)

// await notes that a new job waits for the job or array that its spec names at
// place i, which must be there.
func (t *tx) await(i int, id string, waiting int64) error {
	text := "SELECT 1 FROM jobs WHERE id = ?"
	if job.IsArrayID(id) {
		text = "SELECT 1 FROM jobs INDEXED BY jobs_by_array WHERE array_id = ? AND array_id <> '' LIMIT 1"
	}
	row, err := t.row(text, id)
	if err != nil {
		return err
	}
	var one int
	switch err := row.Scan(&one); {
	case errors.Is(err, sql.ErrNoRows):
		return job.NoDependency(i, id)
	case err != nil:
		return fmt.Errorf("looking for %s, which a job waits for: %w", id, err)
	}
	if err := t.exec("INSERT OR IGNORE INTO job_waits (for_id, job) VALUES (?, ?)", id, waiting); err != nil {
		return fmt.Errorf("noting that a job waits for %s: %w", id, err)
	}
	return nil
}

// unawait forgets what a job waited for.
func (t *tx) unawait(r *record) error {
	for _, d := range r.job.Spec.After {
		if err := t.exec("DELETE FROM job_waits WHERE for_id = ? AND job = ?", d.ID, r.seq); err != nil {
			return fmt.Errorf("forgetting that job %s waits for %s: %w", r.job.ID, d.ID, err)
		}
	}
	return nil
}

// The queries of Outcome for an array. Of those that have not ended the last is
// answered, as it is likely to be the last to end.
const (
	pendingOfArray = `SELECT id FROM jobs INDEXED BY jobs_by_array_state
		WHERE array_id = ? AND array_id <> '' AND state = ? ORDER BY array_index DESC LIMIT 1`
	endedOfArray = `SELECT id FROM jobs INDEXED BY jobs_by_array_state
		WHERE array_id = ? AND array_id <> '' AND state = ? ORDER BY array_index LIMIT 1`
)

// Outcome answers what became of a job, or of the jobs of an array.
func (s *Store) Outcome(ctx context.Context, id string) (out job.Outcome, err error) {
	err = s.reading(ctx, func() error {
		if !job.IsArrayID(id) {
			return s.read.QueryRowContext(ctx, "SELECT state FROM jobs WHERE id = ?", id).Scan(&out.State)
		}
		// One transaction, so that all states are seen at one moment.
		tx, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // nothing was written
		for _, state := range job.States() {
			text := pendingOfArray
			if state.Ended() {
				text = endedOfArray
			}
			var member string
			err := tx.QueryRowContext(ctx, text, id, int64(state)).Scan(&member)
			switch {
			case errors.Is(err, sql.ErrNoRows):
				continue
			case err != nil:
				return err
			case !state.Ended():
				out.Pending = max(out.Pending, member)
			case state == job.Succeeded:
				out.State = state
			case out.Unsuccessful == "" || member < out.Unsuccessful:
				out.Unsuccessful, out.State = member, state
			}
		}
		if out == (job.Outcome{}) {
			return sql.ErrNoRows
		}
		return nil
	})
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return job.Outcome{}, store.NoSuch(id)
	case err != nil:
		return job.Outcome{}, fmt.Errorf("reading what became of %s: %w", id, err)
	case job.IsArrayID(id):
		if out.Unsuccessful == "" {
			out.State = 0
		}
		return out, nil
	case !out.State.Ended():
		return job.Outcome{Pending: id}, nil
	case out.State != job.Succeeded:
		return job.Outcome{Unsuccessful: id, State: out.State}, nil
	}
	return job.Outcome{}, nil
}
