package dispatch

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/scheduler"
)

const (
	// storeRetry is how long to wait after the store failed.
	storeRetry = time.Second
	// maxDirty is up to how many changed nodes are looked at one by one.
	maxDirty = 1024
)

// place gives ready jobs to nodes, in the order of the queue, as long as there
// is room and the store is not busy with enough claims already.
func (d *Dispatcher) place(now time.Time) {
	q := d.queue
	if len(q.entries) == 0 {
		clear(d.dirty)
		return
	}
	d.serveFreed(now)
	d.look()
	for b := q.next(); b != nil; b = q.next() {
		e := b.ready[0]
		if d.claims >= d.cfg.MaxClaims && e.arrival() == nil {
			return // and go on with the same dirty nodes when a claim is done
		}
		nodeID, ok := d.find(b.class, e, now)
		if !ok {
			q.set(b.class, blocked)
			q.starve(b, now)
			continue
		}
		if e.arrival() == nil { // see arrived
			d.fed(b)
		}
		q.take(e)
		d.claim(e, nodeID, now)
	}
	clear(d.dirty)
}

// look finds out which classes have room on the nodes that changed.
func (d *Dispatcher) look() {
	switch {
	case len(d.dirty) > maxDirty:
		d.queue.openAll()
	case len(d.dirty) > 0:
		d.changed = slices.AppendSeq(d.changed[:0], maps.Keys(d.dirty))
		d.room, d.roomTaken = d.cfg.Cluster.Room(d.changed), false
		d.queue.probe(func(w *scheduler.Work) bool { return d.room.MayFit(w) && d.cfg.Cluster.FitsOn(w, d.changed) })
	}
}

// find takes room for a job on a node: one that the job should avoid only when
// no other has any.
func (d *Dispatcher) find(c *class, e *entry, now time.Time) (nodeID string, ok bool) {
	work := *c.work
	work.Prefers = scheduler.Preferences{} // the class has those of its first job
	if e.wants != nil {
		work.Prefers = e.wants.prefers
	}
	if e.unlabelled {
		work.Job = &scheduler.Job{ID: e.id} // which nobody avoids
	}
	if avoid := d.queue.avoid[e.id]; avoid != "" {
		elsewhere := work
		elsewhere.Avoid = map[string]string{avoid: "the job's last attempt failed there"}
		if nodeID, ok := d.findFor(c, &elsewhere, e, now); ok {
			return nodeID, true
		}
	}
	return d.findFor(c, &work, e, now)
}

// findFor takes room for work of a class, which may ask for more than the
// class does.
func (d *Dispatcher) findFor(c *class, work *scheduler.Work, e *entry, now time.Time) (nodeID string, ok bool) {
	work = d.queue.heed(work, e)
	if c.hope == probing {
		if !d.room.MayFit(work) {
			return "", false
		}
		nodeID, ok = d.cfg.Cluster.PlaceOn(work, holder(e.id), d.changed)
		if !ok && d.roomTaken {
			// Others of this round took the room, and most of those that are yet
			// to come need as much: they are not tried one by one.
			d.room, d.roomTaken = d.cfg.Cluster.Room(d.changed), false
			d.queue.unprobe(d.room.MayFit, now)
		}
		d.roomTaken = d.roomTaken || ok
		return nodeID, ok
	}
	return d.cfg.Cluster.Place(work, holder(e.id))
}

// holder names a job in the cluster.
func holder(jobID string) string { return holderPrefix + jobID }

// jobOf is the job that a holder stands for.
func jobOf(holder string) string { return strings.TrimPrefix(holder, holderPrefix) }

const holderPrefix = "job/"

// claim asks the store to give the job to the node, or has the one who submits it
// ask. Its room there is taken already.
func (d *Dispatcher) claim(e *entry, nodeID string, now time.Time) {
	lane := e.bucket.lane
	d.queue.ran(lane, 1)
	e.claiming = true
	var gpus []string
	if r := &e.bucket.class.key.resources; r.GPUs > 0 || r.GPUMemoryBytes > 0 {
		gpus = d.cfg.Cluster.GPUs(holder(e.id))
	}
	if a := e.arrival(); a != nil {
		a.nodeID, a.gpus, a.at = nodeID, gpus, now
		return
	}
	d.claims++
	d.call(
		func(ctx context.Context) (job.Job, error) {
			return d.cfg.Store.ClaimJob(ctx, e.id, nodeID, now, gpus...)
		},
		func(j job.Job, err error) {
			d.claims--
			e.claiming = false
			defer d.queue.ran(lane, -1) // the attempt counts from now on, if there is one
			if err != nil {
				d.claimFailed(e, err)
				return
			}
			d.queue.remove(e)
			d.claimed(e, &j, nodeID)
		})
}

// claimed goes on with a job that the store has given to a node.
func (d *Dispatcher) claimed(e *entry, j *job.Job, nodeID string) {
	// The store took the cancellation after the claim.
	if e.cancelled != nil && e.cancelled.State.Active() {
		j = e.cancelled
	}
	d.stats.claimed.Add(1)
	d.assign(j, nodeID)
}

func (d *Dispatcher) claimFailed(e *entry, err error) {
	d.cfg.Cluster.Release(holder(e.id))
	if disagrees(err) {
		d.queue.remove(e)
		d.resync(e.id)
		return
	}
	d.cfg.Logger.Error("job could not be assigned", "job", e.id, "error", err)
	now := time.Now()
	d.putBack(e, now)
}

// putBack has an entry wait a little, since the store failed.
func (d *Dispatcher) putBack(e *entry, now time.Time) {
	e.notBefore = now.Add(storeRetry).UnixNano()
	d.queue.wait(e, now)
	if e.terms != nil && e.terms.deadline > 0 {
		e.terms.deadline = max(e.terms.deadline, e.notBefore)
		d.queue.watch(e)
	}
}

// assign sends a claimed job to its node.
func (d *Dispatcher) assign(j *job.Job, nodeID string) {
	a := d.hold(j, time.Now())
	if a == nil {
		return
	}
	d.publish(j)
	if _, there := d.cfg.Cluster.Node(nodeID); !there && !d.cfg.Hub.Connected(nodeID) {
		d.lose(a, "the node went away before it was told")
		return
	}
	if a.told = d.cfg.Hub.session(nodeID); a.told != nil {
		a.told.put(d.assignment(a))
	}
	if j.CancelRequested {
		d.sendCancel(a)
	}
	d.evictIfDrained(a, time.Now())
}
