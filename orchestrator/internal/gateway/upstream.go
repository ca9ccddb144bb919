package gateway

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/orchion/orchion/orchestrator/internal/gateway/upstream"
	"github.com/orchion/orchion/orchestrator/internal/model"
	"github.com/orchion/orchion/orchestrator/internal/tunnel"
)

// newEngines makes the client of all engines.
func newEngines(cfg Config) *upstream.Client {
	return upstream.New(upstream.Config{
		Dial: func(ctx context.Context, key upstream.Key) (net.Conn, error) {
			return cfg.Dial(ctx, key.NodeID, tunnel.Target{ReplicaID: key.ReplicaID, EngineEndpoint: key.Endpoint})
		},
		FirstByteTimeout: cfg.FirstByteTimeout,
		IdleTimeout:      cfg.IdleTimeout,
	})
}

// passedHeaders are those that reach an engine. Everything else stays here:
// credentials, cookies, and what a browser says of the page that asks. An engine is
// not told that its answer may be compressed, since an error event could not be put
// into a compressed stream.
var passedHeaders = [...]string{"Accept", "User-Agent", "Traceparent", "Tracestate"}

// outgoing is a request to an engine in one piece of memory.
type outgoing struct {
	request upstream.Request
	fields  [len(passedHeaders) + 2]upstream.Field
}

// send sends a request to a route's engine and answers with what comes back. r
// is what the client sent.
func (g *Gateway) send(ctx context.Context, r *http.Request, p prepared, route model.Route) (*upstream.Response, error) {
	address := g.addresses.of(route.EngineEndpoint)
	target := address.prefix + p.path
	if r.URL.RawQuery != "" {
		target += "?" + r.URL.RawQuery
	}
	out := &outgoing{}
	fields := out.fields[:0]
	for _, name := range passedHeaders {
		for _, value := range r.Header[name] {
			fields = append(fields, upstream.Field{Name: name, Value: value})
		}
	}
	fields = append(fields, upstream.Field{Name: "Content-Type", Value: p.contentType}, upstream.Field{Name: "X-Request-Id", Value: requestIDOf(ctx)})
	out.request = upstream.Request{Method: http.MethodPost, Target: target, Host: address.host, Header: fields, Body: p.body}
	res, err := g.engines.Do(ctx, upstream.Key{NodeID: route.NodeID, ReplicaID: route.ReplicaID, Endpoint: route.EngineEndpoint}, &out.request)
	if err != nil {
		return nil, fmt.Errorf("ask the engine: %w", err)
	}
	return res, nil
}

// engineAddress is the Host header for an engine and what comes before /v1 in its
// paths, escaped.
type engineAddress struct{ host, prefix string }

// engineAddresses remembers what the endpoints of adopted engines say.
type engineAddresses struct {
	mu    sync.Mutex
	known map[string]engineAddress // by endpoint; guarded by mu
}

// maxAddresses bounds what is remembered.
const maxAddresses = 1024

// of gives the address of an engine. Engines of ours, which have no endpoint, see
// localhost, which Ollama's guard against DNS rebinding lets through; an adopted one
// sees its own name.
func (a *engineAddresses) of(endpoint string) engineAddress {
	if endpoint == "" {
		return engineAddress{host: "localhost"}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if known, ok := a.known[endpoint]; ok {
		return known
	}
	address := engineAddress{host: "localhost"}
	if u, err := url.Parse(endpoint); err == nil && u.Host != "" {
		address = engineAddress{host: u.Host, prefix: strings.TrimSuffix(u.EscapedPath(), "/")}
	}
	if a.known == nil || len(a.known) >= maxAddresses {
		a.known = make(map[string]engineAddress)
	}
	a.known[endpoint] = address
	return address
}
