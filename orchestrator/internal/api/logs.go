package api

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
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
	// maxGrep bounds what is looked for in a log.
	maxGrep = 256
	// followerRest is how long each reader that follows has all of them rest
	// between two looks at a log that grows: thousands together cost no more
	// than a few.
	followerRest    = 100 * time.Microsecond
	maxFollowerRest = time.Second
	// fewFollowers need not share anything.
	fewFollowers = 10
	// jobStateAge is how old an answer on how a job stands may be to be shared
	// by those who follow its log.
	jobStateAge = 100 * time.Millisecond
	// maxJobStates bounds the jobs whose answers are shared.
	maxJobStates = 1000
)

// logQuery says which part of a job's log is read.
type logQuery struct {
	jobID   string
	follow  bool
	attempt int // 0: all
	tail    int // 0: all
	// since leaves out what is earlier, by the nodes' clocks; zero: nothing.
	since time.Time
	// grep leaves out what does not hold it; empty: nothing.
	grep string
	// position continues an earlier read; it wins over tail and since.
	position string
}

// wanted says whether an entry is part of what is read. Notes always are.
func (q *logQuery) wanted(e *job.LogEntry) bool {
	return e.Note || !e.Time.Before(q.since) && strings.Contains(e.Text, q.grep)
}

// filter gives the entries that are wanted. Entries are shared with others.
func (q *logQuery) filter(entries []job.LogEntry) []job.LogEntry {
	if q.since.IsZero() && q.grep == "" {
		return entries
	}
	var wanted []job.LogEntry
	for i := range entries {
		if q.wanted(&entries[i]) {
			wanted = append(wanted, entries[i])
		}
	}
	return wanted
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
	if err := checkProse("grep", req.GetGrep(), maxGrep); err != nil {
		return none, err
	}
	if req.GetSince() != nil && req.GetSince().CheckValid() != nil {
		return none, fault.BadField("since", "is not a time")
	}
	return logQuery{
		jobID: req.GetId(), follow: req.GetFollow(), attempt: int(req.GetAttempt()), tail: int(req.GetTail()),
		since: timeFromProto(req.GetSince()), grep: req.GetGrep(),
	}, nil
}

const maxInt32 = 1<<31 - 1

// logBatch is some entries and the position after them.
type logBatch struct {
	entries  []job.LogEntry
	position string
	// state is the job's when the log ends with this batch, else 0.
	state job.State
	// ended: the log ends with this batch, and is of no job.
	ended bool
}

// logReader reads and follows logs.
type logReader struct {
	store     JobReader
	logs      store.LogStore
	followers atomic.Int64

	mu     sync.Mutex
	states map[string]*jobState // guarded by mu
}

// jobState is how a job stood a moment ago.
type jobState struct {
	asked time.Time
	once  sync.Once
	job   job.Job
	err   error
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
	position, err := r.begin(ctx, q)
	if err != nil {
		return err
	}
	if q.follow {
		r.followers.Add(1)
		defer r.followers.Add(-1)
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
		ended, state, err := r.endedLately(ctx, q)
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
		if err := r.rest(ctx); err != nil {
			return err
		}
	}
}

// begin answers the position from which a log is read.
func (r *logReader) begin(ctx context.Context, q logQuery) (string, error) {
	switch {
	case q.position != "":
		return q.position, nil
	case q.tail > 0:
		return r.logs.Tail(ctx, q.jobID, q.attempt, q.tail)
	case !q.since.IsZero():
		return r.logs.Since(ctx, q.jobID, q.attempt, q.since)
	default:
		return "", nil
	}
}

// rest gives the others a turn when there are many.
func (r *logReader) rest(ctx context.Context) error {
	n := r.followers.Load()
	if n < fewFollowers {
		return nil
	}
	d := min(time.Duration(n)*followerRest, maxFollowerRest)
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
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
		if entries = q.filter(entries); len(entries) == 0 {
			continue
		}
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
	return q.ended(&j)
}

// endedLately is ended for one who follows: that a job goes on may be an answer
// that is shared with others.
func (r *logReader) endedLately(ctx context.Context, q logQuery) (bool, job.State, error) {
	if r.followers.Load() < fewFollowers {
		return r.ended(ctx, q)
	}
	r.mu.Lock()
	state := r.states[q.jobID]
	if state == nil || time.Since(state.asked) > jobStateAge {
		if r.states == nil || len(r.states) >= maxJobStates {
			r.states = map[string]*jobState{}
		}
		state = &jobState{asked: time.Now()}
		r.states[q.jobID] = state
	}
	r.mu.Unlock()
	// The one who asks may leave before the others have their answer.
	state.once.Do(func() {
		var j job.Job
		j, state.err = r.store.GetJob(context.WithoutCancel(ctx), q.jobID)
		// What is kept for a while must not be large.
		state.job = job.Job{State: j.State, Attempts: j.Attempts}
	})
	if state.err == nil {
		if ended, at, err := q.ended(&state.job); err == nil && !ended {
			return false, at, nil
		}
	}
	return r.ended(ctx, q)
}

// ended says whether nothing more of what is asked for can come.
func (q *logQuery) ended(j *job.Job) (bool, job.State, error) {
	if q.attempt > len(j.Attempts) && q.attempt > 0 && j.State.Ended() {
		return false, 0, fault.New(fault.NotFound, "job %q has ended after %d attempts; there is no attempt %d",
			q.jobID, len(j.Attempts), q.attempt)
	}
	if q.attempt > 0 && q.attempt <= len(j.Attempts) {
		return j.Attempts[q.attempt-1].State.Ended(), j.State, nil
	}
	return j.State.Ended(), j.State, nil
}
