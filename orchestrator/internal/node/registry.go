package node

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/orchion/orchion/orchestrator/internal/fault"
)

// entry is a node in the registry. Its fields are guarded by Registry.mu,
// except saving.
type entry struct {
	node     *Node // replaced, never changed; see latest
	beat     *beat // nil: none since it registered
	interval time.Duration
	deadline time.Time // of an active node
	// prev and next link the active nodes in the order of their deadlines.
	prev, next *entry
	flaps      *flaps // nil: it never went silent
	// dirty: what is stored differs. reported: waits in usageQueue.
	dirty, reported bool
	// saving orders the writes to the store of this one node.
	saving sync.Mutex
}

// change is one thing to tell: of a node, or of an outage that ended.
type change struct {
	prev, next *Node
	ended      *Outage
}

// Registry knows the nodes and which of them live. Heartbeats cost O(1) and
// stay in memory; only changes of what is Known are stored. Its methods are
// safe for concurrent use.
type Registry struct {
	cfg Config

	mu      sync.RWMutex
	entries map[string]*entry // active and offline
	active  expiryList
	// sorted is entries ordered by id; nil when it must be made anew.
	sorted  []*entry
	outages outages
	cooling map[*entry]struct{} // nodes with a CoolDown
	kinds   *kinds
	// changes wait for OnChange and OnOutage; usageQueue for OnUsage; dirtyIDs for the store.
	changes    []change
	usageQueue []*entry
	dirtyIDs   []string

	// delivering serialises calls of OnChange and OnOutage, and guards told:
	// the outage that goes on was told of.
	delivering sync.Mutex
	told       bool

	wake chan struct{} // the list of deadlines has a new head
	kick chan struct{} // dirtyIDs is not empty
	used chan struct{} // usageQueue is not empty

	lifecycle sync.Mutex // guards stop and its use
	stop      context.CancelFunc
	done      sync.WaitGroup
}

// NewRegistry makes a registry; Start makes it watch.
func NewRegistry(cfg Config) *Registry {
	r := &Registry{
		cfg:     cfg.withDefaults(),
		entries: make(map[string]*entry),
		cooling: make(map[*entry]struct{}),
		kinds:   newKinds(),
		wake:    make(chan struct{}, 1),
		kick:    make(chan struct{}, 1),
		used:    make(chan struct{}, 1),
	}
	return r
}

// HeartbeatTimeout is how long a node may be silent.
func (r *Registry) HeartbeatTimeout() time.Duration { return r.cfg.HeartbeatTimeout }

// Register makes a node known and online. Registering an active node again
// replaces what was known of it: the last registration wins. The duration is
// when to send the first heartbeat.
// Errors: Exhausted past the limit of nodes.
func (r *Registry) Register(_ context.Context, reg Registration) (*Node, time.Duration, error) {
	now := time.Now()
	if reg.ID == "" {
		reg.ID = uuid.NewString()
	}
	r.mu.Lock()
	e := r.entries[reg.ID]
	if (e == nil || !e.node.State.Active()) && r.active.size >= r.cfg.MaxNodes {
		r.mu.Unlock()
		return nil, 0, fault.New(fault.Exhausted,
			"%d nodes are registered, which is the limit (--max-nodes)", r.cfg.MaxNodes)
	}
	reg.AgentVersion, reg.Labels = r.kinds.texts.of(reg.AgentVersion), r.kinds.labelsOf(reg.Labels)
	r.kinds.share(&reg.Capabilities)
	n := &Node{
		ID:           reg.ID,
		Hostname:     reg.Hostname,
		State:        Online,
		AgentLabels:  reg.Labels,
		AgentTaints:  reg.Taints,
		AgentVersion: reg.AgentVersion,
		Address:      reg.Address,
		InstanceID:   reg.InstanceID,
		Capabilities: reg.Capabilities,
		Usage:        reg.Usage,
		RegisteredAt: now,
		LastSeenAt:   now,
	}
	var prev *Node
	cooling := false
	if e == nil {
		r.forgetOldestLocked()
		e = &entry{}
		r.entries[reg.ID] = e
		r.sorted = nil
	} else {
		prev = e.latest()
		n.UserTaints = prev.UserTaints
		n.UserLabels, n.Cordoned, n.Drain, n.CoolDown = prev.UserLabels, prev.Cordoned, prev.Drain, prev.CoolDown
		cooling = !prev.State.Active() && r.coolDownLocked(e, n, now)
	}
	if n.Drain != nil {
		n.State = Draining
	}
	n.Labels = mergeLabels(n.AgentLabels, n.UserLabels)
	n.Taints = mergeTaints(n.AgentTaints, n.UserTaints)
	e.interval = r.clampInterval(reg.HeartbeatInterval)
	e.node, e.beat = n, nil
	r.beatLocked(e, now)
	r.backLocked(e)
	if prev == nil || !sameKnown(prev, n) {
		r.markDirtyLocked(e)
	}
	r.changeLocked(prev, n)
	next := jitter(e.interval)
	r.mu.Unlock()
	r.deliver()

	switch {
	case prev != nil && prev.State.Active() && prev.InstanceID != n.InstanceID:
		r.cfg.Logger.Warn("another node agent took the node id over; the one before will be told to stop",
			"node", n.ID, "hostname", n.Hostname, "address", n.Address,
			"previous_hostname", prev.Hostname, "previous_address", prev.Address)
	default:
		r.cfg.Logger.Info("node registered", "node", n.ID, "hostname", n.Hostname, "address", n.Address)
	}
	if cooling {
		r.cfg.Logger.Warn("node gets no new work for a while",
			"node", n.ID, "hostname", n.Hostname, "why", n.CoolDown.Reason(), "until", n.CoolDown.Until.UTC().Format(time.RFC3339))
	}
	return n, next, nil
}

