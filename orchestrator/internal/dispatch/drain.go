package dispatch

import (
	"context"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/node"
)

// drains are the nodes that are drained, also while they are offline: what
// they hold may still come back with them.
type drains struct {
	nodes map[string]*draining
	// due is when the first of those that wait evicts, or before; zero: none.
	due time.Time
}

// draining is a node that is drained.
type draining struct {
	wish *node.Drain
	// evicting: its time has come.
	evicting bool
}

// drainChanged takes over whether and how a node is drained. It does not block.
func (d *Dispatcher) drainChanged(prev, next *node.Node) {
	var id string
	var wish *node.Drain
	if prev != nil && prev.Drain != nil {
		id = prev.ID
	}
	if next != nil && next.Drain != nil {
		id, wish = next.ID, next.Drain
	}
	if id == "" {
		return
	}
	d.box.Post(func() {
		if wish == nil {
			d.undrain(id)
			return
		}
		d.drains.nodes[id] = &draining{wish: wish}
		if at, some := wish.EvictsAt(); some {
			d.drains.due = earlier(d.drains.due, at)
		}
	})
}

// undrain forgets a node that is drained no more. What its node was asked to
// end already is not taken back.
func (d *Dispatcher) undrain(nodeID string) {
	delete(d.drains.nodes, nodeID)
	for _, a := range d.byNode[nodeID] {
		a.evict = ""
	}
}

// drainDue evicts what is left on the nodes whose time has come.
func (d *Dispatcher) drainDue(now time.Time) {
	if d.drains.due.IsZero() || now.Before(d.drains.due) {
		return
	}
	d.drains.due = time.Time{}
	for id, n := range d.drains.nodes {
		at, some := n.wish.EvictsAt()
		switch {
		case !some || n.evicting:
		case now.Before(at):
			d.drains.due = earlier(d.drains.due, at)
		default:
			n.evicting = true
			for _, a := range d.attemptsOf(id) {
				d.evictIfDrained(a, now)
			}
		}
	}
}

// evictIfDrained evicts an attempt when its node is drained and does not wait
// for it.
func (d *Dispatcher) evictIfDrained(a *attempt, now time.Time) {
	n := d.drains.nodes[a.nodeID]
	if n == nil {
		return
	}
	at, some := n.wish.EvictsAt()
	if !some || now.Before(at) {
		return
	}
	reason := "node " + a.nodeID + " is being drained"
	if n.wish.Mode == node.DrainFinish {
		reason = "the deadline to drain node " + a.nodeID + " has passed"
	}
	if n.wish.Reason != "" {
		reason += ": " + n.wish.Reason
	}
	d.evict(a, reason)
}

// evict has an attempt ended by its node and its job queued again.
func (d *Dispatcher) evict(a *attempt, reason string) {
	if a.gone || a.evict != "" || a.stopping() {
		return
	}
	a.evict = reason
	d.advance(a)
}

func (d *Dispatcher) commitEviction(a *attempt) {
	reason := a.evict
	d.commit(a, "evicted", func(ctx context.Context) (job.Job, error) {
		return d.cfg.Store.EvictAttempt(ctx, a.ref, reason)
	}, func(j *job.Job) {
		a.evict = ""
		a.takeOver(j)
		if a.job.CancelRequested {
			return // that is why its node was asked
		}
		d.stats.evicted.Add(1)
		d.sendCancel(a)
		d.tell(a)
	})
}
