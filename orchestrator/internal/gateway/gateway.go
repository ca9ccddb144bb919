// Package gateway is the front of all replicas, for clients of OpenAI and Ollama: it finds the
// model that a request names, chooses a replica that serves it, and carries the
// request there and the answer back through a connection that the replica's
// node opened. Bodies pass through byte for byte; streams are passed on as they
// come and are cancelled at the engine when the client leaves.
//
// Errors that are the gateway's own have the shape of the API that was called. Headers of the answer
// say where it came from: X-Request-ID, X-Orchion-Model, X-Orchion-Node,
// X-Orchion-Replica and X-Orchion-Route-Reason.
package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/orchion/orchion/orchestrator/internal/gateway/meter"
	"github.com/orchion/orchion/orchestrator/internal/gateway/routing"
	"github.com/orchion/orchion/orchestrator/internal/gateway/upstream"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/model"
	"github.com/orchion/orchion/orchestrator/internal/tunnel"
)

// Routes says what there is to route to. Its methods are called for every
// request and must be cheap; what they return is not changed.
type Routes interface {
	// Routes gives the ways to a model by its exact name, ready ones only.
	Routes(model string) []model.Route
	// Models gives every model that has a route.
	Models() []model.ModelInfo
}

// Config says how a Gateway works. Routes and Dial are required.
type Config struct {
	Routes Routes
	// Dial opens a connection to an engine, as tunnel.Server.Dial does.
	Dial func(ctx context.Context, nodeID string, target tunnel.Target) (net.Conn, error)
	// Deployments gives all deployments, so that a request for a model that is
	// not ready yet can be told how far it is. Default: none.
	Deployments func() []model.Deployment
	// Demand is told how many requests there are for a model, by the name that
	// its routes or deployments have, a few times a second at most. It must not
	// block. Default: nobody is told.
	Demand func(name string, d model.Demand)
	// LeadsTo gives the models that a name leads to when none has it, in the order
	// in which they are tried. Default: no name leads anywhere.
	LeadsTo func(name string) []string
	// Aliases gives the names that lead to models. Default: none.
	Aliases func() []string
	// Changed gives a channel that is closed when the answers of Routes or
	// Deployments change. It is required where ColdTimeout is not 0.
	Changed func() <-chan struct{}
	// ColdTimeout is how long a request waits for a model that is deployed and has
	// no replica that is ready. 0: not at all.
	ColdTimeout time.Duration
	// QueueTimeout is how long a request waits for a replica that has time for it.
	// 0: not at all.
	QueueTimeout time.Duration
	// Links tells which nodes are connected, so that a request whose nodes are away for
	// a moment waits for them. Default: none waits.
	Links Links
	// ReconnectTimeout is how long a request that nobody else can answer waits for a node
	// to connect again. Default: 5 s.
	ReconnectTimeout time.Duration
	// JobModels gives the models that a job's attempt may call, and false when
	// the node does not hold the attempt any more. Default: jobs may call none.
	JobModels func(nodeID string, ref job.Ref) (models []string, ok bool)
	// Manager makes and deletes deployments for clients that pull and delete
	// models. Default: they cannot.
	Manager Manager
	// Meter is told of every call. Default: nobody is.
	Meter *meter.Meter
	// NodeLabels gives the labels of a node, so that a client can say where it
	// wants to be served. Default: nodes have none.
	NodeLabels func(nodeID string) map[string]string
	// Logger defaults to one that discards.
	Logger *slog.Logger
	// Metrics is where the metrics are registered; nil: nowhere.
	Metrics prometheus.Registerer

	// MaxBody bounds a request's body. Default: 32 MiB.
	MaxBody int64
	// MaxBodies bounds all requests' bodies held at once. Default: 512 MiB.
	MaxBodies int64
	// FirstByteTimeout is how long an engine may take until its answer begins;
	// without streaming that is the whole generation. Default: 10 min.
	FirstByteTimeout time.Duration
	// BodyTimeout is how long a client may pause while it sends. Default: 30 s.
	BodyTimeout time.Duration
	// IdleTimeout is how long an unused connection to an engine is kept.
	// Default: 90 s.
	IdleTimeout time.Duration
}

