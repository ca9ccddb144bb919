// Package ollama is the [engine.Engine] that serves models with Ollama, in one container
// for all replicas of a node that name the same image. The models' files are in a volume of
// the node's, which outlives the container.
package ollama

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/engine"
	"github.com/orchion/orchion/node-agent/internal/engine/hosting"
)

// DefaultImage is used when a spec names none.
const DefaultImage = "docker.io/ollama/ollama:latest"

// What the image's server does: the port it listens on and the folder it keeps models in.
const (
	port        = 11434
	modelFolder = "/root/.ollama"
)

const name = "ollama"

// Config configures New.
type Config struct {
	Driver driver.Driver
	// NodeID tells this node's container from others on the same container engine.
	NodeID string
	// Env is added to the container's environment: proxies, settings of Ollama's own.
	Env map[string]string
	// Peers are asked for a model before it is pulled. Default: there are none.
	Peers Peers
	// StartTimeout bounds the wait for the server. Default: 2 minutes.
	StartTimeout time.Duration
	// StallTimeout ends a pull that says nothing for so long. Default: 5 minutes.
	StallTimeout time.Duration
	// LoadTimeout bounds the loading of a model into memory. Default: 15 minutes.
	LoadTimeout time.Duration
}

// Engine is Ollama on one node.
type Engine struct {
	cfg    Config
	host   *hosting.Host
	client *http.Client

	mu       sync.Mutex             // guards replicas
	replicas map[string]engine.Spec // those ensured and not removed, by id
}

var (
	_ engine.Engine = (*Engine)(nil)
	_ engine.Puller = (*Engine)(nil)
)

// New makes the engine; it starts nothing yet. Close releases its connections.
func New(cfg Config) *Engine {
	if cfg.StartTimeout == 0 {
		cfg.StartTimeout = 2 * time.Minute
	}
	if cfg.StallTimeout == 0 {
		cfg.StallTimeout = 5 * time.Minute
	}
	if cfg.LoadTimeout == 0 {
		cfg.LoadTimeout = 15 * time.Minute
	}
	return &Engine{
		cfg:      cfg,
		host:     &hosting.Host{Driver: cfg.Driver, NodeID: cfg.NodeID, Engine: name},
		client:   hosting.NewClient(),
		replicas: map[string]engine.Spec{},
	}
}

// Close releases connections. Containers go on running.
func (e *Engine) Close() { e.client.CloseIdleConnections() }

// Name implements engine.Engine.
func (e *Engine) Name() string { return name }

// check validates a spec and gives the image it names in full.
func check(spec engine.Spec) (image string, err error) {
	invalid := func(err error) error {
		return &engine.Error{Code: engine.CodeInvalid, Engine: name, Op: "check replica " + spec.ReplicaID, Err: err}
	}
	if err := spec.Validate(); err != nil {
		return "", invalid(err)
	}
	if err := validateModel(spec.Model); err != nil {
		return "", invalid(err)
	}
	if len(spec.Args) > 0 {
		return "", invalid(fmt.Errorf("args: Ollama's server takes none (got %q); set parameters in requests or in a Modelfile", spec.Args))
	}
	if _, err := recipeOf(spec); err != nil {
		return "", invalid(err)
	}
	image = spec.Image
	if image == "" {
		image = DefaultImage
	}
	if image, err = driver.NormalizeReference(image); err != nil {
		return "", invalid(err)
	}
	return image, nil
}

// Share of the whole pull that an image counts for when it has to be pulled, too.
const imagePercent = 25

// Ensure implements engine.Engine.
func (e *Engine) Ensure(ctx context.Context, spec engine.Spec, report func(engine.Status)) (engine.Replica, error) {
	image, err := check(spec)
	if err != nil {
		return engine.Replica{}, err
	}
	r := engine.NewReporter(report)
	running, err := e.bring(ctx, image, spec, r)
	if err != nil {
		return engine.Replica{}, err
	}
	model := canonical(spec.Model)
	r.State(engine.StateLoading, "loading "+model+" into memory")
	if err := e.load(ctx, &api{base: running.Endpoint, client: e.client}, model, spec.Ollama.KeepAlive); err != nil {
		return engine.Replica{}, err
	}
	r.Ready()
	return engine.Replica{Endpoint: running.Endpoint, Model: model, ContainerID: running.ID}, nil
}

// cleanup bounds how long the container of a pull may take to go.
const cleanup = 15 * time.Second

