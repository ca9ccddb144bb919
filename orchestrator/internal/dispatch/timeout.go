package dispatch

import (
	"context"
	"sync"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/scheduler"
)

// terms is what only some jobs have, so that the others need not carry it.
type terms struct {
	entry    *entry
	deadline int64 // Unix nanoseconds: when the queue timeout runs out; 0: never
	index    int   // in queue.deadlines; -1: not there
	// after are the jobs and arrays that it waits for and that have not ended.
	after []job.Dependency
	// arrival: it is not stored yet.
	arrival *arrival
}

// arrival is there of a job that is not stored yet.
func (e *entry) arrival() *arrival {
	if e.terms == nil {
		return nil
	}
	return e.terms.arrival
}

// waits says whether a job waits for others.
func (e *entry) waits() bool { return e.terms != nil && len(e.terms.after) > 0 }

// watch has a job's queue timeout watched, if it has one.
func (q *queue) watch(e *entry) {
	if e.terms != nil && e.terms.deadline > 0 && e.terms.index < 0 {
		q.deadlines.push(e.terms)
	}
}

func (q *queue) unwatch(e *entry) {
	if e.terms != nil && e.terms.index >= 0 {
		q.deadlines.remove(e.terms.index)
	}
}

// overdue takes out and answers a job whose queue timeout has run out; when
// there is none, when there will be one, zero: never.
func (q *queue) overdue(now time.Time) (e *entry, next time.Time) {
	for len(q.deadlines) > 0 {
		t := q.deadlines[0]
		if t.deadline > now.UnixNano() {
			return nil, time.Unix(0, t.deadline)
		}
		q.deadlines.remove(0)
		if !t.entry.claiming { // else the claim decides
			q.take(t.entry)
			return t.entry, time.Time{}
		}
	}
	return nil, time.Time{}
}

// giveUp fails the jobs whose queue timeouts have run out, and answers when the
// next will; zero: none, or when the store has answered.
func (d *Dispatcher) giveUp(now time.Time) (next time.Time) {
	for d.givenUp < d.cfg.MaxClaims {
		e, next := d.queue.overdue(now)
		if e == nil {
			return next
		}
		why := d.whyWaiting(e, now)
		e.claiming = true
		d.givenUp++
		d.call(
			func(ctx context.Context) (job.Job, error) { return d.cfg.Store.ExpireJob(ctx, e.id, why(), now) },
			func(j job.Job, err error) {
				d.givenUp--
				e.claiming = false
				switch {
				case err == nil:
					d.queue.remove(e)
					d.publish(&j)
					if e.recheck {
						d.resync(e.id)
					}
				case disagrees(err):
					d.queue.remove(e)
					d.resync(e.id)
				default:
					d.cfg.Logger.Error("job could not be given up", "job", e.id, "error", err)
					d.putBack(e, time.Now())
				}
			})
	}
	return time.Time{}
}

// summaryAge is for how long what keeps a class waiting is taken for granted:
// finding it out costs a look at every node.
const summaryAge = time.Second

// summary is what keeps a class waiting, found out by whom it is asked first.
type summary struct {
	at   time.Time
	once sync.Once
	text string
}

// whyWaiting answers a function that says what keeps a job waiting; it is for
// another goroutine than the owner's.
func (d *Dispatcher) whyWaiting(e *entry, now time.Time) func() string {
	c := e.bucket.class
	switch {
	case c.invalid != "":
		return func() string { return c.invalid }
	case !e.bucket.lane.takes():
		why := e.bucket.lane.why()
		return func() string { return why }
	}
	if c.summary == nil || now.Sub(c.summary.at) > summaryAge {
		c.summary = &summary{at: now}
	}
	s, work := c.summary, c.asks()
	return func() string {
		s.once.Do(func() {
			if s.text = scheduler.Summary(d.cfg.Cluster.Explain(work)); s.text == "" {
				s.text = "others went first"
			}
		})
		return s.text
	}
}

// byDeadline orders the terms of jobs with a queue timeout.
type byDeadline struct{}

func (byDeadline) before(a, b *terms) bool   { return a.deadline < b.deadline }
func (byDeadline) moved(t *terms, place int) { t.index = place }
