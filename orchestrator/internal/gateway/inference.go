package gateway

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/gateway/routing"
	"github.com/orchion/orchion/orchestrator/internal/model"
)

// call is one request on its way.
type call struct {
	endpoint *endpoint
	request  request
	model    string // as metrics and messages name it; empty: not known
	started  time.Time
	// wrote is when the first byte of the answer's body went out; zero: not yet.
	wrote time.Time
	// streamed is true when the engine's answer comes piece by piece, broken that
	// it broke off.
	streamed, broken bool
	// queued is how long it waited until its model was ready.
	queued time.Duration
	// route and reason are those of the replica that answered.
	route  model.Route
	reason string
	usage  usage
	// record is of the answer, and here to be no allocation of its own.
	record statusRecorder
}

// inference serves an endpoint that runs a model.
func (g *Gateway) inference(e *endpoint) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c := &call{endpoint: e, started: time.Now()}
		g.metrics.inFlight.Inc()
		defer g.metrics.inFlight.Dec()
		record := &c.record
		record.ResponseWriter = w
		// Deferred, because a broken answer leaves by a panic.
		defer func() {
			status := record.status
			if status == 0 || isClientGone(r.Context()) {
				status = statusClientGone
			}
			g.metrics.observe(c, status)
			g.meter(r.Context(), c, status)
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
	if itself, ok := request.(selfAnswering); ok && itself.answerItself(g, w, r, c) {
		return
	}
	labels, failure := nodeLabels(r)
	if failure != nil {
		c.endpoint.writeError(w, failure)
		return
	}
	routes := g.resolve(name)
	if len(routes) == 0 {
		if routes = g.awaitRoutes(w, r, c, name); len(routes) == 0 {
			return
		}
	}
	c.model = routes[0].Model
	g.demand.begin(c.model)
	defer g.demand.end(c.model)
	g.forward(w, r, c, &routing.Ask{Model: c.model, Labels: labels, Text: textOf(request)})
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

// deploymentOf gives the first deployment of a model; nil: there is none.
func (g *Gateway) deploymentOf(name string) *model.Deployment {
	list := g.cfg.Deployments()
	for i := range list {
		if d := &list[i]; sameModel(d.Spec.Model, name) && !d.Deleting {
			return d
		}
	}
	return nil
}

// noRoute says why there is no way to a model.
func (g *Gateway) noRoute(ctx context.Context, name string) *apiError {
	if d := g.deploymentOf(name); d != nil {
		return errModelNotReady(name, progressOf(*d))
	}
	var known []string
	for _, info := range g.visibleModels(ctx) {
		known = append(known, info.ID)
	}
	return errUnknownModel(name, known)
}
