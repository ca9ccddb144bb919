package dispatch

import (
	"cmp"
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/mailbox"
	"github.com/orchion/orchion/orchestrator/internal/scheduler"
)

// Submit queues a job, or gives it to a node at once when one has room and
// nothing waits before it; a missing id, name or time of creation is filled in.
// When the idempotency key is taken, the job that holds it is answered.
// Errors: Invalid (a constraint, the name of a queue), Exhausted (too many
// jobs wait, or in too many queues), and the store's.
func (d *Dispatcher) Submit(ctx context.Context, j job.Job) (job.Job, error) {
	if err := d.checkSubmission(ctx, &j, 1); err != nil {
		return job.Job{}, err
	}
	if j.ID == "" {
		id, err := uuid.NewV7()
		if err != nil {
			return job.Job{}, fmt.Errorf("make a job id: %w", err)
		}
		j.ID = id.String()
	}
	if j.CreatedAt.IsZero() {
		j.CreatedAt = time.Now()
	}
	if j.Name == "" {
		j.Name = defaultName(&j)
	}
	j.State = job.Queued
	if a := d.arrive(&j); a != nil {
		return d.submitPlaced(ctx, j, a)
	}
	stored, created, err := d.cfg.Store.SubmitJob(ctx, j)
	if err != nil {
		return job.Job{}, err
	}
	if created {
		d.stats.submitted.Add(1)
		d.post(stored, d.enqueue)
	}
	return stored, nil
}

// checkSubmission says whether so many jobs like this one may be queued.
func (d *Dispatcher) checkSubmission(ctx context.Context, j *job.Job, count int) error {
	for i, text := range j.Spec.Constraints {
		if _, err := scheduler.ParseConstraint(text); err != nil {
			return fault.BadField(fmt.Sprintf("spec.constraints[%d]", i), "%v", err)
		}
	}
	if queued := d.stats.queued.Load(); queued+int64(count) > int64(d.cfg.MaxQueued) {
		return fault.New(fault.Exhausted,
			"the queue is full: %d jobs wait; submit again when some have run, or cancel some", queued)
	}
	return d.admitQueue(ctx, "spec.queue", j.Spec.QueueName())
}

// defaultName makes a name from the job's kind and id.
func defaultName(j *job.Job) string {
	return j.Spec.Kind() + "-" + j.ID[max(0, len(j.ID)-8):]
}

// Cancel ends a queued job at once. A job that a node holds stays as it is,
// marked as being cancelled, until its node says that it has stopped or loses
// its lease. Errors are the store's: NotFound, or Precondition when the job
// has ended otherwise.
func (d *Dispatcher) Cancel(ctx context.Context, id, reason string) (job.Job, error) {
	j, err := d.cfg.Store.CancelJob(ctx, id, reason, time.Now())
	if err != nil {
		return job.Job{}, err
	}
	d.post(j, d.cancelled)
	return j, nil
}

func (d *Dispatcher) cancelled(j *job.Job) {
	e, a := d.queue.entries[j.ID], d.active[j.ID]
	switch {
	case e != nil && e.claiming:
		e.cancelled = j // the claim's answer tells which of the two was first
		if j.State.Active() {
			return
		}
	case e != nil && j.State == job.Cancelled:
		d.leave(e)
		// Somebody may have wanted it back in the meantime.
		d.resync(j.ID)
		return
	case a != nil && j.CancelRequested && j.Attempts[len(j.Attempts)-1].Number == a.ref.Attempt:
		a.job.CancelRequested, a.job.CancelReason, a.job.Reason = true, j.CancelReason, j.Reason
		d.sendCancel(a)
		d.tell(a)
		return
	}
	if j.State == job.Cancelled {
		d.publish(j)
	}
}

// Retry queues a failed or cancelled job again. Errors are the store's:
// NotFound, or Precondition naming the state.
func (d *Dispatcher) Retry(ctx context.Context, id string) (job.Job, error) {
	j, err := d.cfg.Store.RetryJob(ctx, id, time.Now())
	if err != nil {
		return job.Job{}, err
	}
	d.post(j, d.enqueue)
	return j, nil
}

