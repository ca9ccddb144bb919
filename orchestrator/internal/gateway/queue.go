package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/gateway/routing"
	"github.com/orchion/orchion/orchestrator/internal/tunnel"
)

// headerPriority says how urgent a request is.
const headerPriority = "X-Orchion-Priority"

// classOf reads how urgent a request is. A job's is not, unless it says so: whoever waits
// for an answer at a keyboard goes first.
func classOf(r *http.Request) (routing.Class, *apiError) {
	switch priority := r.Header.Get(headerPriority); priority {
	case routing.Interactive.String():
		return routing.Interactive, nil
	case routing.Batch.String():
		return routing.Batch, nil
	case "":
		if _, job := r.Context().Value(callerKey{}).(tunnel.Caller); job {
			return routing.Batch, nil
		}
		return routing.Interactive, nil
	default:
		return 0, errBadRequest(fmt.Errorf("%s is %.40q; interactive and batch are allowed", headerPriority, priority), headerPriority)
	}
}

// acquire gives the call a replica, after a wait in the model's queue if all have as much
// as they may. Without a lease and a failure the client left.
func (g *Gateway) acquire(r *http.Request, c *call, ask *routing.Ask) (*routing.Lease, *apiError) {
	lease, ticket, err := g.router.Acquire(ask)
	switch {
	case err != nil:
		return nil, g.refusal(r, ask, err)
	case ticket != nil:
		return g.queue(r, c, ask, ticket)
	default:
		return lease, nil
	}
}

// refusal says why a request gets no replica.
func (g *Gateway) refusal(r *http.Request, ask *routing.Ask, err error) *apiError {
	var full *routing.QueueFullError
	if errors.As(err, &full) {
		return errQueueFull(ask.Model, full)
	}
	return g.noReplica(r, ask, err)
}

// queue waits until it is a ticket's turn, for as long as the gateway and the client allow.
func (g *Gateway) queue(r *http.Request, c *call, ask *routing.Ask, ticket *routing.Ticket) (*routing.Lease, *apiError) {
	defer ticket.Leave()
	patience, failure := g.patience(r, g.cfg.QueueTimeout)
	if failure != nil {
		return nil, failure
	}
	g.metrics.queued.Inc()
	defer g.metrics.queued.Dec()
	// It is no work for a replica yet, and a reason for another one.
	g.demand.count(ask.Model, 1, -1)
	defer g.demand.count(ask.Model, -1, 1)
	begun := time.Now()
	defer func() { c.queued += time.Since(begun) }()

	over := time.NewTimer(max(patience-c.queued, 0))
	defer over.Stop()
	tick := c.progress(r)
	defer tick.Stop()
	for {
		select {
		case <-ticket.Ready():
			lease, err := ticket.Take()
			if err != nil {
				return nil, g.refusal(r, ask, err)
			}
			return lease, nil
		default:
		}
		select {
		case <-ticket.Ready():
		case <-tick.C:
			place, of := ticket.Place()
			c.record.comment(fmt.Sprintf("waiting for a replica of the model %s: request %d of %d in its queue", quoted(ask.Model), place, of))
		case <-over.C:
			place, of := ticket.Place()
			return nil, errQueueTimeout(ask.Model, time.Since(begun), place, of)
		case <-r.Context().Done():
			return nil, nil // nobody reads an answer
		}
	}
}

// progress begins a stream of comments if the client wants one. Without it the ticker
// never ticks.
func (c *call) progress(r *http.Request) *time.Ticker {
	ticker := time.NewTicker(progressPause)
	if !c.wantsProgress(r) {
		ticker.Stop()
		return ticker
	}
	if !c.record.begun {
		c.record.begin("text/event-stream")
	}
	return ticker
}

func errQueueFull(name string, full *routing.QueueFullError) *apiError {
	return &apiError{
		Status: http.StatusTooManyRequests, Type: typeRateLimit, Code: "queue_full", RetryAfter: full.RetryAfter,
		Message: fmt.Sprintf("the replicas of the model %q have all they can do, and %d requests wait already, the most allowed", name, full.Queued),
	}
}

func errQueueTimeout(name string, waited time.Duration, place, of int) *apiError {
	return &apiError{
		Status: http.StatusServiceUnavailable, Type: typeServer, Code: "queue_timeout", RetryAfter: 5 * time.Second,
		Message: fmt.Sprintf("the replicas of the model %q have all they can do: after %s this was request %d of %d in its queue",
			name, waited.Round(100*time.Millisecond), place, of),
	}
}

// Traffic answers how the requests for a model stand, and its replicas that are ready;
// with an empty name, those of all models that have some.
func (g *Gateway) Traffic(name string) (queues []routing.QueueStatus, replicas []routing.ReplicaStatus) {
	for _, info := range g.cfg.Routes.Models() {
		if name != "" && info.ID != name {
			continue
		}
		q, ready := g.router.Status(info.ID)
		queues, replicas = append(queues, q), append(replicas, ready...)
	}
	return queues, replicas
}
