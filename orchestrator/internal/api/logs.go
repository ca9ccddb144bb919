package api

import (
	"context"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/store"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

const (
	// logBatchSize is how many entries are read at once.
	logBatchSize = 1000
	// logPoll is how often a reader that follows looks whether the job has
	// ended without a word in its log, such as one cancelled in the queue.
	logPoll = time.Second
)

// logQuery says which part of a job's log is read.
type logQuery struct {
	jobID   string
	follow  bool
	attempt int // 0: all
	tail    int // 0: all
	// position continues an earlier read; it wins over tail.
	position string
}

func logQueryFromProto(req *orchionv1.ReadJobLogsRequest) (logQuery, error) {
	var none logQuery
	if err := checkJobID("id", req.GetId()); err != nil {
		return none, err
	}
	if err := checkRange("attempt", req.GetAttempt(), 0, maxInt32); err != nil {
		return none, err
	}
	if err := checkRange("tail", req.GetTail(), 0, store.MaxLogRead); err != nil {
		return none, err
	}
	return logQuery{
		jobID: req.GetId(), follow: req.GetFollow(), attempt: int(req.GetAttempt()), tail: int(req.GetTail()),
	}, nil
}

const maxInt32 = 1<<31 - 1

// logBatch is some entries and the position after them.
type logBatch struct {
	entries  []job.LogEntry
	position string
	// state is the job's when the log ends with this batch, else 0.
	state job.State
}

// logReader reads and follows logs.
type logReader struct {
	store JobReader
	logs  store.LogStore
}

// read calls emit with what the log holds and, when the query follows, with
// what comes until the job, or the one attempt, has ended. The last batch has
// its state set and may be empty.
// Errors: NotFound, what emit answers, and ctx's.
func (r *logReader) read(ctx context.Context, q logQuery, emit func(logBatch) error) error {
	// Checked before anything is sent, so that it can still be a status.
	if _, _, err := r.ended(ctx, q); err != nil {
		return err
	}
	position := q.position
	if position == "" && q.tail > 0 {
		var err error
		if position, err = r.logs.Tail(ctx, q.jobID, q.attempt, q.tail); err != nil {
			return err
		}
	}
	// An empty batch says that it has begun: a silent job may have nothing to
	// say for long.
	if q.follow {
		if err := emit(logBatch{position: position}); err != nil {
			return err
		}
	}
	poll := time.NewTicker(logPoll)
	defer poll.Stop()
	for {
		changed := r.logs.Changed(q.jobID)
		// Whether the job has ended is asked before its log is read to its
		// end: what is read then is all there will be.
		ended, state, err := r.ended(ctx, q)
		if err != nil {
			return err
		}
		if position, err = r.drain(ctx, q, position, emit); err != nil {
			return err
		}
		if ended || !q.follow {
			return emit(logBatch{position: position, state: state})
		}
		select {
		case <-changed:
		case <-poll.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// drain emits all that the log holds now.
func (r *logReader) drain(ctx context.Context, q logQuery, position string, emit func(logBatch) error) (string, error) {
	for {
		entries, next, err := r.logs.Read(ctx, q.jobID, q.attempt, position, logBatchSize)
		if err != nil {
			return position, err
		}
		if len(entries) == 0 {
			return position, nil
		}
		position = next
		if err := emit(logBatch{entries: entries, position: position}); err != nil {
			return position, err
		}
	}
}

// ended says whether no more can come.
func (r *logReader) ended(ctx context.Context, q logQuery) (bool, job.State, error) {
	j, err := r.store.GetJob(ctx, q.jobID)
	if err != nil {
		return false, 0, err
	}
	if q.attempt > len(j.Attempts) && q.attempt > 0 && j.State.Ended() {
		return false, 0, fault.New(fault.NotFound, "job %q has ended after %d attempts; there is no attempt %d",
			q.jobID, len(j.Attempts), q.attempt)
	}
	if q.attempt > 0 && q.attempt <= len(j.Attempts) {
		return j.Attempts[q.attempt-1].State.Ended(), j.State, nil
	}
	return j.State.Ended(), j.State, nil
}
