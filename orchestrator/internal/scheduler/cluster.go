package scheduler

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/node"
)

// Cluster is the table of nodes and of what is placed on them. Picking a node
// and taking its room is one step, so that nothing is promised twice. It is
// safe for concurrent use; its methods do not block and call nothing outside.
type Cluster struct {
	mu     sync.Mutex // guards what follows
	places map[string]*place
	// active are the candidates of the nodes that are there, ordered by id.
	active  []*Candidate
	blocks  []block // of active; nil: to be made anew
	holders map[string]holding
	next    int // where the next search begins
	// placement is for work that does not say.
	placement job.Placement
	images    map[string]*image // that active nodes have, by name
	changes   []*Changes
}

// place is what is known of a node; what it holds outlives its going offline.
type place struct {
	Candidate // Node is nil while the node is not active
	holders   int
	images    []*image
}

// holding is what one holder takes of a node.
type holding struct {
	nodeID    string
	resources job.Resources
	slots     int
	gpus      []gpuGrant
	job       *Job
	claim     bool // see tenants.claims
}

// NewCluster makes a table without nodes.
func NewCluster() *Cluster {
	return &Cluster{places: make(map[string]*place), holders: make(map[string]holding), images: make(map[string]*image)}
}

// SetPlacement says how work is placed that does not say; unless it is called,
// by spreading.
func (cl *Cluster) SetPlacement(p job.Placement) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	cl.placement = p
}

// NodeChanged takes over a node's new value; nil or offline: it is gone. What
// it holds stays held until it is released.
func (cl *Cluster) NodeChanged(prev, next *node.Node) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if next == nil || !next.State.Active() {
		if prev == nil {
			prev = next
		}
		if prev != nil {
			cl.leaveLocked(prev.ID)
		}
		return
	}
	p := cl.placeLocked(next.ID)
	if p.Node == next {
		return
	}
	if p.Node == nil {
		at, _ := cl.findLocked(next.ID)
		cl.active = slices.Insert(cl.active, at, &p.Candidate)
		cl.blocks = nil
	}
	p.Node = next
	p.others.measure(next)
	cl.changedLocked(&p.Candidate)
	cl.signalLocked(next.ID)
}

// UsageChanged takes over what a node measured last. It may come after a
// change that made that node another, and is then of no matter.
func (cl *Cluster) UsageChanged(n *node.Node) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	p := cl.places[n.ID]
	if p == nil || p.Node == nil || !n.State.Active() || n.LastSeenAt.Before(p.Node.LastSeenAt) {
		return
	}
	freed := p.Node.Usage.DiskUsedBytes - n.Usage.DiskUsedBytes
	measured := *p.Node
	measured.Usage, measured.LastSeenAt = n.Usage, n.LastSeenAt
	p.Node = &measured
	gained := p.others.measure(&measured)
	cl.changedLocked(&p.Candidate)
	if gained || freed >= diskFreed {
		cl.signalLocked(n.ID)
	}
}

// diskFreed is by how much the use of a disk has to shrink for the node to be
// looked at anew: the ups and downs of a machine are no reason.
const diskFreed = 64 << 20

// SetConnected says whether a node can be told what to run.
func (cl *Cluster) SetConnected(nodeID string, connected bool) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	p := cl.placeLocked(nodeID)
	p.Connected = connected
	cl.changedLocked(&p.Candidate)
	if connected {
		cl.signalLocked(nodeID)
	} else {
		cl.tidyLocked(nodeID)
	}
}

// Place finds a node for the work and takes its room for the holder, which
// must not hold any yet. False: none can take it now.
func (cl *Cluster) Place(w *Work, holder string) (nodeID string, ok bool) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if len(cl.active) == 0 {
		return "", false
	}
	w = cl.resolveLocked(w)
	if w.Prefers.Placement == job.BinPack {
		// From the same end each time, so that the other end stays free.
		return cl.takeLocked(w, holder, cl.pickLocked(w, 0))
	}
	cl.next %= len(cl.active)
	best := cl.pickLocked(w, cl.next)
	// Small clusters are looked through whole; there the rotation would only
	// make the choice hard to foresee.
	if best != nil && len(cl.active) > enough {
		cl.next += enough
	}
	return cl.takeLocked(w, holder, best)
}

// takeLocked takes the room of the candidate that was picked, if one was.
func (cl *Cluster) takeLocked(w *Work, holder string, best *Candidate) (nodeID string, ok bool) {
	if best == nil {
		cl.awaitClaimsLocked(w)
		return "", false
	}
	gpus, _ := packGPUs(best.Node.Capabilities.GPUs, best.others.gpus, best.Held.gpus, gpuClaims(w))
	cl.holdLocked(best.Node.ID, holder, w, gpus)
	return best.Node.ID, true
}

// PlaceOn is Place among some nodes only.
func (cl *Cluster) PlaceOn(w *Work, holder string, nodeIDs []string) (nodeID string, ok bool) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	candidates := make([]*Candidate, 0, len(nodeIDs))
	for _, id := range nodeIDs {
		if p := cl.places[id]; p != nil && p.Node != nil {
			candidates = append(candidates, &p.Candidate)
		}
	}
	w = cl.resolveLocked(w)
	return cl.takeLocked(w, holder, Pick(w, candidates, 0))
}

// awaitClaimsLocked has work that avoids jobs told when it is known what jobs
// those are that were placed last.
func (cl *Cluster) awaitClaimsLocked(w *Work) {
	if len(w.AvoidJobs) == 0 {
		return
	}
	for _, c := range cl.active {
		c.tenants.awaited = c.tenants.claims > 0
	}
}

