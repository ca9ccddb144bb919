package gateway

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/orchion/orchion/orchestrator/internal/model"
	"github.com/orchion/orchion/orchestrator/internal/tunnel"
)

type routeContextKey struct{}

// newTransport makes the client of all engines. A connection is pooled under
// the made-up host of its engine; what to dial travels in the context.
func newTransport(cfg Config) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			route, ok := ctx.Value(routeContextKey{}).(model.Route)
			if !ok {
				return nil, errors.New("a request without a route")
			}
			target := tunnel.Target{ReplicaID: route.ReplicaID, EngineEndpoint: route.EngineEndpoint}
			return cfg.Dial(ctx, route.NodeID, target)
		},
		// An error event could not be put into a compressed stream.
		DisableCompression:     true,
		MaxIdleConns:           4096,
		MaxIdleConnsPerHost:    256,
		IdleConnTimeout:        cfg.IdleTimeout,
		ResponseHeaderTimeout:  cfg.FirstByteTimeout,
		MaxResponseHeaderBytes: 64 << 10,
		ReadBufferSize:         32 << 10,
		WriteBufferSize:        32 << 10,
	}
}

// passedHeaders are those that reach an engine. Everything else stays here:
// credentials, cookies, and what a browser says of the page that asks.
var passedHeaders = [...]string{"Accept", "User-Agent", "Traceparent", "Tracestate"}

// send sends a request to a route's engine and answers with what comes back. r
// is what the client sent.
func (g *Gateway) send(ctx context.Context, r *http.Request, p prepared, route model.Route) (*http.Response, error) {
	body := p.body
	host, prefix := engineAddress(route)
	target := &url.URL{Scheme: "http", Host: poolHost(route), Path: prefix + p.path, RawQuery: r.URL.RawQuery}
	req := (&http.Request{
		Method:        http.MethodPost,
		URL:           target,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        make(http.Header, len(passedHeaders)+2),
		Host:          host,
		Body:          io.NopCloser(bytes.NewReader(body)),
		ContentLength: int64(len(body)),
		GetBody:       func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
	}).WithContext(context.WithValue(ctx, routeContextKey{}, route))
	for _, name := range passedHeaders {
		if values := r.Header[name]; len(values) > 0 {
			req.Header[name] = values
		}
	}
	if req.Header["User-Agent"] == nil {
		req.Header["User-Agent"] = []string{""} // else net/http adds its own
	}
	req.Header.Set("Content-Type", p.contentType)
	req.Header.Set("X-Request-Id", requestIDOf(ctx))
	// With this entry, which is not sent, and GetBody the transport repeats by
	// itself what it sent into a pooled connection that the engine had closed.
	req.Header["Idempotency-Key"] = []string{}
	res, err := g.transport.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("ask the engine: %w", err)
	}
	return res, nil
}

// poolHost names the pool of connections to an engine.
func poolHost(route model.Route) string {
	sum := sha256.Sum256([]byte(route.NodeID + "\x00" + route.ReplicaID + "\x00" + route.EngineEndpoint))
	return hex.EncodeToString(sum[:16]) + ".engine"
}

// engineAddress is the Host header for an engine and what comes before /v1 in
// its paths. Engines of ours see localhost, which Ollama's guard against DNS
// rebinding lets through; an adopted one sees its own name.
func engineAddress(route model.Route) (host, prefix string) {
	if route.EngineEndpoint != "" {
		if endpoint, err := url.Parse(route.EngineEndpoint); err == nil && endpoint.Host != "" {
			return endpoint.Host, strings.TrimSuffix(endpoint.Path, "/")
		}
	}
	return "localhost", ""
}
