package dispatch

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/store"
)

// members makes the jobs of an array from what was submitted.
func members(j *job.Job, count int) ([]job.Job, error) {
	own, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("make an array id: %w", err)
	}
	jobs := make([]job.Job, count)
	for i := range jobs {
		id, err := uuid.NewV7() // each is greater than the one before
		if err != nil {
			return nil, fmt.Errorf("make a job id: %w", err)
		}
		m := *j
		m.ID, m.ArrayID, m.ArrayIndex, m.ArrayCount = id.String(), job.ArrayID(own.String()), i, count
		if i > 0 {
			m.IdempotencyKey = "" // the first one's stands for all
		}
		if m.Name == "" {
			m.Name = defaultName(&m)
		}
		jobs[i] = m
	}
	return jobs, nil
}

// SubmitArray queues so many jobs at once, all or none, and answers the first;
// the others share its ArrayID. When the idempotency key is taken, the job that
// holds it is answered. Errors as in Submit.
func (d *Dispatcher) SubmitArray(ctx context.Context, j job.Job, count int) (job.Job, error) {
	if count < 1 || count > job.MaxArray {
		return job.Job{}, fault.BadField("count", "is %d; it must be between 1 and %d", count, job.MaxArray)
	}
	if err := d.checkSubmission(ctx, &j, count); err != nil {
		return job.Job{}, err
	}
	j.CreatedAt = time.Now()
	j.State = job.Queued
	jobs, err := members(&j, count)
	if err != nil {
		return job.Job{}, err
	}
	first, created, err := d.cfg.Store.SubmitJobs(ctx, jobs)
	if err != nil || !created {
		return first, err
	}
	d.stats.submitted.Add(uint64(count))
	for i := range jobs {
		// What the store made of them: the same as of the first.
		jobs[i].Reason, jobs[i].NotBefore, jobs[i].Waiting = first.Reason, first.NotBefore, first.Waiting
	}
	d.box.Post(func() {
		for i := range jobs {
			d.enqueue(&jobs[i])
		}
	})
	return first, nil
}

// ArrayCancelled is what came of cancelling an array.
type ArrayCancelled struct {
	// Cancelled have ended with it, Stopping are asked of their nodes.
	Cancelled, Stopping int
}

// cancelsAtOnce is how many jobs of an array are cancelled at one time: enough
// for the store to commit them together.
const cancelsAtOnce = 64

// CancelArray cancels the jobs of an array that have not ended. It may be
// repeated. Errors are the store's: NotFound.
func (d *Dispatcher) CancelArray(ctx context.Context, arrayID, reason string) (ArrayCancelled, error) {
	if _, err := d.cfg.Store.Outcome(ctx, arrayID); err != nil {
		return ArrayCancelled{}, err
	}
	var cancelled, stopping atomic.Int64
	filter := store.JobFilter{
		ArrayID: arrayID, States: []job.State{job.Queued, job.Assigned, job.Running}, Limit: store.MaxPage,
	}
	for {
		page, err := d.cfg.Store.ListJobs(ctx, filter)
		if err != nil {
			return ArrayCancelled{}, err
		}
		next := make(chan string)
		var workers sync.WaitGroup
		var failed atomic.Pointer[error]
		for range min(cancelsAtOnce, len(page.Jobs)) {
			workers.Go(func() {
				for id := range next {
					j, err := d.Cancel(ctx, id, reason)
					switch {
					case disagrees(err): // it has ended meanwhile
					case err != nil:
						failed.Store(&err)
					case j.State == job.Cancelled:
						cancelled.Add(1)
					default:
						stopping.Add(1)
					}
				}
			})
		}
		for i := range page.Jobs {
			next <- page.Jobs[i].ID
		}
		close(next)
		workers.Wait()
		if err := failed.Load(); err != nil {
			return ArrayCancelled{}, *err
		}
		if filter.After = page.Next; page.Next == "" {
			return ArrayCancelled{Cancelled: int(cancelled.Load()), Stopping: int(stopping.Load())}, nil
		}
	}
}
