package routing

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/model"
)

// pool is what is known of one model: its replicas and how they answer.
type pool struct {
	router *Router
	model  string

	mu     sync.Mutex // guards what follows
	queue  queue
	routes []model.Route
	// replicas are those of routes, in their order; known are also those that
	// were there before, which still have requests or were fast once.
	replicas []*replica
	known    map[key]*replica
	speed    speed
	prefixes *prefixes
	chosen   uint64 // counts choices
	// looked are the replicas that the choice being made is between, and
	// candidates their numbers.
	looked     []*replica
	candidates []Candidate
}

// replica is what is known of one replica of a model. Its pool's lock guards it.
type replica struct {
	route    model.Route
	node     *nodeLoad
	inFlight int
	chosen   uint64
	seen     time.Time // when it was last among the routes and not any more; zero: it is
	used     time.Time // when an answer ended
	speed    speed
	breaker  Breaker
	// gathered is its place in looked, if it is there.
	gathered int
}

// nodeLoad counts the requests that all models of a node have.
type nodeLoad struct {
	id       string
	inFlight atomic.Int64
	replicas int // guarded by Router.mu
}

const (
	// remembered is how long a replica that is gone is remembered, with its
	// speed; a node that comes back within it is known.
	remembered = 10 * time.Minute
	// keptWarm is how long an engine that is not ours keeps a model after its
	// last answer; Ollama's default.
	keptWarm = 5 * time.Minute
	// manyAtOnce is how many requests vLLM answers together without any of them
	// being much slower.
	manyAtOnce = 16
)

// follow makes the pool's replicas those of routes. Slices of routes are
// shared and not changed: the same slice has the same routes.
func (p *pool) follow(r *Router, routes []model.Route, now time.Time) {
	if len(routes) == len(p.routes) && (len(routes) == 0 || &routes[0] == &p.routes[0]) {
		return
	}
	for _, old := range p.replicas {
		old.seen = now
	}
	p.routes = routes
	p.replicas = make([]*replica, len(routes))
	for i := range routes {
		k := keyOf(&routes[i])
		known := p.known[k]
		switch {
		case known == nil:
			known = &replica{node: r.nodeOf(routes[i].NodeID)}
			p.known[k] = known
		case !known.seen.Equal(now):
			// It was gone, and whoever says that it is there again knows better
			// than what failed before.
			known.breaker = Breaker{}
		}
		known.route, known.seen = routes[i], time.Time{}
		p.replicas[i] = known
	}
	for k, old := range p.known {
		if old.inFlight == 0 && !old.seen.IsZero() && now.Sub(old.seen) >= remembered {
			delete(p.known, k)
			r.leaveNode(old.node)
		}
	}
}

// forgive forgets the failures of replicas whose nodes a request has seen connect anew.
func (p *pool) forgive(a *Ask) {
	if len(a.back) == 0 {
		return
	}
	for _, known := range p.replicas {
		if slices.Contains(a.back, known.node.id) {
			known.breaker = Breaker{}
		}
	}
}

// gone says whether the model has no routes any more and nothing would be lost
// with the pool.
func (p *pool) gone(r *Router, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.follow(r, r.cfg.Routes(p.model), now)
	if p.queue.length > 0 {
		return false
	}
	for _, known := range p.known {
		if known.inFlight > 0 || known.seen.IsZero() || now.Sub(known.seen) < remembered {
			return false
		}
	}
	for k, known := range p.known {
		delete(p.known, k)
		r.leaveNode(known.node)
	}
	return true
}

const (
	// allOf is up to how many replicas a choice looks at all; of more, at so many
	// that are next to each other, from anywhere, and at those that have read the
	// conversation before. The best of 32 at random is hardly worse than the best of
	// all, and does not cost the more the more there are.
	allOf  = 64
	someOf = 32
)

