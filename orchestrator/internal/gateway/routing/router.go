package routing

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/label"
	"github.com/orchion/orchion/orchestrator/internal/model"
)

// Config says what a Router works with. Routes is required.
type Config struct {
	// Routes gives the ways to a model by its exact name, ready ones only. What
	// it answers is not changed.
	Routes func(model string) []model.Route
	// NodeLabels gives the labels of a node. Default: none.
	NodeLabels func(nodeID string) map[string]string
}

// Router gives requests to replicas.
type Router struct {
	cfg Config

	mu    sync.RWMutex // guards what follows
	pools map[string]*pool
	nodes map[string]*nodeLoad
}

// maxPools is how many models are remembered before those are looked for that
// have been gone for long.
const maxPools = 1024

// New makes a router. It panics without Routes, which is a mistake of the
// program.
func New(cfg Config) *Router {
	if cfg.Routes == nil {
		panic("routing: Config needs Routes")
	}
	if cfg.NodeLabels == nil {
		cfg.NodeLabels = func(string) map[string]string { return nil }
	}
	return &Router{cfg: cfg, pools: make(map[string]*pool), nodes: make(map[string]*nodeLoad)}
}

// Ask is one request that wants a replica. It may ask again, after a lease that
// failed: then another is given.
type Ask struct {
	// Model is the exact name of a model that has routes.
	Model string
	// Labels must be met by the replica's node.
	Labels label.Selector
	// Text is what the engine reads from its beginning: the conversation. It is
	// only looked at. nil: there is nothing that a cache could keep.
	Text []byte
	// Class says how urgent it is, and Caller whose it is: requests that have to
	// wait are served in turn.
	Class  Class
	Caller string

	prefix Prefix
	tried  []*replica
	room   [3]*replica // of tried, most often
	back   []string    // the nodes that were seen to connect anew
}

// Again allows that the replicas of a node are given once more to a request that they did
// not answer, though they failed: the node is connected anew, which is what they lacked.
func (a *Ask) Again(nodeID string) {
	a.tried = slices.DeleteFunc(a.tried, func(r *replica) bool { return r.node.id == nodeID })
	a.back = append(a.back, nodeID)
}

// Errors of Acquire.
var (
	// ErrNone says that nothing serves the model, any more.
	ErrNone = errors.New("no replica serves the model")
	// ErrAllTried says that the request was given to all there are.
	ErrAllTried = errors.New("all replicas were tried")
)

// LabelsError says that no replica is where it was asked for.
type LabelsError struct {
	Wanted label.Selector
	// There are the labels of the nodes that serve the model, as key=value.
	There []string
}

func (e *LabelsError) Error() string {
	return fmt.Sprintf("no replica is on a node with labels %s", e.Wanted)
}

// FailingError says that all replicas failed lately.
type FailingError struct{ RetryAfter time.Duration }

func (e *FailingError) Error() string {
	return fmt.Sprintf("all replicas failed lately; one is tried again in %s", e.RetryAfter)
}

// Acquire gives a request to a replica. The lease is to be given back with Done. When
// all replicas have as many requests as they may, or others wait already, it gives a
// ticket to wait with; *QueueFullError when too many do.
func (r *Router) Acquire(a *Ask) (*Lease, *Ticket, error) {
	routes := r.cfg.Routes(a.Model)
	if len(routes) == 0 {
		return nil, nil, ErrNone
	}
	now := time.Now()
	p := r.pool(a.Model, now)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.follow(r, routes, now)
	p.forgive(a)
	p.serve(now)
	// Others that wait go first, unless they want other nodes.
	if p.queue.length == 0 || len(a.Labels) > 0 {
		if lease, err := p.choose(r, a, now); !errors.Is(err, errFull) {
			return lease, nil, err
		}
	}
	ticket, err := p.enqueue(a, now)
	return nil, ticket, err
}

func (p *pool) choose(r *Router, a *Ask, now time.Time) (*Lease, error) {
	matching := p.gather(a, r.cfg.NodeLabels, now)
	if matching == 0 {
		return nil, &LabelsError{Wanted: a.Labels, There: r.labelsOf(p)}
	}
	i, points := Choose(p.candidates, p.typical(now))
	if i < 0 && len(p.looked) < len(p.replicas) {
		// All that were looked at are out: look at every one.
		p.gatherAll(a, now)
		i, points = Choose(p.candidates, p.typical(now))
	}
	if i < 0 {
		if slices.ContainsFunc(p.candidates, func(c Candidate) bool { return c.Full }) {
			return nil, errFull
		}
		if len(a.tried) > 0 {
			return nil, ErrAllTried
		}
		return nil, &FailingError{RetryAfter: p.soonest(now)}
	}
	chosen := p.looked[i]
	p.chosen++
	chosen.chosen = p.chosen
	chosen.inFlight++
	chosen.node.inFlight.Add(1)
	chosen.breaker.Begin(now)
	if a.tried == nil {
		a.tried = a.room[:0]
	}
	a.tried = append(a.tried, chosen)
	lease := &Lease{
		Route: chosen.route, Points: points, pool: p, replica: chosen, ask: a,
		candidate: p.candidates[i], of: matching,
	}
	for j := range p.candidates {
		if c := &p.candidates[j]; (!c.Out || c.Full) && j != i {
			lease.Others++
		}
	}
	return lease, nil
}

// labelsOf lists the labels of the nodes of a pool.
func (r *Router) labelsOf(p *pool) []string {
	there := make(map[string]bool)
	for _, known := range p.replicas {
		for k, v := range r.cfg.NodeLabels(known.route.NodeID) {
			there[k+"="+v] = true
		}
	}
	return slices.SortedFunc(maps.Keys(there), strings.Compare)
}

// pool gives what is known of a model.
func (r *Router) pool(name string, now time.Time) *pool {
	r.mu.RLock()
	p := r.pools[name]
	r.mu.RUnlock()
	if p != nil {
		return p
	}
	r.forgetGone(now)
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.pools[name]; p != nil {
		return p
	}
	p = &pool{router: r, model: name, known: make(map[key]*replica), prefixes: newPrefixes()}
	r.pools[name] = p
	return p
}

// forgetGone drops models that are gone for long when there are many.
func (r *Router) forgetGone(now time.Time) {
	r.mu.RLock()
	var all []*pool
	if len(r.pools) >= maxPools {
		all = slices.Collect(maps.Values(r.pools))
	}
	r.mu.RUnlock()
	// A pool's lock is taken before the router's.
	for _, p := range all {
		if p.gone(r, now) {
			r.mu.Lock()
			delete(r.pools, p.model)
			r.mu.Unlock()
		}
	}
}

// nodeOf counts another replica on a node. The caller holds a pool's lock.
func (r *Router) nodeOf(id string) *nodeLoad {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.nodes[id]
	if n == nil {
		n = &nodeLoad{id: id}
		r.nodes[id] = n
	}
	n.replicas++
	return n
}

// leaveNode counts a replica less. The caller holds a pool's lock.
func (r *Router) leaveNode(n *nodeLoad) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n.replicas--; n.replicas == 0 {
		delete(r.nodes, n.id)
	}
}

// InFlight counts the requests that a replica of a model has.
func (r *Router) InFlight(name, nodeID, replicaID string) int {
	r.mu.RLock()
	p := r.pools[name]
	r.mu.RUnlock()
	if p == nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.known[key{nodeID: nodeID, replicaID: replicaID}]
	if known == nil {
		return 0
	}
	return known.inFlight
}