func (c *Config) applyDefaults() {
	if c.Deployments == nil {
		c.Deployments = func() []model.Deployment { return nil }
	}
	if c.LeadsTo == nil {
		c.LeadsTo = func(string) []string { return nil }
	}
	if c.Aliases == nil {
		c.Aliases = func() []string { return nil }
	}
	if c.JobModels == nil {
		c.JobModels = func(string, job.Ref) ([]string, bool) { return nil, false }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.ReconnectTimeout <= 0 {
		c.ReconnectTimeout = 5 * time.Second
	}
	if c.MaxBody <= 0 {
		c.MaxBody = 32 << 20
	}
	if c.MaxBodies <= 0 {
		c.MaxBodies = 512 << 20
	}
	c.MaxBodies = max(c.MaxBodies, c.MaxBody)
	if c.FirstByteTimeout <= 0 {
		c.FirstByteTimeout = 10 * time.Minute
	}
	if c.BodyTimeout <= 0 {
		c.BodyTimeout = 30 * time.Second
	}
	if c.IdleTimeout <= 0 {
		c.IdleTimeout = 90 * time.Second
	}
}

// Gateway is an http.Handler for the paths at which models are called.
type Gateway struct {
	cfg   Config
	log   *slog.Logger
	mux   *http.ServeMux
	paths []string // of the mux, at which models can be called
	// calls are what serves them.
	calls map[string]http.HandlerFunc
	// ollamaPaths are those of Ollama's API, with their methods.
	ollamaPaths []string
	catalogue   catalogue
	pulls       pulls
	engines     *upstream.Client
	addresses   engineAddresses
	lacks       lacks
	router      *routing.Router
	bodies      *semaphore.Weighted
	demand      *demandMeter
	waiting     atomic.Int64 // requests that wait for models
	metrics     *metrics
	jobs        callServer
}

// New makes a gateway. It panics when a required field is missing or a metric
// is registered already, which are mistakes of the program.
func New(cfg Config) *Gateway {
	cfg.applyDefaults()
	if cfg.Routes == nil || cfg.Dial == nil {
		panic("gateway: Config needs Routes and Dial")
	}
	if cfg.Changed == nil && cfg.ColdTimeout > 0 {
		panic("gateway: Config needs Changed to wait for models")
	}
	g := &Gateway{
		cfg:     cfg,
		log:     cfg.Logger,
		router:  routing.New(routing.Config{Routes: cfg.Routes.Routes, NodeLabels: cfg.NodeLabels}),
		demand:  newDemandMeter(cfg.Demand),
		bodies:  semaphore.NewWeighted(cfg.MaxBodies),
		metrics: newMetrics(cfg.Metrics),
		calls:   make(map[string]http.HandlerFunc),
	}
	g.engines = newEngines(cfg)
	g.mux = g.newMux()
	return g
}

// Close closes the connections to engines that are not in use.
func (g *Gateway) Close() {
	g.demand.close()
	g.engines.Close()
}

// Busy says whether a replica of a model answers a request now.
func (g *Gateway) Busy(name, nodeID, replicaID string) bool {
	return g.InFlight(name, nodeID, replicaID) > 0
}

// InFlight counts the requests that a replica of a model answers now.
func (g *Gateway) InFlight(name, nodeID, replicaID string) int {
	return g.router.InFlight(name, nodeID, replicaID)
}

// ServeHTTP serves a request.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	known := &knownRequest{Context: r.Context(), id: [1]string{requestID(r)}}
	w.Header()["X-Request-Id"] = known.id[:]
	r = r.WithContext(known)
	// Most requests are for a path as it stands, and the mux need not look for it.
	if serve := g.calls[r.URL.Path]; serve != nil && r.Method == http.MethodPost && r.URL.RawPath == "" {
		serve(w, r)
		return
	}
	// The mux answers a path like //v1/models with a redirect to the clean one,
	// which an API client would not follow with its body.
	if strings.Contains(r.URL.Path, "//") {
		g.unknownPath(w, r)
		return
	}
	g.mux.ServeHTTP(w, r)
}

type requestIDKey struct{}

// knownRequest is the context of a request with its id, as a header holds it.
type knownRequest struct {
	context.Context //nolint:containedctx // it is one

	id [1]string
}

// Value gives the request itself for its key.
func (k *knownRequest) Value(key any) any {
	if key == (requestIDKey{}) {
		return k
	}
	return k.Context.Value(key)
}

// requestID takes the client's id when it is fit for logs and headers.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	if id == "" || len(id) > 128 || strings.ContainsFunc(id, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return newID()
	}
	return id
}

// newID makes a random UUID. It names a request and keeps no secret.
func newID() string {
	var id uuid.UUID
	binary.NativeEndian.PutUint64(id[:8], rand.Uint64()) //nolint:gosec // no secret
	binary.NativeEndian.PutUint64(id[8:], rand.Uint64()) //nolint:gosec // no secret
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80      // version 4, of RFC 9562
	return id.String()
}

func requestIDOf(ctx context.Context) string {
	if known, ok := ctx.Value(requestIDKey{}).(*knownRequest); ok {
		return known.id[0]
	}
	return "" // there is none in a test
}

// isClientGone says whether a request ended because its client left.
func isClientGone(ctx context.Context) bool {
	return errors.Is(ctx.Err(), context.Canceled)
}
