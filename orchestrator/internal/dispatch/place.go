package dispatch

import (
	"container/heap"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/job"
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
	if len(d.queue.entries) == 0 {
		clear(d.dirty)
		return
	}
	if len(d.dirty) > maxDirty {
		for _, c := range d.queue.classes {
			c.blocked = false
		}
		clear(d.dirty)
	}
	d.classes, d.changed = d.classes[:0], d.changed[:0]
	for _, c := range d.queue.classes {
		if len(c.ready) > 0 && c.invalid == "" && (!c.blocked || len(d.dirty) > 0) {
			d.classes = append(d.classes, c)
			if c.blocked && len(d.changed) == 0 {
				d.changed = slices.AppendSeq(d.changed, maps.Keys(d.dirty))
			}
		}
	}
	if len(d.classes) == 0 {
		clear(d.dirty)
		return
	}
	heap.Init(&d.classes)
	for len(d.classes) > 0 {
		if d.claims >= d.cfg.MaxClaims {
			return // and go on with the same dirty nodes when a claim is done
		}
		c := d.classes[0]
		e := c.ready[0]
		nodeID, ok := d.find(c, e)
		if !ok {
			c.blocked = true
			heap.Pop(&d.classes)
			continue
		}
		heap.Pop(&c.ready)
		if len(c.ready) == 0 {
			heap.Pop(&d.classes)
		} else {
			heap.Fix(&d.classes, 0)
		}
		d.claim(e, nodeID, now)
	}
	clear(d.dirty)
}

// find takes room for a job on a node.
func (d *Dispatcher) find(c *class, e *entry) (nodeID string, ok bool) {
	if c.blocked {
		return d.cfg.Cluster.PlaceOn(c.work, holder(e.id), d.changed)
	}
	return d.cfg.Cluster.Place(c.work, holder(e.id))
}

// holder names a job in the cluster.
func holder(jobID string) string { return "job/" + jobID }

// claim asks the store to give the job to the node. Its room there is taken
// already.
func (d *Dispatcher) claim(e *entry, nodeID string, now time.Time) {
	e.claiming = true
	d.claims++
	d.call(
		func(ctx context.Context) (job.Job, error) { return d.cfg.Store.ClaimJob(ctx, e.id, nodeID, now) },
		func(j job.Job, err error) {
			d.claims--
			e.claiming = false
			if err != nil {
				d.claimFailed(e, err)
				return
			}
			d.queue.remove(e)
			// The store took the cancellation after the claim.
			if e.cancelled != nil && e.cancelled.State.Active() {
				j = *e.cancelled
			}
			d.stats.claimed.Add(1)
			d.assign(&j, nodeID)
		})
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
	e.notBefore = now.Add(storeRetry).UnixNano()
	d.queue.wait(e, now)
}

// assign sends a claimed job to its node.
func (d *Dispatcher) assign(j *job.Job, nodeID string) {
	a := d.hold(j, time.Now())
	if a == nil {
		return
	}
	d.cfg.Events(j)
	if _, there := d.cfg.Cluster.Node(nodeID); !there && !d.cfg.Hub.Connected(nodeID) {
		d.lose(a, "the node went away before it was told")
		return
	}
	d.cfg.Hub.Send(nodeID, d.assignment(a))
	if j.CancelRequested {
		d.sendCancel(a)
	}
	d.evictIfDrained(a, time.Now())
}
