package gateway

import (
	"fmt"
	"sync"

	"github.com/orchion/orchion/orchestrator/internal/model"
)

// routeKey names an engine on a node.
type routeKey struct {
	nodeID, replicaID, endpoint string
}

func keyOf(r model.Route) routeKey {
	return routeKey{nodeID: r.NodeID, replicaID: r.ReplicaID, endpoint: r.EngineEndpoint}
}

// balancer chooses the route with the fewest requests in flight, and among
// equals the one that was chosen longest ago.
type balancer struct {
	mu     sync.Mutex             // guards what follows
	load   map[routeKey]*loadInfo // engines with requests in flight or chosen before
	chosen uint64                 // counts choices
}

type loadInfo struct {
	inFlight   int
	lastChosen uint64
}

// maxIdleRoutes is how many engines without requests are remembered.
const maxIdleRoutes = 1024

func newBalancer() *balancer {
	return &balancer{load: make(map[routeKey]*loadInfo)}
}

// choose picks one of routes that is not excluded and counts a request for it,
// which done takes back. ok is false when all are excluded.
func (b *balancer) choose(routes []model.Route, excluded map[routeKey]bool) (route model.Route, reason string, done func(), ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	best := -1
	var bestLoad loadInfo
	for i, r := range routes {
		key := keyOf(r)
		if excluded[key] {
			continue
		}
		var load loadInfo
		if known := b.load[key]; known != nil {
			load = *known
		}
		if best < 0 || load.inFlight < bestLoad.inFlight ||
			(load.inFlight == bestLoad.inFlight && load.lastChosen < bestLoad.lastChosen) {
			best, bestLoad = i, load
		}
	}
	if best < 0 {
		return model.Route{}, "", nil, false
	}
	route = routes[best]
	key := keyOf(route)
	b.countLocked(key)
	reason = "the only replica"
	if len(routes) > 1 {
		reason = fmt.Sprintf("the least busy of %d replicas, with %d requests in flight", len(routes), bestLoad.inFlight)
	}
	return route, reason, sync.OnceFunc(func() { b.done(key) }), true
}

func (b *balancer) countLocked(key routeKey) {
	info := b.load[key]
	if info == nil {
		if len(b.load) >= maxIdleRoutes {
			b.forgetIdleLocked()
		}
		info = &loadInfo{}
		b.load[key] = info
	}
	b.chosen++
	info.inFlight++
	info.lastChosen = b.chosen
}

// forgetIdleLocked drops engines that may be long gone.
func (b *balancer) forgetIdleLocked() {
	for key, info := range b.load {
		if info.inFlight == 0 {
			delete(b.load, key)
		}
	}
}

func (b *balancer) done(key routeKey) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.load[key].inFlight--
}