func (d *Dispatcher) enqueue(j *job.Job) {
	if a := d.active[j.ID]; a != nil {
		a.recheck = true
		return
	}
	if e := d.queue.entries[j.ID]; e != nil {
		e.recheck = true
		return
	}
	if j.State != job.Queued {
		return
	}
	d.enter(j, time.Now())
	d.publish(j)
}

// post hands a job over to the owner. That it has stopped does not matter: it
// finds the job in the store when it starts again.
func (d *Dispatcher) post(j job.Job, f func(*job.Job)) {
	d.box.Post(func() { f(&j) })
}

// Explain says of every active node whether a job fits there now, and in one
// sentence what keeps the job waiting; the sentence is empty when it does not
// wait. Errors are the store's: NotFound.
func (d *Dispatcher) Explain(ctx context.Context, id string) (summary string, fits []scheduler.Fit, err error) {
	j, err := d.cfg.Store.GetJob(ctx, id)
	if err != nil {
		return "", nil, err
	}
	work, err := workOf(&j.Spec)
	if err != nil {
		return fmt.Sprintf("cannot run anywhere: spec.%v", err), nil, nil
	}
	work.Job = &scheduler.Job{ID: j.ID, Labels: j.Labels}
	waits := waiting{asks: work}
	if j.State == job.Queued {
		waits = d.waitsFor(ctx, id, work)
	}
	fits = d.cfg.Cluster.Explain(waits.asks)
	if j.State != job.Queued || waits.why != "" {
		return waits.why, fits, nil
	}
	if j.NotBefore.After(time.Now()) {
		if len(j.Attempts) == 0 {
			return j.Reason, fits, nil
		}
		return fmt.Sprintf("waits until %s before it is tried again: %s",
			j.NotBefore.UTC().Format(time.RFC3339), j.Reason), fits, nil
	}
	summary = scheduler.Summary(fits)
	switch kept := waits.asks.Mine; {
	case summary == "":
		summary = fitsReason
	case waits.making != "":
		summary = waits.making + "; " + summary
	case kept != nil && kept.JobID == id:
		summary = fmt.Sprintf("room on node %s is being kept for this job, which goes there once enough of what runs there has ended: %s",
			kept.NodeID, summary)
	case waits.inVain != "":
		summary += "; " + waits.inVain
	}
	return summary, fits, nil
}

const (
	// fitsReason is why a job waits that a node has room for.
	fitsReason = "a node fits: it is about to be assigned"
	// blockedReason is why a job waits where saying more would cost too much.
	blockedReason = "no node fits now: its explanation says why"
	// freshReason is why a job waits that was queued a moment ago.
	freshReason = "waits for its turn: no node has been looked for yet"
)

// maxSummaries is for how many kinds of waiting jobs one Annotate says why they
// wait; each costs a look at every node.
const maxSummaries = 16

// Annotate puts the newest reasons into jobs that were read from the store,
// where they are not kept: why a job waits, and what its node is doing for it.
func (d *Dispatcher) Annotate(ctx context.Context, jobs []job.Job) {
	notes, err := mailbox.Ask(ctx, d.box, func() []annotation { return d.annotations(jobs) })
	if err != nil {
		return // the jobs are as the store has them, which is right as well
	}
	summaries := make(map[*scheduler.Work]string)
	for i, note := range notes {
		if note.work != nil {
			summary, known := summaries[note.work]
			if !known && len(summaries) < maxSummaries {
				summary = cmp.Or(scheduler.Summary(d.cfg.Cluster.Explain(note.work)), fitsReason)
				summaries[note.work] = summary
			}
			note.reason = cmp.Or(summary, blockedReason)
		}
		if note.reason != "" {
			jobs[i].Reason = note.reason
		}
		if jobs[i].State == job.Queued && jobs[i].Reason == "" {
			jobs[i].Reason = freshReason
		}
	}
}

