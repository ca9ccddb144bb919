package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/orchion/orchion/orchestrator/internal/gateway/ollama"
	"github.com/orchion/orchion/orchestrator/internal/gateway/upstream"
	"github.com/orchion/orchion/orchestrator/internal/model"
)

// ollamaRoot is where Ollama's own API is found: OLLAMA_HOST=http://host:port/ollama.
const ollamaRoot = "/ollama"

// ollamaVersion is the version of Ollama whose API this is.
const ollamaVersion = "0.6.5"

// engineOllama is what routes call an engine that speaks Ollama's API.
const engineOllama = "ollama"

// ollamaAPI is the dialect of the paths below /ollama.
type ollamaAPI struct{}

func (ollamaAPI) writeError(w http.ResponseWriter, e *apiError) {
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((e.RetryAfter+time.Second-1)/time.Second)))
	}
	body := ollama.Error(ollamaMessage(e))
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(e.Status)
	_, _ = w.Write(body) // a client that left needs no answer
}

// ollamaMessage gives an error's words. Clients of Ollama know a model that is
// not there by the words "not found".
func ollamaMessage(e *apiError) string {
	if e.Code == "model_not_found" {
		return "model not found: " + e.Message
	}
	return e.Message
}

func (ollamaAPI) streamError(sent []byte, e *apiError) []byte {
	line := ollama.ErrorLine(ollamaMessage(e))
	if len(sent) > 0 && !bytes.HasSuffix(sent, newline) {
		return append([]byte("\n"), line...) // what was cut off is not part of this line
	}
	return line
}

// whole looks at the last line of a stream, whose beginning may be out of sight:
// it says that it is the last, counts what only the last counts, or is an error.
func (ollamaAPI) whole(tail []byte) bool {
	last, ended := bytes.CutSuffix(tail, newline)
	if i := bytes.LastIndexByte(last, '\n'); i >= 0 {
		last = last[i+1:]
	}
	if !ended || !bytes.HasSuffix(last, []byte("}")) || bytes.Contains(last, []byte(`"done":false`)) {
		return false
	}
	return bytes.Contains(last, []byte(`"done":true`)) || bytes.Contains(last, []byte(`"total_duration":`)) ||
		bytes.HasPrefix(last, []byte(`{"error":`))
}

// ollamaEndpoints are those at which models can be called.
func ollamaEndpoints() []*endpoint {
	var all []*endpoint
	for _, path := range []string{ollama.Chat, ollama.Generate, ollama.Embed, ollama.Embeddings} {
		all = append(all, &endpoint{path: ollamaRoot + path, dialect: ollamaAPI{}, understand: understandOllama, saysWhole: true})
	}
	return all
}

// handleOllama serves Ollama's API.
func (g *Gateway) handleOllama(mux *http.ServeMux) {
	handle := func(method, path string, serve http.HandlerFunc) {
		mux.HandleFunc(method+" "+ollamaRoot+path, serve)
		mux.HandleFunc(ollamaRoot+path, methodNotAllowed(ollamaAPI{}, method))
		g.ollamaPaths = append(g.ollamaPaths, method+" "+ollamaRoot+path)
	}
	for _, e := range ollamaEndpoints() {
		handle(http.MethodPost, strings.TrimPrefix(e.path, ollamaRoot), g.inference(e))
	}
	handle(http.MethodPost, "/api/show", g.ollamaShow)
	handle(http.MethodGet, "/api/tags", g.ollamaTags)
	handle(http.MethodGet, "/api/ps", g.ollamaPs)
	handle(http.MethodPost, "/api/pull", g.ollamaPull)
	handle(http.MethodDelete, "/api/delete", g.ollamaDelete)
	handle(http.MethodGet, "/api/version", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, map[string]string{"version": ollamaVersion})
	})
	for _, path := range []string{"/api/push", "/api/copy", "/api/create", "/api/blobs/{digest}"} {
		mux.HandleFunc(ollamaRoot+path, ollamaRefused)
	}
	for _, path := range []string{"", "/{$}"} {
		mux.HandleFunc("GET "+ollamaRoot+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			_, _ = w.Write([]byte("Ollama is running")) // the words that clients look for
		})
	}
	mux.HandleFunc(ollamaRoot+"/", g.unknownOllama)
}

// unknownOllama answers for paths that there are not below /ollama.
func (g *Gateway) unknownOllama(w http.ResponseWriter, r *http.Request) {
	ollamaAPI{}.writeError(w, &apiError{
		Status: http.StatusNotFound, Type: typeInvalidRequest, Code: "unknown_url",
		Message: fmt.Sprintf("unknown URL %s; there are %s", r.URL.Path, strings.Join(g.ollamaPaths, ", ")),
	})
}

// ollamaRefused answers what makes or moves models on one machine.
func ollamaRefused(w http.ResponseWriter, r *http.Request) {
	what := strings.TrimPrefix(r.URL.Path, ollamaRoot)
	ollamaAPI{}.writeError(w, &apiError{
		Status: http.StatusNotImplemented, Type: typeInvalidRequest, Code: "not_supported",
		Message: what + " is not served here: models are made and copied on one machine; ask the Ollama of that machine",
	})
}

