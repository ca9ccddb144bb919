package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/model"
)

// maxTries bounds the replicas that one request is sent to.
const maxTries = 3

// call is one request on its way.
type call struct {
	endpoint *endpoint
	request  request
	model    string // as metrics and messages name it; empty: not known
	started  time.Time
	// wrote is when the first byte of the answer's body went out; zero: not yet.
	wrote time.Time
	usage usage
}

// inference serves an endpoint that runs a model.
func (g *Gateway) inference(e *endpoint) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c := &call{endpoint: e, started: time.Now()}
		g.metrics.inFlight.Inc()
		defer g.metrics.inFlight.Dec()
		record := &statusRecorder{ResponseWriter: w}
		// Deferred, because a broken answer leaves by a panic.
		defer func() {
			status := record.status
			if status == 0 || isClientGone(r.Context()) {
				status = statusClientGone
			}
			g.metrics.observe(c, status)
		}()
		g.serveCall(record, r, c)
	}
}

func (g *Gateway) serveCall(w http.ResponseWriter, r *http.Request, c *call) {
	body, release, failure := g.readBody(w, r)
	if failure != nil {
		c.endpoint.writeError(w, failure)
		return
	}
	defer release()
	request, err := c.endpoint.understand(c.endpoint.path, r, body)
	if err != nil {
		c.endpoint.writeError(w, errMisunderstood(err))
		return
	}
	c.request = request
	name := request.asked()
	if failure := g.mayCall(r.Context(), name); failure != nil {
		c.endpoint.writeError(w, failure)
		return
	}
	routes := g.resolve(name)
	if len(routes) == 0 {
		c.endpoint.writeError(w, g.noRoute(r.Context(), name))
		return
	}
	c.model = routes[0].Model
	g.forward(w, r, c, routes)
}

// resolve gives the ways to a model: by its exact name, else by the name with
// or without the tag ":latest", which Ollama implies.
func (g *Gateway) resolve(name string) []model.Route {
	if routes := g.cfg.Routes.Routes(name); len(routes) > 0 {
		return routes
	}
	return g.cfg.Routes.Routes(otherName(name))
}

const latest = ":latest"

// otherName gives the name with ":latest" if it has no tag, and without if it
// has that one.
func otherName(name string) string {
	if base, ok := strings.CutSuffix(name, latest); ok {
		return base
	}
	if strings.Contains(name[strings.LastIndexByte(name, '/')+1:], ":") {
		return name
	}
	return name + latest
}

// sameModel says whether two names mean one model.
func sameModel(a, b string) bool { return a == b || otherName(a) == b }

// noRoute says why there is no way to a model.
func (g *Gateway) noRoute(ctx context.Context, name string) *apiError {
	for _, d := range g.cfg.Deployments() {
		if sameModel(d.Spec.Model, name) && !d.Deleting {
			return errModelNotReady(name, progressOf(d))
		}
	}
	var known []string
	for _, info := range g.visibleModels(ctx) {
		known = append(known, info.ID)
	}
	return errUnknownModel(name, known)
}

// forward sends the call to one replica after the other until one answers.
// Another is tried only while nothing of an answer has come back.
func (g *Gateway) forward(w http.ResponseWriter, r *http.Request, c *call, routes []model.Route) {
	excluded := make(map[routeKey]bool)
	var history []string // of the replicas that failed
	var last *apiError
	for range maxTries {
		route, reason, done, ok := g.balancer.choose(routes, excluded)
		if !ok {
			break
		}
		if len(history) > 0 {
			reason += "; before it, " + strings.Join(history, " and ")
		}
		excluded[keyOf(route)] = true
		more := len(excluded) < len(routes) && len(excluded) < maxTries
		p, failure := c.request.prepare(route)
		if failure != nil {
			done()
			c.endpoint.writeError(w, failure)
			return
		}
		res, err := g.send(r.Context(), r, p, route)
		if err != nil {
			done()
			if r.Context().Err() != nil {
				return // the client left: nobody reads an answer
			}
			last = g.engineError(err, route)
			g.log.WarnContext(r.Context(), "engine did not answer", "node_id", route.NodeID,
				"replica_id", route.ReplicaID, "model", route.Model, "error", err,
				"request_id", requestIDOf(r.Context()))
			if last.Status == http.StatusGatewayTimeout {
				break // whoever waited that long does not want to wait again
			}
			history = append(history, route.NodeID+" failed")
			continue
		}
		if more && worthRetrying(res.StatusCode) {
			res.Body.Close()
			done()
			history = append(history, fmt.Sprintf("%s answered %d", route.NodeID, res.StatusCode))
			continue
		}
		setRouteHeaders(w.Header(), route, reason)
		func() {
			defer done()
			defer res.Body.Close()
			g.relay(w, r, c, route, res, p.answer)
		}()
		return
	}
	c.endpoint.writeError(w, last)
}

// worthRetrying says whether another replica may answer better: this one is
// overloaded, still loading, or lost its model.
func worthRetrying(status int) bool {
	switch status {
	case http.StatusNotFound, http.StatusTooManyRequests, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// engineError says what a client may know of an engine that did not answer.
func (g *Gateway) engineError(err error, route model.Route) *apiError {
	var known *fault.Error
	if errors.As(err, &known) {
		return errEngineUnreachable(known.Public())
	}
	var netErr net.Error
	if errors.As(err, &netErr) && netErr.Timeout() {
		return errEngineTimeout(g.cfg.FirstByteTimeout)
	}
	return errEngine(fmt.Sprintf("the engine on node %s broke the connection before it answered", route.NodeID))
}

func setRouteHeaders(h http.Header, route model.Route, reason string) {
	h.Set("X-Orchion-Node", headerValue(route.NodeID))
	if route.ReplicaID != "" {
		h.Set("X-Orchion-Replica", headerValue(route.ReplicaID))
	}
	h.Set("X-Orchion-Route-Reason", headerValue(reason))
}

// headerValue replaces what may not stand in a header.
func headerValue(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, s)
}
