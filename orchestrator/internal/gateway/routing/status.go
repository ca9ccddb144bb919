package routing

import (
	"time"

	"github.com/orchion/orchion/orchestrator/internal/model"
)

// QueueStatus is how the requests for a model stand.
type QueueStatus struct {
	Model string
	// Interactive and Batch wait for a replica, Oldest since when the one that has
	// waited longest; zero: none waits.
	Interactive, Batch int
	Oldest             time.Time
	// InFlight are being answered, by so many Replicas that are ready.
	InFlight, Replicas int
	// MaxInFlight is how many they may answer at once; 0: there is no limit.
	MaxInFlight int
	// MaxQueued is how many may wait.
	MaxQueued int
}

// ReplicaStatus is what is known of a replica.
type ReplicaStatus struct {
	Route    model.Route
	InFlight int
	Breaker  BreakerState
	// RetryAfter is how long a replica whose breaker is open is left alone.
	RetryAfter time.Duration
	// First is its time to the first token and Rate its tokens/s, as measured
	// lately; 0: not measured.
	First time.Duration
	Rate  float64
}

// Status answers how the requests for a model stand, and the replicas that are ready.
func (r *Router) Status(name string) (QueueStatus, []ReplicaStatus) {
	routes := r.cfg.Routes(name)
	replicas := make([]ReplicaStatus, len(routes))
	status := QueueStatus{Model: name, Replicas: len(routes)}
	limited := true
	for i := range routes {
		replicas[i].Route = routes[i]
		status.MaxInFlight += routes[i].MaxInFlight
		status.MaxQueued = max(status.MaxQueued, routes[i].MaxQueued)
		limited = limited && routes[i].MaxInFlight > 0
	}
	if !limited {
		status.MaxInFlight, status.MaxQueued = 0, 0
	}
	r.mu.RLock()
	p := r.pools[name]
	r.mu.RUnlock()
	if p == nil {
		return status, replicas
	}
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	status.Interactive, status.Batch = p.queue.classes[Interactive].length, p.queue.classes[Batch].length
	for t := range p.queue.order() {
		if status.Oldest.IsZero() || t.since.Before(status.Oldest) {
			status.Oldest = t.since
		}
	}
	for i := range replicas {
		known := p.known[keyOf(&routes[i])]
		if known == nil {
			continue
		}
		s := &replicas[i]
		s.InFlight, s.Breaker, s.RetryAfter = known.inFlight, known.breaker.State(now), known.breaker.Wait(now)
		s.First = time.Duration(known.speed.first.blend(0, now) * float64(time.Second))
		s.Rate = known.speed.rate.blend(0, now)
		status.InFlight += known.inFlight
	}
	return status, replicas
}
