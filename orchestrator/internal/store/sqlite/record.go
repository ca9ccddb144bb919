package sqlite

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/job"
)

// jobColumns are the columns of a job in the order of record.scan.
const jobColumns = `seq, id, idempotency_key, name, labels, spec, created_at, array_id, array_index, array_count,
	state, reason, node_id, started_at, finished_at, not_before,
	cancel_requested, cancel_reason, forgiven_attempts, waiting, result, attempts`

// record is a job with its row number.
type record struct {
	seq int64
	job job.Job
}

// attempt is how an attempt is kept within its job's row.
type attempt struct {
	Number     int      `json:"n"`
	NodeID     string   `json:"node"`
	State      int      `json:"state"`
	AssignedAt int64    `json:"assigned,omitempty"`
	StartedAt  int64    `json:"started,omitempty"`
	FinishedAt int64    `json:"finished,omitempty"`
	ExitCode   *int     `json:"exit,omitempty"`
	Reason     string   `json:"reason,omitempty"`
	Evict      string   `json:"evict,omitempty"`
	Failure    int      `json:"failure,omitempty"`
	GPUs       []string `json:"gpus,omitempty"`
}

// scan reads a row of jobColumns.
func (r *record) scan(scan func(...any) error) error {
	var (
		key, result                           sql.NullString
		labels, spec, attempts                []byte
		created, started, finished, notBefore int64
		nodeID                                string // only for the index
	)
	j := &r.job
	err := scan(&r.seq, &j.ID, &key, &j.Name, &labels, &spec, &created, &j.ArrayID, &j.ArrayIndex, &j.ArrayCount,
		&j.State, &j.Reason, &nodeID, &started, &finished, &notBefore,
		&j.CancelRequested, &j.CancelReason, &j.ForgivenAttempts, &j.Waiting, &result, &attempts)
	if err != nil {
		return err
	}
	j.IdempotencyKey = key.String
	j.CreatedAt, j.StartedAt, j.FinishedAt, j.NotBefore = fromNanos(created), fromNanos(started), fromNanos(finished), fromNanos(notBefore)
	if err := fromJSON(labels, &j.Labels, "labels of job", j.ID); err != nil {
		return err
	}
	if err := fromJSON(spec, &j.Spec, "spec of job", j.ID); err != nil {
		return err
	}
	if result.Valid {
		if err := fromJSON([]byte(result.String), &j.Result, "result of job", j.ID); err != nil {
			return err
		}
	}
	var kept []attempt
	if err := fromJSON(attempts, &kept, "attempts of job", j.ID); err != nil {
		return err
	}
	for _, a := range kept {
		j.Attempts = append(j.Attempts, job.Attempt{
			Number: a.Number, NodeID: a.NodeID, State: job.AttemptState(a.State),
			AssignedAt: fromNanos(a.AssignedAt), StartedAt: fromNanos(a.StartedAt), FinishedAt: fromNanos(a.FinishedAt),
			ExitCode: a.ExitCode, Reason: a.Reason, EvictReason: a.Evict, Failure: job.Failure(a.Failure), GPUs: a.GPUs,
		})
	}
	return nil
}

// changing are the values of the columns that transitions write, in the order
// of jobColumns from state on.
func changing(j job.Job) ([]any, error) {
	kept := make([]attempt, len(j.Attempts))
	nodeID := ""
	for i, a := range j.Attempts {
		kept[i] = attempt{
			Number: a.Number, NodeID: a.NodeID, State: int(a.State),
			AssignedAt: toNanos(a.AssignedAt), StartedAt: toNanos(a.StartedAt), FinishedAt: toNanos(a.FinishedAt),
			ExitCode: a.ExitCode, Reason: a.Reason, Evict: a.EvictReason, Failure: int(a.Failure), GPUs: a.GPUs,
		}
		nodeID = a.NodeID
	}
	attempts, err := toJSON(kept)
	if err != nil {
		return nil, err
	}
	var result any
	if j.Result != nil {
		if result, err = toJSON(j.Result); err != nil {
			return nil, err
		}
	}
	return []any{
		int64(j.State), j.Reason, nodeID, toNanos(j.StartedAt), toNanos(j.FinishedAt), toNanos(j.NotBefore),
		j.CancelRequested, j.CancelReason, int64(j.ForgivenAttempts), j.Waiting, result, attempts,
	}, nil
}

// toNanos keeps a time; the zero time is 0.
func toNanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// fromNanos is the way back.
func fromNanos(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

func toJSON(v any) (string, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encoding for the database: %w", err)
	}
	return string(text), nil
}

// fromJSON decodes; what and id say in the error what could not be read.
func fromJSON(text []byte, into any, what, id string) error {
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("decoding the %s %s from the database: %w", what, id, err)
	}
	return nil
}
