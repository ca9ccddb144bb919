package gateway

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// endpoints are the paths at which models can be called.
func (g *Gateway) endpoints() []*endpoint {
	var all []*endpoint
	for _, path := range []string{
		"/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/rerank", "/rerank",
		"/v1/audio/speech", "/v1/images/generations",
	} {
		all = append(all, &endpoint{path: path, dialect: openAI{}, understand: understandJSON})
	}
	for _, path := range []string{"/v1/audio/transcriptions", "/v1/audio/translations"} {
		all = append(all, &endpoint{path: path, dialect: openAI{}, understand: understandForm})
	}
	all = append(all, &endpoint{path: responsesPath, dialect: responsesAPI{}, understand: g.understandResponses})
	return append(all, anthropicEndpoints()...)
}

func (g *Gateway) newMux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/models", g.listModels)
	mux.HandleFunc("GET /v1/models/{model...}", g.getModel)
	mux.HandleFunc("/v1/models", methodNotAllowed(openAI{}, http.MethodGet))
	mux.HandleFunc("/v1/models/{model...}", methodNotAllowed(openAI{}, http.MethodGet))
	for _, e := range g.endpoints() {
		g.handleCalls(mux, e)
	}
	mux.HandleFunc(responsesPath+"/{id}", g.storedResponse)
	mux.HandleFunc(responsesPath+"/{id}/{rest}", g.storedResponse)
	g.handleOllama(mux)
	mux.HandleFunc("/", g.unknownPath)
	return mux
}

func (g *Gateway) handleCalls(mux *http.ServeMux, e *endpoint) {
	g.paths = append(g.paths, e.path)
	serve := g.inference(e)
	g.calls[e.path] = serve
	mux.HandleFunc("POST "+e.path, serve)
	mux.HandleFunc(e.path, methodNotAllowed(e, http.MethodPost))
}

func methodNotAllowed(d dialect, allowed string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allowed)
		d.writeError(w, errMethod(r.Method, r.URL.Path, allowed))
	}
}

func (g *Gateway) unknownPath(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, ollamaRoot+"/") {
		g.unknownOllama(w, r)
		return
	}
	writeError(w, errPath(r.URL.Path, g.paths))
}

func errPath(path string, known []string) *apiError {
	posts := make([]string, len(known))
	for i, p := range known {
		posts[i] = "POST " + p
	}
	slices.Sort(posts)
	return &apiError{
		Status: http.StatusNotFound, Type: typeInvalidRequest, Code: "unknown_url",
		Message: fmt.Sprintf("unknown URL %s; there are GET /v1/models, %s", path, strings.Join(posts, ", ")),
	}
}
