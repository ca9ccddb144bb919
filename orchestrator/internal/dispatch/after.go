package dispatch

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
)

// dependents are the jobs that wait for others. That a job waits is in the
// store (job.Job.Waiting), and ends there in one transition (job.Job.Release);
// what is here only finds out when. So nothing is lost when the process ends at
// any point: what waits is read again, and what became of what it waits for is
// asked again.
type dependents struct {
	// of are the jobs that wait for a job or an array, and how it is to end.
	of map[string]map[*entry]job.Condition
	// watched are jobs whose end may be the end of an array that is waited for.
	watched map[string]string
	// asked are the jobs and arrays that the store is being asked about; true:
	// ask again, since somebody came to wait for it meanwhile.
	asked map[string]bool
}

func newDependents() dependents {
	return dependents{
		of:      make(map[string]map[*entry]job.Condition),
		watched: make(map[string]string),
		asked:   make(map[string]bool),
	}
}

// enter queues a job, as the store has it.
func (d *Dispatcher) enter(j *job.Job, now time.Time) {
	if d.queue.entries[j.ID] != nil {
		return
	}
	e := d.queue.add(j, now)
	if !j.Waiting {
		return
	}
	for _, dep := range e.terms.after {
		waiting := d.after.of[dep.ID]
		if waiting == nil {
			waiting = make(map[*entry]job.Condition)
			d.after.of[dep.ID] = waiting
		}
		waiting[e] = dep.On
	}
	// Asked after all are noted: an answer may end the waiting.
	for _, dep := range j.Spec.After {
		if !d.holdsJob(dep.ID) {
			d.inquire(dep.ID)
		}
	}
}

// holdsJob says whether a job is known here not to have ended: then its end
// will be heard.
func (d *Dispatcher) holdsJob(id string) bool {
	return d.queue.entries[id] != nil || d.active[id] != nil
}

// leave takes a job out of the queue that may wait for others.
func (d *Dispatcher) leave(e *entry) {
	d.unawait(e)
	d.queue.remove(e)
}

// unawait has a job wait for no other any more.
func (d *Dispatcher) unawait(e *entry) {
	if e.terms == nil {
		return
	}
	for _, dep := range e.terms.after {
		d.after.forget(dep.ID, e)
	}
	e.terms.after = nil
}

func (a *dependents) forget(id string, e *entry) {
	waiting := a.of[id]
	delete(waiting, e)
	if len(waiting) == 0 {
		delete(a.of, id)
	}
}

// publish tells everyone of a job, and those that wait for it of its end.
func (d *Dispatcher) publish(j *job.Job) {
	d.cfg.Events(j)
	if !j.State.Ended() {
		return
	}
	d.settle(j.ID, job.Outcome{Unsuccessful: unsuccessful(j), State: j.State})
	if j.ArrayID == "" {
		return
	}
	if j.State != job.Succeeded {
		d.disappoint(j.ArrayID, j.ID, j.State)
	}
	if d.after.watched[j.ID] != "" {
		delete(d.after.watched, j.ID)
		d.inquire(j.ArrayID)
	}
}

func unsuccessful(j *job.Job) string {
	if j.State == job.Succeeded {
		return ""
	}
	return j.ID
}

// settle ends the waiting for a job or an array that has ended.
func (d *Dispatcher) settle(id string, out job.Outcome) {
	if out.Unsuccessful != "" {
		d.disappoint(id, out.Unsuccessful, out.State)
	}
	for e := range d.after.of[id] {
		d.after.forget(id, e)
		e.terms.after = slices.DeleteFunc(e.terms.after, func(dep job.Dependency) bool { return dep.ID == id })
		if len(e.terms.after) == 0 {
			d.release(e, "")
		}
	}
}

// disappoint cancels those that wait for the success of a job, or of the array
// that it is of, after it has ended otherwise.
func (d *Dispatcher) disappoint(id, member string, state job.State) {
	for e, on := range d.after.of[id] {
		if on.Met(state) {
			continue
		}
		d.unawait(e)
		d.release(e, unmet(id, member, state))
	}
}

