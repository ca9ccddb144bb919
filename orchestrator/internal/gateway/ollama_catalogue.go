package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/orchion/orchion/orchestrator/internal/gateway/upstream"
	"github.com/orchion/orchion/orchestrator/internal/model"
)

// catalogue remembers for a moment what engines say of their models, so that
// clients that ask often do not have every engine asked each time.
type catalogue struct {
	mu   sync.Mutex // guards said
	said map[question]*reply
}

// question is what an engine was asked.
type question struct {
	engine upstream.Key
	path   string
}

// reply is what it said, once done is closed.
type reply struct {
	done   chan struct{}
	at     time.Time // when it was asked
	models engineModels
}

// engineModel is a model of which an engine tells; without fields: it does not.
type engineModel struct {
	name   string
	fields map[string]json.RawMessage
}

type engineModels []engineModel

// find gives what an engine says of a route's model.
func (l engineModels) find(route model.Route) engineModel {
	for _, m := range l {
		if sameModel(m.name, servedName(route, route.Model)) {
			return m
		}
	}
	return engineModel{}
}

func keyOf(route model.Route) upstream.Key {
	return upstream.Key{NodeID: route.NodeID, ReplicaID: route.ReplicaID, Endpoint: route.EngineEndpoint}
}

// ask asks the engines of routes for their models. Those that do not answer
// within ctx are left out.
func (c *catalogue) ask(ctx context.Context, g *Gateway, routes []model.Route, path string, age time.Duration) map[upstream.Key]engineModels {
	var mu sync.Mutex
	said := make(map[upstream.Key]engineModels) // guarded by mu
	asked := make(map[upstream.Key]bool)
	var group errgroup.Group
	group.SetLimit(askedAtOnce)
	for _, route := range routes {
		key := keyOf(route)
		if asked[key] || len(asked) >= maxListed {
			continue
		}
		asked[key] = true
		group.Go(func() error {
			models := c.one(ctx, g, route, path, age)
			mu.Lock()
			said[key] = models
			mu.Unlock()
			return nil
		})
	}
	_ = group.Wait() // an engine that fails says nothing
	return said
}

// one asks one engine, unless somebody has just done so.
func (c *catalogue) one(ctx context.Context, g *Gateway, route model.Route, path string, age time.Duration) engineModels {
	q := question{keyOf(route), path}
	c.mu.Lock()
	known := c.said[q]
	if known != nil && time.Since(known.at) < age {
		c.mu.Unlock()
		select {
		case <-known.done:
			return known.models
		case <-ctx.Done():
			return nil
		}
	}
	known = &reply{done: make(chan struct{}), at: time.Now()}
	c.put(q, known)
	c.mu.Unlock()
	models, err := g.modelsOf(ctx, route, path)
	if err != nil {
		g.log.DebugContext(ctx, "an engine does not tell of its models", "node_id", route.NodeID, "replica_id", route.ReplicaID, "error", err)
		c.mu.Lock()
		if c.said[q] == known {
			delete(c.said, q) // who asks next tries again
		}
		c.mu.Unlock()
	}
	known.models = models
	close(known.done)
	return models
}

// maxRemembered bounds the replies that are remembered.
const maxRemembered = 4096

// put remembers a reply; mu is held.
func (c *catalogue) put(q question, r *reply) {
	if c.said == nil || len(c.said) >= maxRemembered {
		c.said = make(map[question]*reply)
	}
	c.said[q] = r
}

const (
	// engineTimeout bounds how long one engine may take to tell of its models.
	engineTimeout = 3 * time.Second
	maxModels     = 4 << 20
)

// modelsOf asks an engine for its models.
func (g *Gateway) modelsOf(ctx context.Context, route model.Route, path string) (engineModels, error) {
	// The client that waits for it may leave while others wait, too.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), engineTimeout)
	defer cancel()
	address := g.addresses.of(route.EngineEndpoint)
	res, err := g.engines.Do(ctx, keyOf(route), &upstream.Request{
		Method: http.MethodGet, Target: address.prefix + path, Host: address.host,
		Header: []upstream.Field{{Name: "Accept", Value: "application/json"}},
	})
	if err != nil {
		return nil, fmt.Errorf("ask the engine: %w", err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxModels+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read from the engine: %w", err)
	case res.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("it answered %d", res.StatusCode)
	case len(data) > maxModels:
		return nil, fmt.Errorf("it answered more than %d MiB", maxModels>>20)
	}
	var list struct {
		Models []map[string]json.RawMessage `json:"models"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("read the engine's models: %w", err)
	}
	models := make(engineModels, 0, len(list.Models))
	for _, fields := range list.Models {
		m := engineModel{fields: fields}
		var digest string
		// Clients show the beginning of a digest and break on a shorter one.
		if json.Unmarshal(fields["digest"], &digest) != nil || len(digest) < len(standInDigest("")) {
			delete(fields, "digest")
		}
		if json.Unmarshal(fields["name"], &m.name) == nil {
			models = append(models, m)
		}
	}
	return models, nil
}
