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
	alias    string // that the client asked for; empty: it asked for the model
	started  time.Time
	// wrote is when the first byte of the answer's body went out; zero: not yet.
	wrote time.Time
	// streamed is true when the engine's answer comes piece by piece, broken that
	// it broke off.
	streamed, broken bool
	// whole is true when all that the engine had to say was written, so that a client
	// that leaves then has its answer.
	whole bool
	// queued is how long it waited until its model was ready and had time for it.
	queued time.Duration
	// unanswered are the tries that failed before anything of an answer had come.
	unanswered []unanswered
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
			if status == 0 || isClientGone(r.Context()) && !c.whole {
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
	class, failure := classOf(r)
	if failure != nil {
		c.endpoint.writeError(w, failure)
		return
	}
	ask := routing.Ask{Labels: labels, Text: textOf(request), Class: class, Caller: callerName(r.Context())}
	models := g.meant(name)
	if len(models) > 1 || models[0] != name {
		c.alias = name
	}
	failure, tried := g.askFirst(w, r, c, models, &ask)
	if !tried && g.await(w, r, c, name, models) {
		failure, tried = g.askFirst(w, r, c, models, &ask)
		if !tried { // it went again
			failure = g.noRoute(r.Context(), name)
		}
	}
	for returns := 0; failure != nil && returns < maxReturns && g.returned(r, c, models, &ask); returns++ {
		if again, tried := g.askFirst(w, r, c, models, &ask); tried { // else it went again
			failure = again
		}
	}
	if failure != nil {
		c.fail(w, failure)
	}
}

// meant gives the models that a name means: itself, or those that it leads to as an
// alias. A model wins over an alias of its name.
func (g *Gateway) meant(name string) []string {
	if len(g.resolve(name)) > 0 {
		return []string{name}
	}
	if g.deploymentOf(name) != nil {
		return []string{name}
	}
	for _, n := range []string{name, otherName(name)} {
		if models := g.cfg.LeadsTo(n); len(models) > 0 {
			return models
		}
	}
	return []string{name}
}

// askFirst asks the models that have a replica, one after the other until one answers.
// tried is false when none has one. A failure is the last one's.
func (g *Gateway) askFirst(w http.ResponseWriter, r *http.Request, c *call, models []string, ask *routing.Ask) (failure *apiError, tried bool) {
	for _, name := range models {
		routes := g.resolve(name)
		if len(routes) == 0 {
			continue
		}
		tried = true
		if failure = g.askModel(w, r, c, routes[0].Model, ask); failure == nil {
			break
		}
		if failure.Status == http.StatusGatewayTimeout {
			break // whoever waited that long does not want to wait again
		}
	}
	return failure, tried
}

func (g *Gateway) askModel(w http.ResponseWriter, r *http.Request, c *call, name string, ask *routing.Ask) *apiError {
	c.model, ask.Model = name, name
	g.demand.begin(name)
	defer g.demand.end(name) // also when a broken answer leaves by a panic
	return g.forward(w, r, c, ask)
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