// unmet says what was not as asked.
func unmet(id, member string, state job.State) string {
	switch {
	case state == 0:
		return fmt.Sprintf("%s, which it was to wait for, is not known any more", id)
	case id != member:
		return fmt.Sprintf("job %s of %s, which was to succeed first, has %s", member, id, hasEnded(state))
	}
	return fmt.Sprintf("job %s, which was to succeed first, has %s", id, hasEnded(state))
}

// hasEnded is how a job that has not succeeded ended, after "has".
func hasEnded(state job.State) string {
	if state == job.Cancelled {
		return "been cancelled"
	}
	return state.String()
}

// inquire asks the store what became of a job or an array that is waited for.
func (d *Dispatcher) inquire(id string) {
	if len(d.after.of[id]) == 0 {
		return
	}
	if _, asked := d.after.asked[id]; asked {
		d.after.asked[id] = true
		return
	}
	d.after.asked[id] = false
	d.errand(func(done func()) {
		ask(d, func(ctx context.Context) (job.Outcome, error) { return d.cfg.Store.Outcome(ctx, id) },
			func(out job.Outcome, err error) {
				done()
				again := d.after.asked[id]
				delete(d.after.asked, id)
				d.learn(id, out, err, again)
			})
	})
}

// learn takes over what the store says became of a job or an array; again: it
// may have been said too early for some who wait.
func (d *Dispatcher) learn(id string, out job.Outcome, err error, again bool) {
	switch {
	case err != nil && fault.CodeOf(err) == fault.NotFound:
		// The store keeps what is waited for, so this is somebody else's doing.
		for e := range d.after.of[id] {
			d.unawait(e)
			d.release(e, unmet(id, id, 0))
		}
	case err != nil:
		d.cfg.Logger.Error("what a job waits for could not be read", "id", id, "error", err)
		d.later(storeRetry, func() { d.inquire(id) })
	case out.Pending == "":
		d.settle(id, out)
	default:
		if out.Unsuccessful != "" {
			d.disappoint(id, out.Unsuccessful, out.State)
		}
		if job.IsArrayID(id) {
			d.after.watched[out.Pending] = id
		}
		switch {
		case again:
			d.inquire(id)
		case !d.holdsJob(out.Pending):
			// It is on its way to here, or has been told of already.
			d.later(storeRetry, func() { d.inquire(id) })
		}
	}
}

// release has the store end a job's waiting; unmet as in job.Job.Release.
func (d *Dispatcher) release(e *entry, unmet string) {
	e.claiming = true
	d.errand(func(done func()) {
		d.call(
			func(ctx context.Context) (job.Job, error) {
				return d.cfg.Store.ReleaseJob(ctx, e.id, unmet, time.Now())
			},
			func(j job.Job, err error) {
				done()
				switch {
				case err == nil && e.cancelled == nil && !e.recheck:
					d.queue.remove(e)
					if j.State == job.Queued {
						d.enter(&j, time.Now())
					}
					d.publish(&j)
				case err == nil, disagrees(err):
					d.queue.remove(e)
					d.resync(e.id)
				default:
					d.cfg.Logger.Error("job could not be released from waiting", "job", e.id, "error", err)
					d.later(storeRetry, func() { d.release(e, unmet) })
				}
			})
	})
}

// errand runs a store operation that may wait for others of its kind: one end
// may concern very many jobs. done is to be called, by the owner, when the
// operation is over.
func (d *Dispatcher) errand(begin func(done func())) {
	if d.errands >= d.cfg.MaxClaims {
		d.errandsWaiting = append(d.errandsWaiting, begin)
		return
	}
	d.errands++
	begin(d.errandDone)
}

func (d *Dispatcher) errandDone() {
	d.errands--
	if len(d.errandsWaiting) == 0 {
		return
	}
	next := d.errandsWaiting[0]
	d.errandsWaiting[0] = nil
	d.errandsWaiting = d.errandsWaiting[1:]
	d.errand(next)
}