// Pull implements engine.Puller. Ollama itself gets the model; its container goes again unless
// a replica uses it.
func (e *Engine) Pull(ctx context.Context, spec engine.Spec, report func(engine.Status)) (err error) {
	image, err := check(spec)
	if err != nil {
		return err
	}
	defer func() {
		over, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanup)
		defer cancel()
		err = errors.Join(err, e.Remove(over, spec, engine.RemoveOptions{}))
	}()
	r := engine.NewReporter(report)
	if _, err := e.bring(ctx, image, spec, r); err != nil {
		return err
	}
	r.Ready()
	return nil
}

// bring brings Ollama and the model of a replica to the machine, and has Ollama run. From its
// beginning until Remove no removal takes the container away.
func (e *Engine) bring(ctx context.Context, image string, spec engine.Spec, r *engine.Reporter) (hosting.Running, error) {
	e.mu.Lock()
	e.replicas[spec.ReplicaID] = spec
	e.mu.Unlock()

	r.State(engine.StatePending, "looking for Ollama")
	if err := e.host.PullImage(ctx, image, r, imagePercent); err != nil {
		return hosting.Running{}, err
	}
	want, err := e.container(ctx, image, spec)
	if err != nil {
		return hosting.Running{}, err
	}
	running, err := e.host.Ensure(ctx, want)
	if err != nil {
		return hosting.Running{}, err
	}
	c := &api{base: running.Endpoint, client: e.client}
	if c.healthy(ctx) != nil {
		r.Note("starting Ollama") // not LOADING yet: the model's pull may be still to come
		if err := e.host.WaitHealthy(ctx, running.ID, e.cfg.StartTimeout, c.healthy); err != nil {
			return hosting.Running{}, err
		}
	}
	if err := e.provide(ctx, c, running.ID, spec, r); err != nil {
		return hosting.Running{}, err
	}
	return running, nil
}

// Log implements engine.Logged.
func (e *Engine) Log(ctx context.Context, spec engine.Spec) (engine.Log, error) {
	image, err := check(spec)
	if err != nil {
		return nil, err
	}
	return e.host.Log(ctx, keyOf(image, spec))
}

// keyOf names the container that serves a replica: all of one image share one, but for those
// that were given GPUs of their own, which nobody else may use, and for those with other
// settings of the server.
func keyOf(image string, spec engine.Spec) string {
	parts := append([]string{image}, slices.Sorted(slices.Values(spec.GPUs.IDs))...)
	for _, name := range slices.Sorted(maps.Keys(settings(spec))) {
		parts = append(parts, name+"="+settings(spec)[name])
	}
	return strings.Join(parts, " ")
}

// settings are the variables by which a replica's server differs from others.
func settings(spec engine.Spec) map[string]string {
	env := map[string]string{}
	if n := spec.Ollama.NumParallel; n > 0 {
		env["OLLAMA_NUM_PARALLEL"] = strconv.Itoa(n)
	}
	if n := spec.Ollama.ContextLength; n > 0 {
		env["OLLAMA_CONTEXT_LENGTH"] = strconv.Itoa(n)
	}
	if d := spec.Ollama.KeepAlive; d > 0 {
		env["OLLAMA_KEEP_ALIVE"] = keepAlive(d)
	}
	return env
}

// container is what the container of Ollama for a replica should be on this node.
func (e *Engine) container(ctx context.Context, image string, replica engine.Spec) (hosting.Container, error) {
	info, err := e.cfg.Driver.Info(ctx)
	if err != nil {
		return hosting.Container{}, err
	}
	spec := driver.EngineSpec(image)
	spec.Labels = map[string]string{engine.LabelImage: image}
	switch ids := replica.GPUs.IDs; {
	case len(ids) > 0:
		spec.GPUs.IDs = slices.Sorted(slices.Values(ids))
	case info.GPUs:
		spec.GPUs.Count = driver.AllGPUs
	}
	spec.Env = map[string]string{
		"OLLAMA_HOST": fmt.Sprintf("0.0.0.0:%d", port),
		// A deployment is there to be answered at once, so its model stays in memory. When
		// memory runs short, Ollama still makes room by dropping one that is not in use.
		"OLLAMA_KEEP_ALIVE": "-1",
		// Keeps the beginnings of an interrupted pull over a restart, to go on from there.
		"OLLAMA_NOPRUNE": "1",
	}
	maps.Copy(spec.Env, e.cfg.Env)
	maps.Copy(spec.Env, settings(replica))
	volume := e.host.VolumeName(name)
	spec.Mounts = []driver.Mount{{Kind: driver.MountVolume, Source: volume, Target: modelFolder}}
	return hosting.Container{Key: keyOf(image, replica), Spec: spec, Port: port, Volumes: []string{volume}}, nil
}