// Heartbeat keeps a node online and says when to beat next.
// Errors: NotFound when the node is not active (register again), Superseded
// when another instance holds the id.
func (r *Registry) Heartbeat(id, instanceID string, usage Usage) (time.Duration, error) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	e, err := r.holderLocked(id, instanceID)
	if err != nil {
		return 0, err
	}
	if e.beat == nil {
		e.beat = &beat{}
	}
	e.beat.usage, e.beat.at, e.beat.untold = usage, now, true
	r.beatLocked(e, now)
	r.backLocked(e)
	if !e.reported {
		e.reported = true
		r.usageQueue = append(r.usageQueue, e)
		notify(r.used)
	}
	return jitter(e.interval), nil
}

// HeartbeatInterval answers how often an active node is to beat, without jitter.
// Errors: NotFound.
func (r *Registry) HeartbeatInterval(id string) (time.Duration, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	e, err := r.holderLocked(id, "")
	if err != nil {
		return 0, err
	}
	return e.interval, nil
}

// Check says whether an instance holds an active node.
// Errors: as Heartbeat's.
func (r *Registry) Check(id, instanceID string) error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	_, err := r.holderLocked(id, instanceID)
	return err
}

func (r *Registry) holderLocked(id, instanceID string) (*entry, error) {
	e := r.entries[id]
	if e == nil || !e.node.State.Active() {
		return nil, fault.New(fault.NotFound, "node %q is not registered; register it (again)", id)
	}
	if held := e.node.InstanceID; held != "" && instanceID != "" && held != instanceID {
		return nil, fault.New(fault.Superseded,
			"node id %q was taken over by another node agent on host %q (%s); give each node agent an id of its own (--node-id)",
			id, e.node.Hostname, e.node.Address)
	}
	return e, nil
}

// Deregister takes a node that leaves on purpose offline at once. A node that
// is offline already stays so without an error.
// Errors: NotFound for a node never seen, Superseded when another instance
// holds the id.
func (r *Registry) Deregister(_ context.Context, id, instanceID, reason string) error {
	r.mu.Lock()
	e, known := r.entries[id]
	if !known {
		r.mu.Unlock()
		return notFound(id)
	}
	if !e.node.State.Active() {
		r.mu.Unlock()
		return nil
	}
	if _, err := r.holderLocked(id, instanceID); err != nil {
		r.mu.Unlock()
		return err
	}
	r.offlineLocked(e)
	r.excuseLocked(e)
	hostname := e.node.Hostname
	r.mu.Unlock()
	r.deliver()
	r.cfg.Logger.Info("node left", "node", id, "hostname", hostname, "reason", reason)
	return nil
}

// offlineLocked takes an active node offline.
func (r *Registry) offlineLocked(e *entry) {
	prev, next := e.latest(), *e.latest()
	next.State = Offline
	next.Usage = Usage{}
	e.node, e.beat = &next, nil
	r.active.remove(e)
	r.markDirtyLocked(e)
	r.changeLocked(prev, &next)
}

// beatLocked moves a node's deadline.
func (r *Registry) beatLocked(e *entry, now time.Time) {
	e.deadline = now.Add(r.cfg.HeartbeatTimeout)
	first := r.active.size == 0
	r.active.moveToBack(e)
	if first {
		notify(r.wake)
	}
}

