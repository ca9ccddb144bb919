package scheduler

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Victim is work that may be ended so that other work has its room.
type Victim struct {
	NodeID, Holder string
	Priority       int
	// Since is from when on it has been there.
	Since time.Time
	// Ending: it is about to end anyway.
	Ending bool
}

// compareWorth orders victims of one node by what is lost with them: the lower
// priority first, then the younger.
func (v *Victim) compareWorth(other *Victim) int {
	return cmp.Or(cmp.Compare(v.Priority, other.Priority), other.Since.Compare(v.Since), strings.Compare(v.Holder, other.Holder))
}

// Relief is what to end on a node so that work fits there, what is worth least
// first; nothing: it is enough to wait for what ends anyway.
type Relief struct {
	NodeID string
	End    []Victim
}

// better says whether less is lost than with another: of the highest priority
// that anything has, then in number, then of work done.
func (r *Relief) better(other *Relief) bool {
	if len(r.End) == 0 || len(other.End) == 0 {
		return len(r.End) < len(other.End)
	}
	worst := func(list []Victim) int {
		return slices.MaxFunc(list, func(a, b Victim) int { return cmp.Compare(a.Priority, b.Priority) }).Priority
	}
	oldest := func(list []Victim) time.Time {
		return slices.MinFunc(list, func(a, b Victim) int { return a.Since.Compare(b.Since) }).Since
	}
	return cmp.Or(cmp.Compare(worst(r.End), worst(other.End)), cmp.Compare(len(r.End), len(other.End)),
		oldest(other.End).Compare(oldest(r.End)), strings.Compare(r.NodeID, other.NodeID)) < 0
}

// Relieve finds the node where work that fits nowhere does for the least that
// has to be ended; nil: nowhere, whatever of the victims is ended.
func (cl *Cluster) Relieve(w *Work, victims []Victim) *Relief {
	byNode := make(map[string][]Victim)
	for _, v := range victims {
		byNode[v.NodeID] = append(byNode[v.NodeID], v)
	}
	cl.mu.Lock()
	defer cl.mu.Unlock()
	var best *Relief
	for id, list := range byNode {
		p := cl.places[id]
		if p == nil || p.Node == nil || !suits(w, &p.Candidate) {
			continue
		}
		if k := p.keep; k != nil && !k.isMine(w) && !slices.Contains(w.Passes, k) {
			continue
		}
		if r := cl.relieveLocked(w, p.Candidate, list); r != nil && (best == nil || r.better(best)) {
			best = r
		}
	}
	return best
}

// relieveLocked finds what of the victims on one node has to be ended. c is a
// copy that is its own.
func (cl *Cluster) relieveLocked(w *Work, c Candidate, victims []Victim) *Relief {
	before, measured := c.Held.gpus, c.others.gpus
	without := func(v Victim) {
		if h, held := cl.holders[v.Holder]; held && h.nodeID == v.NodeID {
			c.Held.remove(h.resources, h.slots, h.gpus...)
			c.others.gpus = stillUsed(c.Node.Capabilities.GPUs, measured, before, c.Held.gpus)
		}
	}
	with := func(v Victim) {
		if h, held := cl.holders[v.Holder]; held && h.nodeID == v.NodeID {
			c.Held.add(h.resources, h.slots, h.gpus...)
			c.others.gpus = stillUsed(c.Node.Capabilities.GPUs, measured, before, c.Held.gpus)
		}
	}
	var mayEnd []Victim
	for _, v := range victims {
		without(v)
		if !v.Ending {
			mayEnd = append(mayEnd, v)
		}
	}
	if !passes(w, &c) {
		return nil
	}
	// Spare as much as goes, what is worth most first.
	slices.SortFunc(mayEnd, func(a, b Victim) int { return b.compareWorth(&a) })
	relief := &Relief{NodeID: c.Node.ID}
	for _, v := range mayEnd {
		if with(v); !passes(w, &c) {
			without(v)
			relief.End = append(relief.End, v)
		}
	}
	slices.Reverse(relief.End)
	return relief
}

// KeepFreed keeps the room on a node that is made free for work, in the place of
// whatever room is kept there; nil: the node is gone.
func (cl *Cluster) KeepFreed(w *Work, jobID, nodeID string) *Keep {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	p := cl.places[nodeID]
	if p == nil || p.Node == nil {
		return nil
	}
	p.keep = newKeep(nodeID, jobID, w)
	return p.keep
}

// KeepFor keeps room for another job with the same needs; nil: none is kept any
// more.
func (cl *Cluster) KeepFor(k *Keep, jobID string) *Keep {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	p := cl.places[k.NodeID]
	if p == nil || p.keep != k {
		return nil
	}
	p.keep = newKeep(k.NodeID, jobID, k.work)
	return p.keep
}