// load brings a model into memory. An embedding model does not generate, and says so.
func (e *Engine) load(ctx context.Context, c *api, model string, keepAlive time.Duration) error {
	limit, cancel := context.WithTimeout(ctx, e.cfg.LoadTimeout)
	defer cancel()
	err := c.load(limit, model, keepAlive)
	if err == nil {
		return nil
	}
	if ctx.Err() == nil && limit.Err() != nil {
		return &engine.Error{
			Code: engine.CodeUnavailable, Engine: name, Op: "load model " + model,
			Message: fmt.Sprintf("not in memory after %v", e.cfg.LoadTimeout),
		}
	}
	return e.fail(ctx, "load model "+model, err)
}

// fail sorts the errors of Ollama's API.
func (e *Engine) fail(ctx context.Context, op string, err error) error {
	if ended := ctx.Err(); ended != nil {
		return fmt.Errorf("%s: %s: %w", name, op, ended)
	}
	var known *engine.Error
	if errors.As(err, &known) {
		return err
	}
	failure := &engine.Error{Code: engine.CodeUnavailable, Engine: name, Op: op, Err: err}
	var status *hosting.StatusError
	if errors.As(err, &status) {
		failure.Err = nil
		failure.Message = status.Message
		failure.Code, failure.Hint = classify(status.Message)
	}
	return failure
}

// Check implements engine.Engine: the server answers and still has the model.
func (e *Engine) Check(ctx context.Context, spec engine.Spec) error {
	image, err := check(spec)
	if err != nil {
		return err
	}
	running, found, err := e.host.Find(ctx, keyOf(image, spec), port)
	if err != nil {
		return err
	}
	if !found {
		return &engine.Error{Code: engine.CodeUnavailable, Engine: name, Op: "check", Message: "its container does not run"}
	}
	c := &api{base: running.Endpoint, client: e.client}
	model := canonical(spec.Model)
	present, err := c.has(ctx, model)
	if err != nil {
		return e.fail(ctx, "check", err)
	}
	if !present {
		return &engine.Error{Code: engine.CodeUnavailable, Engine: name, Op: "check", Message: "the model " + model + " is gone"}
	}
	return nil
}

// Endpoints gives the base URLs of those containers of the engine's that run now and serve
// replicas. One that cannot be found is left out.
func (e *Engine) Endpoints(ctx context.Context) []string {
	e.mu.Lock()
	keys := map[string]bool{}
	for _, spec := range e.replicas {
		if image, err := check(spec); err == nil {
			keys[keyOf(image, spec)] = true
		}
	}
	e.mu.Unlock()
	var found []string
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if running, ok, err := e.host.Find(ctx, key, port); err == nil && ok {
			found = append(found, running.Endpoint)
		}
	}
	return found
}

// Remove implements engine.Engine.
func (e *Engine) Remove(ctx context.Context, spec engine.Spec, opts engine.RemoveOptions) error {
	image, err := check(spec)
	if err != nil {
		return err
	}
	e.mu.Lock()
	delete(e.replicas, spec.ReplicaID)
	e.mu.Unlock()

	running, found, err := e.host.Find(ctx, keyOf(image, spec), port)
	if err != nil {
		return err
	}
	key, model := keyOf(image, spec), canonical(spec.Model)
	if found && !e.used(opts.Others, func(k, m string) bool { return m == model && k == key }) {
		c := &api{base: running.Endpoint, client: e.client}
		// Containers share the folder of models.
		if opts.DeleteModel && !e.used(opts.Others, func(_, m string) bool { return m == model }) {
			err = c.remove(ctx, model)
		} else {
			err = c.unload(ctx, model)
		}
		if err != nil {
			err = e.fail(ctx, "remove model "+spec.Model, err)
		}
	}
	inUse := func() bool { return e.used(opts.Others, func(k, _ string) bool { return k == key }) }
	return errors.Join(err, e.host.Remove(ctx, key, inUse))
}

// used says whether a replica, known here or among others, matches.
func (e *Engine) used(others []engine.Spec, match func(key, model string) bool) bool {
	e.mu.Lock()
	all := slices.AppendSeq(slices.Clone(others), maps.Values(e.replicas))
	e.mu.Unlock()
	return slices.ContainsFunc(all, func(s engine.Spec) bool {
		image, err := check(s)
		return err == nil && match(keyOf(image, s), canonical(s.Model))
	})
}

// Prune implements engine.Engine.
func (e *Engine) Prune(ctx context.Context, keep []engine.Spec) error {
	return e.host.Prune(ctx, func() []string {
		e.mu.Lock()
		defer e.mu.Unlock()
		var keys []string
		for _, s := range slices.AppendSeq(slices.Clone(keep), maps.Values(e.replicas)) {
			if image, err := check(s); err == nil {
				keys = append(keys, keyOf(image, s))
			}
		}
		return keys
	})
}