// ollamaCall is a request to one of Ollama's endpoints. Ollama itself gets it
// as it came; other engines get a translation.
type ollamaCall struct{ passing }

func understandOllama(path string, _ *http.Request, body []byte) (request, error) {
	field, err := findModel(body)
	if err != nil {
		return nil, err
	}
	return &ollamaCall{passing{
		path: strings.TrimPrefix(path, ollamaRoot), contentType: "application/json", body: body, field: field, replace: replaceModel,
	}}, nil
}

func (o *ollamaCall) prepare(route model.Route) (prepared, *apiError) {
	if route.Engine == engineOllama {
		return o.passing.prepare(route)
	}
	t, err := ollama.Translate(o.path, o.body, ollama.Target{
		Model: servedName(route, o.field.Name), Extended: route.Engine == engineVLLM,
	})
	if err != nil {
		var wrong *ollama.FieldError
		param := ""
		if errors.As(err, &wrong) {
			param = wrong.Field
		}
		return prepared{}, errBadRequest(err, param)
	}
	return prepared{path: t.Path, contentType: "application/json", body: t.Body, answer: ollamaAnswer{t.Answer}}, nil
}

// servedName is what a route's engine calls a model that a client calls name.
func servedName(route model.Route, name string) string {
	if route.ServedModel != "" {
		return route.ServedModel
	}
	if sameModel(route.Model, name) {
		return name
	}
	return route.Model // the client asked for an alias
}

// ollamaAnswer is a translation into Ollama's words.
type ollamaAnswer struct{ *ollama.Answer }

func (a ollamaAnswer) document(body []byte) ([]byte, error)   { return a.Document(body) }
func (a ollamaAnswer) streamType() string                     { return a.StreamType() }
func (a ollamaAnswer) event(dst, data []byte) ([]byte, error) { return a.Event(dst, data) }
func (a ollamaAnswer) end(dst []byte) ([]byte, error)         { return a.End(dst) }

// maxIdleText is the longest empty prompt or list of messages: null.
const maxIdleText = 4

// answerItself answers a request that asks no model anything: to unload it
// everywhere, or to have it loaded where it always is.
func (o *ollamaCall) answerItself(g *Gateway, w http.ResponseWriter, r *http.Request, c *call) bool {
	if len(o.text()) > maxIdleText {
		return false
	}
	idle, unload := ollama.Idle(o.path, o.body)
	if !idle {
		return false
	}
	name := o.field.Name
	routes := g.resolve(name)
	if len(routes) == 0 && (!unload || g.deploymentOf(name) == nil) {
		return false // and there is an error for it
	}
	engines := ollamaRoutes(routes)
	reason := "load"
	if unload {
		reason = "unload"
		if failure := g.unload(r.Context(), r, engines); failure != nil {
			ollamaAPI{}.writeError(w, failure)
			return true
		}
	} else if len(engines) > 0 {
		return false // Ollama loads it
	}
	if len(routes) > 0 {
		c.model = routes[0].Model
	}
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(ollama.Idled(o.path, name, reason)) // a client that left needs no answer
	return true
}

// ollamaRoutes gives those of some routes that lead to an Ollama.
func ollamaRoutes(routes []model.Route) []model.Route {
	var found []model.Route
	for _, route := range routes {
		if route.Engine == engineOllama {
			found = append(found, route)
		}
	}
	return found
}

const (
	// unloadTimeout bounds how long an engine may take to let go of a model.
	unloadTimeout = 10 * time.Second
	// askedAtOnce bounds the engines that one request asks at the same time.
	askedAtOnce = 16
)

// unload has every engine of some routes let go of its model.
func (g *Gateway) unload(ctx context.Context, r *http.Request, routes []model.Route) *apiError {
	ctx, cancel := context.WithTimeout(ctx, unloadTimeout)
	defer cancel()
	var group errgroup.Group
	group.SetLimit(askedAtOnce)
	var mu sync.Mutex
	var failure *apiError // the first; guarded by mu
	for _, route := range routes {
		group.Go(func() error {
			res, err := g.send(ctx, r, prepared{
				path: ollama.Generate, contentType: "application/json",
				body: fmt.Appendf(nil, `{"model":%s,"keep_alive":0}`, quoted(servedName(route, route.Model))),
			}, route)
			var failed *apiError
			if err != nil {
				failed = g.engineError(err, route)
			} else {
				failed = g.unloaded(res, route)
			}
			mu.Lock()
			defer mu.Unlock()
			if failure == nil {
				failure = failed
			}
			return nil
		})
	}
	_ = group.Wait() // each tells its failure itself
	return failure
}

// unloaded reads the answer of an engine that was to let go of a model.
func (g *Gateway) unloaded(res *upstream.Response, route model.Route) *apiError {
	defer res.Body.Close()
	if res.StatusCode < http.StatusBadRequest || res.StatusCode == http.StatusNotFound {
		return nil // it has not got it, or not any more
	}
	return g.relayedError(res, mediaType(res.Header.Get("Content-Type")), route, ollama.Generate)
}
