package memory

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/store"
)

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
	err = s.do(ctx, func() error {
		for i := range jobs {
			if err := begin(&jobs[i]); err != nil {
				return err
			}
		}
		if id, ok := s.keys[jobs[0].IdempotencyKey]; ok && jobs[0].IdempotencyKey != "" {
			first = s.jobs[id]
			return nil
		}
		for _, j := range jobs {
			if _, ok := s.jobs[j.ID]; ok {
				return store.JobExists(j.ID)
			}
			for i, d := range j.Spec.After {
				if !s.exists(d.ID) {
					return job.NoDependency(i, d.ID)
				}
			}
		}
		for _, j := range jobs {
			s.jobs[j.ID] = j
			if j.IdempotencyKey != "" {
				s.keys[j.IdempotencyKey] = j.ID
			}
			if j.ArrayID != "" {
				s.arrays[j.ArrayID] = append(s.arrays[j.ArrayID], j.ID)
			}
		}
		first, created = jobs[0], true
		return nil
	})
	return first, created, err
}

// exists says whether there is a job or an array.
func (s *Store) exists(id string) bool {
	if job.IsArrayID(id) {
		return len(s.arrays[id]) > 0
	}
	_, ok := s.jobs[id]
	return ok
}

// Outcome answers what became of a job, or of the jobs of an array.
func (s *Store) Outcome(ctx context.Context, id string) (job.Outcome, error) {
	var out job.Outcome
	err := s.do(ctx, func() error {
		members := []string{id}
		if job.IsArrayID(id) {
			members = s.arrays[id]
		}
		if !s.exists(id) {
			return store.NoSuch(id)
		}
		// The last that has not ended, as it is likely to be the last to end.
		for _, member := range members {
			switch j := s.jobs[member]; {
			case !j.State.Ended():
				out.Pending = member
			case j.State != job.Succeeded && out.Unsuccessful == "":
				out.Unsuccessful, out.State = member, j.State
			}
		}
		return nil
	})
	return out, err
}

// GetJob answers one job.
func (s *Store) GetJob(ctx context.Context, id string) (job.Job, error) {
	return s.change(ctx, id, func(*job.Job) error { return nil })
}

// change runs a transition on a copy of a job and keeps it when it went well.
func (s *Store) change(ctx context.Context, id string, transition func(*job.Job) error) (job.Job, error) {
	var after job.Job
	err := s.do(ctx, func() error {
		j, ok := s.jobs[id]
		if !ok {
			return store.NoJob(id)
		}
		if err := transition(&j); err != nil {
			return err
		}
		s.jobs[id] = j
		after = j
		return nil
	})
	return after, err
}

// ListJobs answers jobs newest first.
func (s *Store) ListJobs(ctx context.Context, f store.JobFilter) (store.JobPage, error) {
	if err := f.Validate(); err != nil {
		return store.JobPage{}, err
	}
	var page store.JobPage
	err := s.do(ctx, func() error {
		list := sortedValues(s.jobs, newestFirst)
		if f.After != "" {
			after, err := store.ParseCursor(f.After)
			if err != nil {
				return err
			}
			list = slices.DeleteFunc(list, after.Newer)
		}
		list = slices.DeleteFunc(list, func(j job.Job) bool { return !f.Matches(j) })
		if len(list) > f.Limit {
			list = list[:f.Limit]
			page.Next = store.CursorOf(list[f.Limit-1]).Token()
		}
		page.Jobs = list
		return nil
	})
	return page, err
}

// newestFirst is the order of the list of jobs.
func newestFirst(a, b job.Job) int {
	return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(b.ID, a.ID))
}

// PendingJobs calls f with every job that has not ended, oldest first.
func (s *Store) PendingJobs(ctx context.Context, f func(job.Job) error) error {
	var pending []job.Job
	err := s.do(ctx, func() error {
		pending = sortedValues(s.jobs, newestFirst)
		return nil
	})
	if err != nil {
		return err
	}
	for _, j := range slices.Backward(pending) {
		if j.State.Ended() {
			continue
		}
		if err := f(j); err != nil {
			return err
		}
	}
	return nil
}

// CountJobs answers how many jobs there are in each state.
func (s *Store) CountJobs(ctx context.Context) (map[job.State]int64, error) {
	counts := map[job.State]int64{}
	err := s.do(ctx, func() error {
		for _, j := range s.jobs {
			counts[j.State]++
		}
		return nil
	})
	return counts, err
}

// ClaimJob gives a queued job to a node as its next attempt.
func (s *Store) ClaimJob(ctx context.Context, id, nodeID string, now time.Time, gpus ...string) (job.Job, error) {
	return s.change(ctx, id, func(j *job.Job) error { return j.Claim(nodeID, now, gpus...) })
}

// StartAttempt marks an assigned attempt as running.
func (s *Store) StartAttempt(ctx context.Context, ref job.Ref, at time.Time) (job.Job, error) {
	return s.change(ctx, ref.JobID, func(j *job.Job) error {
		_, err := j.Start(ref.Attempt, at)
		return err
	})
}

// CompleteAttempt ends an attempt.
func (s *Store) CompleteAttempt(ctx context.Context, ref job.Ref, end job.End) (job.Job, error) {
	return s.change(ctx, ref.JobID, func(j *job.Job) error { return j.Complete(ref.Attempt, end) })
}

// LoseAttempt marks an attempt as lost and queues the job again.
func (s *Store) LoseAttempt(ctx context.Context, ref job.Ref, reason string, now time.Time) (job.Job, error) {
	return s.change(ctx, ref.JobID, func(j *job.Job) error { return j.Lose(ref.Attempt, reason, now) })
}

// CancelJob cancels a queued job and marks one that a node holds.
func (s *Store) CancelJob(ctx context.Context, id, reason string, now time.Time) (job.Job, error) {
	return s.change(ctx, id, func(j *job.Job) error {
		_, err := j.Cancel(reason, now)
		return err
	})
}

// EvictAttempt marks an attempt that its node is to end.
func (s *Store) EvictAttempt(ctx context.Context, ref job.Ref, reason string) (job.Job, error) {
	return s.change(ctx, ref.JobID, func(j *job.Job) error {
		_, err := j.Evict(ref.Attempt, reason)
		return err
	})
}

// ExpireJob fails a queued job whose queue timeout has run out.
func (s *Store) ExpireJob(ctx context.Context, id, met string, now time.Time) (job.Job, error) {
	return s.change(ctx, id, func(j *job.Job) error { return j.Expire(met, now) })
}

// ReleaseJob ends a job's waiting for others.
func (s *Store) ReleaseJob(ctx context.Context, id, unmet string, now time.Time) (job.Job, error) {
	return s.change(ctx, id, func(j *job.Job) error {
		_, err := j.Release(unmet, now)
		return err
	})
}

// RetryJob queues a failed or cancelled job again.
func (s *Store) RetryJob(ctx context.Context, id string, now time.Time) (job.Job, error) {
	return s.change(ctx, id, func(j *job.Job) error {
		_, err := j.Retry(now)
		return err
	})
}