// forgetOldestLocked makes room for one more node by dropping from memory the
// offline node that was seen longest ago, so that registrations under ever new
// ids cannot grow the registry without bound.
func (r *Registry) forgetOldestLocked() {
	if len(r.entries) < 2*r.cfg.MaxNodes {
		return
	}
	var oldest *entry
	for _, e := range r.entries {
		if !e.node.State.Active() && (oldest == nil || e.node.LastSeenAt.Before(oldest.node.LastSeenAt)) {
			oldest = e
		}
	}
	if oldest == nil {
		return
	}
	id := oldest.node.ID
	delete(r.entries, id)
	r.sorted = nil
	r.dirtyIDs = append(r.dirtyIDs, id) // the saver sees that it is gone
	notify(r.kick)
	r.changeLocked(oldest.node, nil)
}

func (r *Registry) markDirtyLocked(e *entry) {
	if r.cfg.Store == nil || e.dirty {
		return
	}
	e.dirty = true
	r.dirtyIDs = append(r.dirtyIDs, e.node.ID)
	notify(r.kick)
}

func (r *Registry) changeLocked(prev, next *Node) {
	r.changes = append(r.changes, change{prev: prev, next: next})
}

// deliver calls OnChange and OnOutage for what waits. Whoever comes in while another
// delivers waits: when deliver returns, the caller's change has been told.
func (r *Registry) deliver() {
	r.delivering.Lock()
	defer r.delivering.Unlock()
	for {
		r.mu.Lock()
		batch := r.changes
		r.changes = nil
		var outage *Outage
		if r.outages.changed {
			outage, r.outages.changed = r.outages.current, false
		}
		r.mu.Unlock()
		if len(batch) == 0 && outage == nil {
			return
		}
		for _, c := range batch {
			if c.ended != nil {
				r.tellOutage(c.ended)
				continue
			}
			r.cfg.OnChange(c.prev, c.next)
		}
		if outage != nil {
			r.tellOutage(outage)
		}
	}
}

func (r *Registry) clampInterval(wish time.Duration) time.Duration {
	if wish <= 0 {
		wish = r.cfg.HeartbeatInterval
	}
	return min(max(wish, minHeartbeatInterval), r.cfg.HeartbeatTimeout/beatsPerTimeout)
}

// jitter takes up to a tenth off a period, so that nodes that registered
// together do not beat together for ever.
func jitter(d time.Duration) time.Duration {
	if d < 10 {
		return d
	}
	return d - time.Duration(rand.Int64N(int64(d)/10)) //nolint:gosec // spreading load needs no secret randomness
}

// mergeLabels puts labels together. The answer may be one of them and is not to
// be changed.
func mergeLabels(agent, user map[string]string) map[string]string {
	switch {
	case len(user) == 0 && agent != nil:
		return agent
	case len(agent) == 0 && user != nil:
		return user
	}
	merged := make(map[string]string, len(agent)+len(user))
	maps.Copy(merged, agent)
	maps.Copy(merged, user)
	return merged
}

// sameKnown says whether two states of a node are stored alike but for times.
func sameKnown(a, b *Node) bool {
	return a.Hostname == b.Hostname && a.Cordoned == b.Cordoned && a.Drain == b.Drain &&
		a.AgentVersion == b.AgentVersion && a.Address == b.Address &&
		maps.Equal(a.AgentLabels, b.AgentLabels) && maps.Equal(a.UserLabels, b.UserLabels) &&
		slices.Equal(a.AgentTaints, b.AgentTaints) && slices.Equal(a.UserTaints, b.UserTaints) &&
		a.Capabilities.equal(b.Capabilities)
}

func (c Capabilities) equal(d Capabilities) bool {
	return c.OS == d.OS && c.Arch == d.Arch && c.Platform == d.Platform && c.Kernel == d.Kernel &&
		c.CPU == d.CPU && c.MemoryBytes == d.MemoryBytes && c.Disk == d.Disk &&
		slices.Equal(c.GPUs, d.GPUs) && slices.Equal(c.Runtimes, d.Runtimes) &&
		slices.EqualFunc(c.Engines, d.Engines, func(x, y LocalEngine) bool {
			return x.Name == y.Name && x.Version == y.Version && x.Endpoint == y.Endpoint &&
				slices.Equal(x.Models, y.Models)
		})
}

// notify wakes the goroutine behind a channel of capacity 1.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func notFound(id string) error { return fault.New(fault.NotFound, "node %q is not known", id) }

var errStarted = errors.New("node registry: started twice")