// annotation is what to say of a job: a reason, or why the work waits.
type annotation struct {
	reason string
	work   *scheduler.Work
}

func (d *Dispatcher) annotations(jobs []job.Job) []annotation {
	notes := make([]annotation, len(jobs))
	for i := range jobs {
		e, a := d.queue.entries[jobs[i].ID], d.active[jobs[i].ID]
		switch {
		case a != nil && jobs[i].State == a.job.State:
			notes[i].reason = a.job.Reason
		case e == nil || jobs[i].State != job.Queued:
		case e.bucket.class.invalid != "":
			notes[i].reason = e.bucket.class.invalid
		case e.waits():
			notes[i].reason = job.Waits(e.terms.after)
		case e.delayed || e.claiming:
		case !e.bucket.lane.takes():
			notes[i].reason = e.bucket.lane.why()
		case e.bucket.class.hope == blocked:
			notes[i].work = e.bucket.class.asks()
		}
	}
	return notes
}

// waiting is what the queue knows of why a job waits.
type waiting struct {
	// asks is the job's work, with the room that is kept for it and for those
	// that it goes before.
	asks *scheduler.Work
	// why says how other jobs, or its queue's settings, keep it waiting; empty:
	// they do not.
	why string
	// making says what is stopped for it, or is to be, and inVain that stopping
	// would not help; empty: nothing.
	making, inVain string
}

func (d *Dispatcher) waitsFor(ctx context.Context, id string, work *scheduler.Work) waiting {
	got, err := mailbox.Ask(ctx, d.box, func() waiting {
		e := d.queue.entries[id]
		switch {
		case e == nil || e.claiming:
			return waiting{asks: work}
		case e.waits():
			return waiting{asks: work, why: job.Waits(e.terms.after)}
		case e.delayed:
			return waiting{asks: work}
		case e.bucket.lane.takes():
			making, inVain := d.whatStops(e)
			return waiting{asks: d.queue.heed(work, e), making: making, inVain: inVain}
		}
		return waiting{asks: work, why: e.bucket.lane.why()}
	})
	if err != nil {
		return waiting{asks: work} // what the nodes say is right as well
	}
	return got
}

// Stats are counts for metrics.
type Stats struct {
	// Queued and Active are how many jobs wait and how many nodes hold, Queues
	// in how many queues, those with settings included.
	Queued, Active, Queues int64
	// Spared is how many of the active ones are kept although their leases ran
	// out.
	Spared int64
	// The others count from the start of the process.
	Submitted, Claimed, Started, Completed uint64
	// Lost are attempts lost for whatever reason, Expired those of them whose
	// lease ran out.
	Lost, Expired uint64
	// Evicted are attempts whose nodes were asked to end them, so that their
	// jobs run elsewhere.
	Evicted uint64
	Renewed uint64 // leases
}

type counters struct {
	queued, active, queues, spared         atomic.Int64
	submitted, claimed, started, completed atomic.Uint64
	lost, expired, evicted, renewed        atomic.Uint64
}

// Stats answers how much the dispatcher has to do and has done.
func (d *Dispatcher) Stats() Stats {
	return Stats{
		Queued: d.stats.queued.Load(), Active: d.stats.active.Load(), Queues: d.stats.queues.Load(),
		Spared:    d.stats.spared.Load(),
		Submitted: d.stats.submitted.Load(), Claimed: d.stats.claimed.Load(),
		Started: d.stats.started.Load(), Completed: d.stats.completed.Load(),
		Lost: d.stats.lost.Load(), Expired: d.stats.expired.Load(), Evicted: d.stats.evicted.Load(), Renewed: d.stats.renewed.Load(),
	}
}

func (d *Dispatcher) publishStats() {
	d.stats.queued.Store(int64(len(d.queue.entries)))
	d.stats.active.Store(int64(len(d.active)))
	d.stats.queues.Store(int64(len(d.queue.lanes)))
	d.stats.spared.Store(int64(d.spared))
}
