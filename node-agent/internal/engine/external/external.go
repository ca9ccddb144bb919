// Package external is the [engine.Engine] for servers that are running already: it finds
// them, tells which they are and what they serve, and never changes anything about them.
package external

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/orchion/orchion/node-agent/internal/engine"
	"github.com/orchion/orchion/node-agent/internal/engine/hosting"
)

const name = "external"

// Config configures New.
type Config struct {
	// Endpoints gives the base URLs of the engines that this node has adopted now.
	Endpoints func() []string
	// Client asks them; default: one of its own.
	Client *http.Client
}

// Engine adopts servers of this machine.
type Engine struct {
	endpoints func() []string
	client    *http.Client
}

var _ engine.Engine = (*Engine)(nil)

// New makes the engine. Close releases its connections.
func New(cfg Config) *Engine {
	if cfg.Client == nil {
		cfg.Client = hosting.NewClient()
	}
	return &Engine{endpoints: cfg.Endpoints, client: cfg.Client}
}

// Close releases connections.
func (e *Engine) Close() { e.client.CloseIdleConnections() }

// Name implements engine.Engine.
func (e *Engine) Name() string { return name }

// Ensure implements engine.Engine: it finds the adopted server that has the model.
func (e *Engine) Ensure(ctx context.Context, spec engine.Spec, report func(engine.Status)) (engine.Replica, error) {
	if err := spec.Validate(); err != nil {
		return engine.Replica{}, &engine.Error{Code: engine.CodeInvalid, Engine: name, Op: "check replica " + spec.ReplicaID, Err: err}
	}
	r := engine.NewReporter(report)
	r.State(engine.StatePending, "looking for a server with "+spec.Model)
	replica, err := e.find(ctx, spec.Model)
	if err != nil {
		return engine.Replica{}, err
	}
	r.Ready()
	return replica, nil
}

func (e *Engine) find(ctx context.Context, model string) (engine.Replica, error) {
	op := "find model " + model
	endpoints := e.endpoints()
	if len(endpoints) == 0 {
		return engine.Replica{}, &engine.Error{
			Code: engine.CodeUnavailable, Engine: name, Op: op, Message: "no engine runs on this node",
			Hint: "start one, or name it with --adopt URL",
		}
	}
	var seen []string
	var failed error
	for _, endpoint := range endpoints {
		local, err := Identify(ctx, e.client, endpoint)
		if err != nil {
			failed = err
			continue
		}
		if served, ok := match(local.Models, model); ok {
			return engine.Replica{Endpoint: local.Endpoint, Model: served}, nil
		}
		seen = append(seen, local.Models...)
	}
	if err := ctx.Err(); err != nil {
		return engine.Replica{}, fmt.Errorf("%s: %s: %w", name, op, err)
	}
	if failed != nil {
		return engine.Replica{}, &engine.Error{Code: engine.CodeUnavailable, Engine: name, Op: op, Err: failed}
	}
	slices.Sort(seen)
	return engine.Replica{}, &engine.Error{
		Code: engine.CodeModelNotFound, Engine: name, Op: op,
		Message: fmt.Sprintf("%s has no such model, but %s", strings.Join(endpoints, ", "), list(slices.Compact(seen))),
		Hint:    "add it to the engine yourself: an adopted engine is never changed",
	}
}

func list(models []string) string {
	if len(models) == 0 {
		return "none at all"
	}
	const most = 10
	if len(models) > most {
		return strings.Join(models[:most], ", ") + ", ..."
	}
	return strings.Join(models, ", ")
}

// match finds a model by its name, or with Ollama's implicit tag.
func match(models []string, model string) (string, bool) {
	for _, candidate := range []string{model, model + ":latest"} {
		if slices.Contains(models, candidate) {
			return candidate, true
		}
	}
	return "", false
}

// Check implements engine.Engine.
func (e *Engine) Check(ctx context.Context, spec engine.Spec) error {
	_, err := e.find(ctx, spec.Model)
	return err
}

// Remove implements engine.Engine. There is nothing to remove.
func (e *Engine) Remove(context.Context, engine.Spec, engine.RemoveOptions) error { return nil }

// Prune implements engine.Engine. There is nothing to prune.
func (e *Engine) Prune(context.Context, []engine.Spec) error { return nil }
