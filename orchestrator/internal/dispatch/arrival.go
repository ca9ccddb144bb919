package dispatch

import (
	"context"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/job"
)

// maxAsking is up to how many queued jobs a submission asks for a node before it
// is stored: where more wait it is likely to wait as well, and should not wait for
// a round of the owner besides.
const maxAsking = 1024

// arrival is a job that is about to be stored. It takes part in one round with
// those that are queued: when it is its turn and a node has room, it is stored as
// submitted and claimed in one step, which spares a wait for the disk. Else it is
// stored as queued, and has its turn when that comes. docs/adr/0017 says why.
type arrival struct {
	job    *job.Job
	entry  *entry // nil: not in the queue
	nodeID string
	gpus   []string
	at     time.Time
	placed chan bool // buffered; gets one answer, unless the owner stops
}

// arrive finds a node for a job that is about to be stored, and takes room there;
// nil: the job has to be queued.
func (d *Dispatcher) arrive(j *job.Job) *arrival {
	if len(j.Spec.After) > 0 || j.Spec.StartAfter.After(j.CreatedAt) || d.stats.queued.Load() > maxAsking {
		return nil
	}
	a := &arrival{job: j, placed: make(chan bool, 1)}
	if !d.box.Post(func() { d.arrivals = append(d.arrivals, a) }) {
		return nil
	}
	placed := false
	// Not until a context ends: whoever is given room has to give it back.
	select {
	case placed = <-a.placed:
	case <-d.box.Done():
		// The owner may have answered just before it stopped.
		select {
		case placed = <-a.placed:
		default:
		}
	}
	if !placed {
		return nil
	}
	return a
}

// admitArrivals has the jobs that are about to be stored take part in the round.
func (d *Dispatcher) admitArrivals(now time.Time) {
	for _, a := range d.arrivals {
		if d.queue.entries[a.job.ID] != nil || d.active[a.job.ID] != nil {
			continue // the store will say that the id is taken
		}
		a.entry = d.queue.add(a.job, now)
		if a.entry.terms == nil {
			a.entry.terms = &terms{entry: a.entry, index: -1}
		}
		a.entry.terms.arrival = a
	}
}

// answerArrivals tells those who submit what came of it.
func (d *Dispatcher) answerArrivals() {
	for _, a := range d.arrivals {
		placed := a.entry != nil && a.entry.claiming
		if a.entry != nil && !placed {
			d.queue.remove(a.entry)
		}
		a.placed <- placed
	}
	clear(d.arrivals)
	d.arrivals = d.arrivals[:0]
}

// submitPlaced stores a job for which a node was found. The owner is told whatever
// comes of it, a panic included.
func (d *Dispatcher) submitPlaced(ctx context.Context, j job.Job, a *arrival) (stored job.Job, err error) {
	created := false
	defer func() {
		d.post(stored, func(j *job.Job) { d.arrived(a.entry, j, a.nodeID, created) })
	}()
	stored, created, err = d.cfg.Store.SubmitClaimed(ctx, j, a.nodeID, a.at, a.gpus...)
	if created = created && err == nil; created {
		d.stats.submitted.Add(1)
	}
	return stored, err
}

// arrived goes on with a job that was stored as a node's, or gives back the room
// that was taken for one that was not.
func (d *Dispatcher) arrived(e *entry, j *job.Job, nodeID string, created bool) {
	e.claiming = false
	if created {
		d.fed(e.bucket) // not before: what is refused must not end what is kept for others
	}
	defer d.queue.ran(e.bucket.lane, -1) // the attempt counts from now on, if there is one
	d.queue.remove(e)
	if !created {
		d.cfg.Cluster.Release(holder(e.id))
		// Another job may have the id, and somebody may have taken this for it.
		if e.recheck || e.cancelled != nil {
			d.resync(e.id)
		}
		d.inquire(e.id)
		return
	}
	queued := *j
	queued.State, queued.Attempts = job.Queued, nil
	d.publish(&queued) // both transitions are told
	d.claimed(e, j, nodeID)
}
