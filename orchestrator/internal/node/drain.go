package node

import (
	"context"
	"time"
)

// DrainMode says what becomes of the jobs on a node that is drained. The zero
// value is not a mode.
type DrainMode int

// The modes.
const (
	// DrainFinish: they end by themselves, or are evicted at the deadline.
	DrainFinish DrainMode = iota + 1
	// DrainMove: they are evicted at once.
	DrainMove
)

// Drain is a person's wish that a node takes no new work, and for what is there
// already. Values are shared and never changed.
type Drain struct {
	Since time.Time `json:"since"`
	Mode  DrainMode `json:"mode"`
	// Deadline is when jobs that still run are evicted, by the orchestrator's
	// clock; zero: never.
	Deadline time.Time `json:"deadline,omitzero"`
	// Reason is for people.
	Reason string `json:"reason,omitempty"`
	// Maintenance: the node is expected to go away.
	Maintenance bool `json:"maintenance,omitempty"`
}

// EvictsAt answers from when on the jobs of the node are evicted; false: never.
func (d *Drain) EvictsAt() (at time.Time, some bool) {
	switch {
	case d.Mode == DrainMove:
		return d.Since, true
	case d.Deadline.IsZero():
		return time.Time{}, false
	default:
		return d.Deadline, true
	}
}

// SetDrain says how a node is drained; nil: it is not. When it was drained
// before, Since stays. Durable.
// Errors: NotFound, Unavailable.
func (r *Registry) SetDrain(ctx context.Context, id string, drain *Drain) (*Node, error) {
	now := time.Now()
	return r.edit(ctx, id, func(n *Node) {
		if drain == nil {
			n.Drain = nil
		} else {
			wanted := *drain
			wanted.Since = now
			if n.Drain != nil {
				wanted.Since = n.Drain.Since
			}
			n.Drain = &wanted
		}
		if n.State.Active() {
			n.State = Online
			if drain != nil {
				n.State = Draining
			}
		}
	})
}

// SetCordon says whether a node is kept from getting new work, all else staying
// as it is; durable. Lifting the cordon ends a cool-down too: a person wants the
// node to work.
// Errors: NotFound, Unavailable.
func (r *Registry) SetCordon(ctx context.Context, id string, cordoned bool) (*Node, error) {
	return r.edit(ctx, id, func(n *Node) {
		n.Cordoned = cordoned
		if !cordoned {
			n.CoolDown = nil
		}
	})
}