// resolveLocked is the work with what it leaves to the cluster.
func (cl *Cluster) resolveLocked(w *Work) *Work {
	var holders map[string]struct{}
	if w.Prefers.Image != "" {
		if i := cl.images[w.Prefers.Image]; i != nil {
			holders = i.nodes
		}
	}
	placement := cmp.Or(w.Prefers.Placement, cl.placement)
	if holders == nil && placement == w.Prefers.Placement {
		return w
	}
	resolved := *w
	resolved.Prefers.Placement, resolved.Prefers.holders = placement, holders
	return &resolved
}

// FitsOn says whether one of some nodes can take the work now, if it goes
// before whatever room is kept for.
func (cl *Cluster) FitsOn(w *Work, nodeIDs []string) bool {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	for _, id := range nodeIDs {
		p := cl.places[id]
		switch {
		case p == nil || p.Node == nil:
		case fitsPassing(w, &p.Candidate):
			return true
		case len(w.AvoidJobs) > 0 && p.tenants.claims > 0:
			p.tenants.awaited = true
		}
	}
	return false
}

// Hold takes a node's room for a holder whether it fits or not: for what was
// placed before a restart. gpus are the GPUs that it was given then; none: that
// is not known.
func (cl *Cluster) Hold(nodeID, holder string, w *Work, gpus ...string) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	cl.holdLocked(nodeID, holder, w, grantsOf(w, gpus))
}

// GPUs answers which GPUs of its node a holder was given, by their UUIDs.
func (cl *Cluster) GPUs(holder string) []string {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	var names []string
	for _, grant := range cl.holders[holder].gpus {
		if grant.gpu != "" {
			names = append(names, grant.gpu)
		}
	}
	return names
}

// Release gives back what a holder holds, if it holds anything.
func (cl *Cluster) Release(holder string) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	nodeID, ok := cl.releaseLocked(holder)
	if ok {
		cl.signalLocked(nodeID)
	}
}

// Explain says of every active node whether the work fits there now.
func (cl *Cluster) Explain(w *Work) []Fit {
	cl.mu.Lock()
	candidates := make([]Candidate, 0, len(cl.active))
	for _, c := range cl.active {
		candidate := *c
		candidate.tenants = c.tenants.snapshot(w)
		candidates = append(candidates, candidate)
	}
	w = cl.resolveLocked(w)
	if w.Prefers.holders != nil {
		w.Prefers.holders = maps.Clone(w.Prefers.holders)
	}
	cl.mu.Unlock()
	return Explain(w, candidates)
}

// Node answers an active node.
func (cl *Cluster) Node(id string) (*node.Node, bool) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	p := cl.places[id]
	if p == nil || p.Node == nil {
		return nil, false
	}
	return p.Node, true
}

// Nodes answers the active nodes, ordered by id.
func (cl *Cluster) Nodes() []*node.Node {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	nodes := make([]*node.Node, 0, len(cl.active))
	for _, c := range cl.active {
		nodes = append(nodes, c.Node)
	}
	return nodes
}

// Held answers what is placed on a node.
func (cl *Cluster) Held(nodeID string) Held {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if p := cl.places[nodeID]; p != nil {
		return p.Held
	}
	return Held{}
}

func (cl *Cluster) placeLocked(id string) *place {
	p := cl.places[id]
	if p == nil {
		p = &place{}
		cl.places[id] = p
	}
	return p
}

// findLocked answers where among the active nodes an id is or would be.
func (cl *Cluster) findLocked(id string) (int, bool) {
	return slices.BinarySearchFunc(cl.active, id, func(c *Candidate, id string) int {
		return strings.Compare(c.Node.ID, id)
	})
}

func (cl *Cluster) leaveLocked(id string) {
	p := cl.places[id]
	if p == nil || p.Node == nil {
		return
	}
	if at, found := cl.findLocked(id); found {
		cl.active = slices.Delete(cl.active, at, at+1)
		cl.blocks = nil
	}
	p.Node, p.keep = nil, nil
	cl.dropImagesLocked(p, id)
	cl.tidyLocked(id)
}

// tidyLocked forgets a place that nothing is known of any more.
func (cl *Cluster) tidyLocked(id string) {
	if p := cl.places[id]; p != nil && p.Node == nil && !p.Connected && p.holders == 0 {
		delete(cl.places, id)
	}
}

func (cl *Cluster) holdLocked(nodeID, holder string, w *Work, gpus []gpuGrant) {
	cl.releaseLocked(holder)
	h := holding{nodeID: nodeID, resources: w.Resources, job: w.Job, gpus: gpus}
	p := cl.placeLocked(nodeID)
	if w.TakesSlot {
		h.slots, h.claim = 1, w.Job == nil
	}
	if h.claim {
		p.tenants.claims++
	}
	if h.job != nil {
		p.tenants.add(h.job)
	}
	if p.tenants.awaited && p.tenants.claims == 0 {
		p.tenants.awaited = false
		cl.signalLocked(nodeID)
	}
	p.Held.add(h.resources, h.slots, h.gpus...)
	cl.changedLocked(&p.Candidate)
	p.holders++
	cl.holders[holder] = h
}

func (cl *Cluster) releaseLocked(holder string) (nodeID string, held bool) {
	h, held := cl.holders[holder]
	if !held {
		return "", false
	}
	delete(cl.holders, holder)
	p := cl.places[h.nodeID]
	p.Held.remove(h.resources, h.slots, h.gpus...)
	cl.changedLocked(&p.Candidate)
	p.holders--
	if h.claim {
		p.tenants.claims--
	}
	if h.job != nil {
		p.tenants.remove(h.job)
	}
	cl.tidyLocked(h.nodeID)
	return h.nodeID, true
}