// gather makes the candidates of a choice and answers how many replicas meet
// the labels; of many, how many there are.
func (p *pool) gather(a *Ask, labels func(nodeID string) map[string]string, now time.Time) (matching int) {
	p.looked = p.looked[:0]
	if len(p.replicas) <= allOf || len(a.Labels) > 0 || len(a.tried) > 0 {
		p.looked = append(p.looked, p.replicas...)
	} else {
		from := rand.IntN(len(p.replicas)) //nolint:gosec // spreads load, guards nothing
		p.looked = append(p.looked, p.replicas[from:min(from+someOf, len(p.replicas))]...)
		p.looked = append(p.looked, p.replicas[:someOf-len(p.looked)]...)
	}
	return p.measure(a, labels, now)
}

// gatherAll makes candidates of all replicas.
func (p *pool) gatherAll(a *Ask, now time.Time) {
	p.looked = append(p.looked[:0], p.replicas...)
	p.measure(a, nil, now)
}

// measure puts what is looked at into numbers. labels may be nil when the request
// asks for none.
func (p *pool) measure(a *Ask, labels func(nodeID string) map[string]string, now time.Time) (matching int) {
	p.candidates = p.candidates[:0]
	expected := Candidate{First: p.speed.first.blend(0, now), Rate: p.speed.rate.blend(0, now)}
	for i, r := range p.looked {
		r.gathered = i
		c := r.candidate(&expected, now)
		if len(a.Labels) > 0 && !a.Labels.Matches(labels(r.route.NodeID)) {
			c.Out, c.Full = true, false
		} else {
			matching++
			tried := slices.Contains(a.tried, r)
			c.Out, c.Full = c.Out || tried, c.Full && !tried
		}
		p.candidates = append(p.candidates, c)
	}
	if len(p.replicas) > 1 {
		p.noteCached(a, &expected, now)
	}
	if len(a.Labels) == 0 {
		return len(p.replicas)
	}
	return matching
}

// candidate is the replica in numbers; expected are those of the model.
func (r *replica) candidate(expected *Candidate, now time.Time) Candidate {
	c := Candidate{
		InFlight: r.inFlight, Beside: max(int(r.node.inFlight.Load())-r.inFlight, 0), Chosen: r.chosen,
		First: r.speed.first.blend(expected.First, now), Rate: r.speed.rate.blend(expected.Rate, now),
	}
	allowed, probe := r.breaker.Allows(now)
	c.Out, c.Probe = !allowed, probe
	if most := r.route.MaxInFlight; allowed && most > 0 && r.inFlight >= most {
		c.Out, c.Full = true, true
	}
	if r.route.Engine == "vllm" {
		c.AtOnce = manyAtOnce
	}
	c.Cold = r.route.EngineEndpoint != "" && r.route.Engine == "ollama" && r.inFlight == 0 && now.Sub(r.used) > keptWarm
	return c
}

// noteCached tells the candidates what they have read of a request.
func (p *pool) noteCached(a *Ask, expected *Candidate, now time.Time) {
	if a.Text == nil {
		return
	}
	if a.prefix.count == 0 {
		a.prefix = p.prefixes.of(a.Text)
	}
	p.prefixes.cached(&a.prefix, func(r *replica, cached float64) {
		if !r.seen.IsZero() {
			return // it is not among the routes any more
		}
		if r.gathered >= len(p.looked) || p.looked[r.gathered] != r {
			r.gathered = len(p.looked)
			p.looked, p.candidates = append(p.looked, r), append(p.candidates, r.candidate(expected, now))
		}
		c := &p.candidates[r.gathered]
		c.Cached = max(c.Cached, cached)
	})
}

// typical is what is known of the model's answers, whoever gives them.
func (p *pool) typical(now time.Time) Typical {
	return Typical{
		Tokens: p.speed.tokens.blend(0, now),
		Whole:  time.Duration(p.speed.whole.blend(0, now) * float64(time.Second)),
	}
}

// soonest is how long it takes until one of the replicas that fail is tried again.
func (p *pool) soonest(now time.Time) time.Duration {
	least := maxPause
	for _, r := range p.replicas {
		if r.breaker.State(now) != Closed {
			least = min(least, r.breaker.Wait(now))
		}
	}
	return max(least, time.Second)
}
