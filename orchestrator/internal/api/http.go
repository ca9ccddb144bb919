package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/orchion/orchion/shared/gen/openapi"
)

// readyTimeout bounds how long /readyz looks.
const readyTimeout = 2 * time.Second

// newHTTP puts together everything that is served over HTTP.
func (s *Server) newHTTP(connection *inProcess, logs *logReader) (http.Handler, error) {
	rest, err := newREST(connection)
	if err != nil {
		return nil, err
	}
	dashboard, err := newDashboard(s.cfg.Dashboard)
	if err != nil {
		return nil, err
	}
	guard, err := newGuard(s.cfg.AllowedOrigins, s.cfg.AllowedHosts)
	if err != nil {
		return nil, err
	}
	models := s.counted("gateway", s.cfg.Gateway)
	mux := http.NewServeMux()
	mux.Handle("/api/", limitBody(rest))
	mux.Handle("GET /api/events", s.counted("api_events", &eventStream{cfg: s.cfg, until: s.untilClosing}))
	mux.Handle("GET /api/jobs/{id}/logs", s.counted("api_logs", &logStream{cfg: s.cfg, logs: logs, until: s.untilClosing, report: s.statusOf}))
	mux.Handle("GET /api/deployments/{name}/logs", s.counted("api_engine_logs", &engineLog{
		deployments: &deployments{cfg: s.cfg}, until: s.untilClosing, report: s.statusOf,
	}))
	content := &blobContent{cfg: s.cfg, report: s.statusOf}
	mux.Handle("GET /api/blobs/{digest}", s.counted("api_blobs", http.HandlerFunc(content.get)))
	mux.Handle("PUT /api/blobs/{digest}", s.counted("api_blobs", http.HandlerFunc(content.put)))
	left := &artifactContent{cfg: s.cfg, until: s.untilClosing, report: s.statusOf}
	mux.Handle("GET /api/jobs/{id}/artifacts/{name...}", s.counted("api_artifacts", http.HandlerFunc(left.one)))
	mux.Handle("GET /api/jobs/{id}/artifacts", rest) // and not that of an empty name
	mux.Handle("GET /api/jobs/{id}/artifacts.tar", s.counted("api_artifacts", http.HandlerFunc(left.all)))
	mux.HandleFunc("GET /api/openapi.json", serveOpenAPI)
	mux.Handle("/rerank", models) // as vLLM has it
	mux.Handle("/ollama/", models)
	mux.Handle("/ollama", models)
	mux.Handle("/ollama/api/pull", s.counted("gateway", s.endedByClosing(s.cfg.Gateway))) // it waits for a deployment
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { writePlain(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("GET /readyz", s.serveReady)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.cfg.Metrics, promhttp.HandlerOpts{Registry: s.cfg.Metrics}))
	mux.Handle("/", dashboard)
	return s.survive(guard.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v1/") { // most of all, and it has paths of its own
			models.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	}))), nil
}

// serveReady says whether the orchestrator can do its work.
func (s *Server) serveReady(w http.ResponseWriter, r *http.Request) {
	if s.closing.Err() != nil {
		writePlain(w, http.StatusServiceUnavailable, "not ready: shutting down\n")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	if err := s.cfg.Ready(ctx); err != nil {
		st := s.statusOf(ctx, "/readyz", err)
		writePlain(w, http.StatusServiceUnavailable, "not ready: "+st.Message()+"\n")
		return
	}
	writePlain(w, http.StatusOK, "ready\n")
}

func writePlain(w http.ResponseWriter, httpStatus int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(httpStatus)
	_, _ = w.Write([]byte(text))
}

func serveOpenAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(openapi.Document)
}

// limitBody bounds what a request may send. What says so at once is refused at
// once; the rest is cut off while it is read.
func limitBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > maxMessage {
			writeStatus(w, http.StatusRequestEntityTooLarge,
				status.Newf(codes.ResourceExhausted, "body: has %d bytes; at most %d are allowed", r.ContentLength, maxMessage))
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxMessage)
		next.ServeHTTP(w, r)
	})
}

// counted counts the requests that do not go through the services.
func (s *Server) counted(path string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		recorder := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
		defer func() { s.metrics.request(path, recorder.status) }()
		next.ServeHTTP(recorder, r)
	})
}

// endedByClosing ends requests that may last for ever when the server closes.
func (s *Server) endedByClosing(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := s.untilClosing(r.Context())
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// statusRecorder remembers the status of an answer. http.ResponseController
// finds the rest through Unwrap.
type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (w *statusRecorder) WriteHeader(code int) {
	w.status = code
	w.ResponseWriter.WriteHeader(code)
}

func (w *statusRecorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// survive keeps one bad request from being answered by a torn connection.
func (s *Server) survive(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if p == http.ErrAbortHandler { //nolint:errorlint // net/http compares this value in the same way
				panic(p)
			}
			err := newPanicError(p)
			writeStatus(w, http.StatusInternalServerError, s.statusOf(r.Context(), r.Method+" "+pathKind(r.URL.Path), err))
		}()
		next.ServeHTTP(w, r)
	})
}

// pathKind is the first part of a path: enough to find a fault, and free of
// what callers put into paths.
func pathKind(path string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return "/" + clip(first)
}
