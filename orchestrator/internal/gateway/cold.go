package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/model"
)

const (
	// headerTimeout says how long a client waits for a model that is not ready.
	headerTimeout = "X-Orchion-Timeout"
	// headerProgress asks for comments in a stream while its model is not ready.
	headerProgress = "X-Orchion-Progress"
	// maxWaiting bounds the requests that wait for models.
	maxWaiting = 1024
	// maxPatience bounds what a client may ask for.
	maxPatience = time.Hour
	// progressPause lies between two comments.
	progressPause = 2 * time.Second
)

// await waits until one of the models that a name means has a replica that is ready, for as
// long as the gateway and the client allow. When it gives false the client was answered.
func (g *Gateway) await(w http.ResponseWriter, r *http.Request, c *call, name string, models []string) bool {
	d := g.coming(models)
	patience, failure := g.patience(r, g.cfg.ColdTimeout)
	switch {
	case failure != nil:
	case d == nil:
		failure = g.noneOf(r.Context(), name, models)
	case patience == 0:
		g.demand.used(d.Spec.Model)
		failure = errModelNotReady(name, progressOf(*d))
	case g.waiting.Add(1) > maxWaiting:
		g.waiting.Add(-1)
		failure = errManyWait()
	}
	if failure != nil {
		c.fail(w, failure)
		return false
	}
	defer g.waiting.Add(-1)
	c.model = d.Spec.Model
	g.demand.count(c.model, 1, 0)
	defer g.demand.count(c.model, -1, 0)
	begun := time.Now()
	defer func() { c.queued += time.Since(begun) }()

	over := time.NewTimer(patience)
	defer over.Stop()
	tick := c.progress(r)
	defer tick.Stop()
	for {
		changed := g.cfg.Changed() // before the look, so that nothing is missed between
		for _, m := range models {
			if len(g.resolve(m)) > 0 {
				return true
			}
		}
		d := g.coming(models)
		if d == nil {
			c.fail(w, g.noneOf(r.Context(), name, models))
			return false
		}
		select {
		case <-changed:
		case <-tick.C:
			c.record.comment(fmt.Sprintf("waiting for the model %s: %s", quoted(name), progressOf(*d)))
		case <-over.C:
			failure := errModelNotReady(name, progressOf(*d))
			failure.Message += fmt.Sprintf("; it was waited for %s", patience)
			c.fail(w, failure)
			return false
		case <-r.Context().Done():
			return false // the client left: nobody reads an answer
		}
	}
}

// coming gives the deployment of the first of some models that may come by itself; nil:
// none will.
func (g *Gateway) coming(models []string) *model.Deployment {
	for _, name := range models {
		if d := g.deploymentOf(name); d != nil && comes(d) {
			return d
		}
	}
	return nil
}

// noneOf says why no model that a name means can answer.
func (g *Gateway) noneOf(ctx context.Context, name string, models []string) *apiError {
	for _, m := range models {
		if g.deploymentOf(m) != nil {
			return g.noRoute(ctx, m)
		}
	}
	failure := g.noRoute(ctx, name)
	if len(models) > 1 || models[0] != name {
		failure.Message = fmt.Sprintf("the alias %q leads to %s, and none of them is deployed", name, enumerate(models))
	}
	return failure
}

// patience is how long a request may wait: as long as its client says, up to limit.
func (g *Gateway) patience(r *http.Request, limit time.Duration) (time.Duration, *apiError) {
	text := r.Header.Get(headerTimeout)
	if text == "" {
		return limit, nil
	}
	wanted, err := time.ParseDuration(text)
	if seconds, notSeconds := strconv.ParseFloat(text, 64); notSeconds == nil {
		wanted, err = time.Duration(seconds*float64(time.Second)), nil
	}
	if err != nil || wanted < 0 || wanted > maxPatience {
		return 0, errBadRequest(fmt.Errorf("%s is %.40q, want seconds or a duration such as 90s, from 0 to %s", headerTimeout, text, maxPatience), headerTimeout)
	}
	return min(wanted, limit), nil
}

// comes says whether a deployment without a ready replica may have one without anybody's
// doing. Who asks for a model whose replicas have all failed is told why.
func comes(d *model.Deployment) bool {
	for i := range d.Replicas {
		if d.Replicas[i].State != model.Failed {
			return true
		}
	}
	return len(d.Replicas) == 0 && (d.Spec.Scales() || d.Spec.Replicas > 0 || d.Spec.Everywhere)
}

func errManyWait() *apiError {
	return &apiError{
		Status: http.StatusServiceUnavailable, Type: typeServer, Code: "too_many_waiting", RetryAfter: 5 * time.Second,
		Message: fmt.Sprintf("%d requests wait already for models that are not ready", maxWaiting),
	}
}

// wantsProgress says whether the client reads comments while it waits. Only a stream of
// events has such.
func (c *call) wantsProgress(r *http.Request) bool {
	if r.Header.Get(headerProgress) != "true" {
		return false
	}
	streams, ok := c.request.(interface{ streams() bool })
	return ok && streams.streams()
}

// streams says whether the client asks for a stream of events.
func (p *passing) streams() bool {
	var body struct {
		Stream bool `json:"stream"`
	}
	return p.contentType == "application/json" && json.Unmarshal(p.body, &body) == nil && body.Stream
}

func (*ollamaCall) streams() bool      { return false } // its lines have no comments
func (a *anthropicCall) streams() bool { return a.request.Stream() }

// fail answers with an error, in a stream's words if one has begun.
func (c *call) fail(w http.ResponseWriter, e *apiError) {
	if !c.record.begun {
		c.endpoint.writeError(w, e)
		return
	}
	_, _ = w.Write(c.endpoint.streamError(nil, e)) // a client that left needs no answer
	_ = http.NewResponseController(w).Flush()      // likewise
}
