package gateway

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/gateway/routing"
)

// Links tells which nodes are connected. Its methods are called when a request has failed.
type Links interface {
	// ConnectedSince says since when a node is connected; false: it is not.
	ConnectedSince(nodeID string) (time.Time, bool)
	// Changed gives a channel that is closed when a node has come or gone since Changed
	// was called.
	Changed() <-chan struct{}
}

const (
	// maxReturns is how often one request is asked anew of nodes that are connected again.
	maxReturns = 3
	// linkGrace is how long after a broken answer it may become known that the node's
	// connection has broken with it: both are read from one connection, by two goroutines.
	linkGrace = 100 * time.Millisecond
)

// unanswered is a try of a call that ended without any answer.
type unanswered struct {
	nodeID string
	asked  time.Time
	// told is true when the node itself said why, so that its connection was whole.
	told bool
}

// noteUnanswered keeps in mind that a node did not answer.
func (c *call) noteUnanswered(nodeID string, asked time.Time, err error) {
	var known *fault.Error
	c.unanswered = append(c.unanswered, unanswered{nodeID: nodeID, asked: asked, told: errors.As(err, &known)})
}

// returned waits for a node to come back that could answer the call if it were connected:
// one that was lost while it was asked, or one that was away. It gives true when the
// models are to be asked again. What has not been answered at all may be asked again.
func (g *Gateway) returned(r *http.Request, c *call, models []string, ask *routing.Ask) bool {
	limit, failure := g.patience(r, g.cfg.ReconnectTimeout)
	if g.cfg.Links == nil || failure != nil || limit == 0 {
		return false
	}
	if !g.sinceLost(r.Context(), c, models) {
		return false
	}
	if g.waiting.Add(1) > maxWaiting {
		g.waiting.Add(-1)
		return false
	}
	defer g.waiting.Add(-1)
	begun := time.Now()
	defer func() { c.queued += time.Since(begun) }()
	over := time.NewTimer(limit)
	defer over.Stop()
	tick := c.progress(r)
	defer tick.Stop()
	away := g.away(c, models)
	for {
		changed := g.cfg.Links.Changed() // before the look, so that nothing is missed between
		back := false
		for _, nodeID := range away {
			if since, ok := g.cfg.Links.ConnectedSince(nodeID); ok && !c.askedSince(nodeID, since) {
				ask.Again(nodeID)
				back = true
			}
		}
		if back {
			return true
		}
		select {
		case <-changed:
		case <-tick.C:
			c.record.comment("waiting for a node to connect again")
		case <-over.C:
			return false
		case <-r.Context().Done():
			return false
		}
	}
}

// sinceLost says whether a node that could answer is away, or was between; it waits for
// that to become known.
func (g *Gateway) sinceLost(ctx context.Context, c *call, models []string) bool {
	if len(g.away(c, models)) > 0 {
		return true
	}
	broke := false
	for _, u := range c.unanswered {
		broke = broke || !u.told
	}
	if !broke {
		return false
	}
	over := time.NewTimer(linkGrace)
	defer over.Stop()
	for {
		changed := g.cfg.Links.Changed()
		if len(g.away(c, models)) > 0 {
			return true
		}
		select {
		case <-changed:
		case <-over.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// away gives the nodes that have one of the models and that are not connected, or have
// connected anew since they were asked.
func (g *Gateway) away(c *call, models []string) []string {
	var away []string
	for _, name := range models {
		for _, route := range g.resolve(name) {
			since, ok := g.cfg.Links.ConnectedSince(route.NodeID)
			if !ok || c.lost(route.NodeID, since) {
				away = append(away, route.NodeID)
			}
		}
	}
	return away
}

// lost says whether the connection over which a node was asked is another one by now.
func (c *call) lost(nodeID string, since time.Time) bool {
	asked := false
	for _, u := range c.unanswered {
		if u.nodeID == nodeID {
			asked = true
			if u.asked.After(since) {
				return false
			}
		}
	}
	return asked
}

// askedSince says whether a node did not answer over a connection that it has since then.
func (c *call) askedSince(nodeID string, since time.Time) bool {
	for _, u := range c.unanswered {
		if u.nodeID == nodeID && u.asked.After(since) {
			return true
		}
	}
	return false
}
