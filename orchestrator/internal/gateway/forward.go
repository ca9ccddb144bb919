package gateway

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/gateway/routing"
	"github.com/orchion/orchion/orchestrator/internal/gateway/upstream"
	"github.com/orchion/orchion/orchestrator/internal/label"
	"github.com/orchion/orchion/orchestrator/internal/model"
)

// maxTries bounds the replicas that one request is sent to.
const maxTries = 3

// Headers by which a client says how it wants to be served, and learns how it was.
const (
	headerNodeLabels  = "X-Orchion-Node-Labels"
	headerNode        = "X-Orchion-Node"
	headerReplica     = "X-Orchion-Replica"
	headerModel       = "X-Orchion-Model"
	headerRouteReason = "X-Orchion-Route-Reason"
)

// nodeLabels reads where a client wants its request to be served.
func nodeLabels(r *http.Request) (label.Selector, *apiError) {
	values := r.Header[headerNodeLabels]
	if len(values) == 0 {
		return nil, nil
	}
	selector, err := label.Parse(strings.Join(values, ","))
	if err != nil {
		return nil, errBadRequest(fmt.Errorf("%s %w", headerNodeLabels, err), headerNodeLabels)
	}
	return selector, nil
}

// textOf gives what an engine reads of a request from its beginning, as far as
// the request's API tells it.
func textOf(r request) []byte {
	if t, ok := r.(interface{ text() []byte }); ok {
		return t.text()
	}
	return nil
}

// forward sends the call to one replica after the other until one answers.
// Another is tried only while nothing of an answer has come back. What it gives is
// why none has answered; nil: the client was answered.
func (g *Gateway) forward(w http.ResponseWriter, r *http.Request, c *call, ask *routing.Ask) *apiError {
	var history []string // of the replicas that failed
	var last *apiError
	for try := 1; try <= maxTries; try++ {
		lease, failure := g.acquire(r, c, ask)
		if failure != nil && last == nil {
			last = failure
		}
		if lease == nil {
			break
		}
		var done bool
		history, last, done = g.attempt(w, r, c, lease, try < maxTries && lease.Others > 0, history)
		if done {
			return nil
		}
		if last.Status == http.StatusGatewayTimeout {
			break // whoever waited that long does not want to wait again
		}
	}
	return last
}

// attempt sends the call to the replica of a lease. done is false when the
// client was not answered; then history has grown by what happened.
func (g *Gateway) attempt(w http.ResponseWriter, r *http.Request, c *call, lease *routing.Lease, more bool, history []string) (_ []string, failure *apiError, done bool) {
	outcome := routing.Outcome{}
	defer func() { lease.Done(outcome) }() // also when a broken answer leaves by a panic
	route := lease.Route
	asked := time.Now()
	p, res, failure, err := g.ask(r, c, route)
	if failure != nil { // another engine may be able to do what is asked
		return append(history, route.NodeID+" cannot do what is asked"), failure, false
	}
	if err != nil {
		if r.Context().Err() != nil {
			return nil, nil, true // the client left: nobody reads an answer
		}
		outcome.Verdict = routing.Broken
		c.noteUnanswered(route.NodeID, asked, err)
		g.log.WarnContext(r.Context(), "engine did not answer", "node_id", route.NodeID,
			"replica_id", route.ReplicaID, "model", route.Model, "error", err,
			"request_id", requestIDOf(r.Context()))
		return append(history, route.NodeID+" failed"), g.engineError(err, route), false
	}
	defer res.Body.Close()
	outcome.Verdict = verdictOn(res.StatusCode)
	if more && worthRetrying(res.StatusCode) {
		failure := errEngine(fmt.Sprintf("the engine on node %s answered %d", route.NodeID, res.StatusCode))
		return append(history, fmt.Sprintf("%s answered %d", route.NodeID, res.StatusCode)), failure, false
	}
	reason := lease.Why()
	if len(history) > 0 {
		reason += "; before it, " + strings.Join(history, " and ")
	}
	if c.queued > 0 {
		reason += ", after " + c.queued.Round(time.Millisecond).String() + " of waiting"
	}
	if c.alias != "" {
		reason = fmt.Sprintf("for the alias %s: %s", c.alias, reason)
	}
	c.route, c.reason = route, reason
	setRouteHeaders(w.Header(), route, reason)
	defer func() { outcome = c.outcome(outcome, asked, r) }()
	g.relay(w, r, c, route, res, p.answer)
	return nil, nil, true
}

// ask sends the call to a route's engine. failure is what cannot be asked of it.
func (g *Gateway) ask(r *http.Request, c *call, route model.Route) (p prepared, res *upstream.Response, failure *apiError, err error) {
	if p, failure = c.request.prepare(route); failure != nil {
		return p, nil, failure, nil
	}
	if res, err = g.send(r.Context(), r, p, route); err != nil {
		return p, nil, nil, err
	}
	if other, ok := c.request.(rephrasing); !ok || !lacksPath(res) || !other.lacking(route) {
		return p, res, nil, nil
	}
	_ = res.Body.Close() // it was only read from
	if p, failure = c.request.prepare(route); failure != nil {
		return p, nil, failure, nil
	}
	res, err = g.send(r.Context(), r, p, route)
	return p, res, nil, err
}

// outcome completes what an answer says of its replica, when it is over.
func (c *call) outcome(o routing.Outcome, asked time.Time, r *http.Request) routing.Outcome {
	switch {
	case c.broken:
		o.Verdict = routing.Broken
		return o
	case r.Context().Err() != nil && !c.whole || o.Verdict != routing.Worked || c.wrote.IsZero():
		return o
	}
	o.Answered = true
	o.Whole = time.Since(asked)
	if c.streamed {
		o.First = c.wrote.Sub(asked)
	}
	if t := c.usage.tokens(); t.counted {
		o.Tokens = t.out
	}
	return o
}

// verdictOn says what a status tells of the engine that answered with it.
func verdictOn(status int) routing.Verdict {
	switch status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return routing.Busy
	case http.StatusBadGateway, http.StatusGatewayTimeout:
		return routing.Broken
	case http.StatusNotFound, http.StatusInternalServerError:
		// Some engines say so of requests that they do not understand: whoever
		// sends those must not be able to take a replica away from all others.
		return routing.Unknown
	}
	return routing.Worked
}

// noReplica says why no replica could be asked.
func (g *Gateway) noReplica(r *http.Request, ask *routing.Ask, err error) *apiError {
	var wrongPlace *routing.LabelsError
	var failing *routing.FailingError
	switch {
	case errors.As(err, &wrongPlace):
		return errNoSuchPlace(ask.Model, wrongPlace)
	case errors.As(err, &failing):
		return errFailing(ask.Model, failing.RetryAfter)
	default: // it went just now
		return g.noRoute(r.Context(), ask.Model)
	}
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
	values := [...]string{headerValue(route.NodeID), headerValue(route.Model), headerValue(reason), headerValue(route.ReplicaID)}
	for i, name := range [...]string{headerNode, headerModel, headerRouteReason, headerReplica} {
		if values[i] != "" || name != headerReplica {
			h[name] = values[i : i+1 : i+1]
		}
	}
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
