// Package vllm is the [engine.Engine] that serves models with vLLM, in a container for each
// replica. vLLM itself downloads the weights, into a volume that the node's replicas share.
package vllm

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/engine"
	"github.com/orchion/orchion/node-agent/internal/engine/hosting"
)

// DefaultImage is used when a spec names none.
const DefaultImage = "docker.io/vllm/vllm-openai:latest"

const (
	name        = "vllm"
	port        = 8000
	cacheFolder = "/root/.cache/huggingface"
	// shmBytes is for the exchange between the processes of one model, for which vLLM's
	// documentation asks for --ipc=host or a large /dev/shm.
	shmBytes = 8 << 30
)

// Config configures New.
type Config struct {
	Driver driver.Driver
	// NodeID tells this node's containers from others on the same container engine.
	NodeID string
	// Env is added to the containers' environment: HF_TOKEN, proxies.
	Env map[string]string
	// StartTimeout bounds download and loading of a model together. Default: 2 hours.
	StartTimeout time.Duration
}

// Engine is vLLM on one node.
type Engine struct {
	cfg    Config
	host   *hosting.Host
	client *http.Client

	mu       sync.Mutex      // guards replicas
	replicas map[string]bool // ids of those ensured and not removed
}

var _ engine.Engine = (*Engine)(nil)

// New makes the engine; it starts nothing yet. Close releases its connections.
func New(cfg Config) *Engine {
	if cfg.StartTimeout == 0 {
		cfg.StartTimeout = 2 * time.Hour
	}
	return &Engine{
		cfg:      cfg,
		host:     &hosting.Host{Driver: cfg.Driver, NodeID: cfg.NodeID, Engine: name},
		client:   hosting.NewClient(),
		replicas: map[string]bool{},
	}
}

// Close releases connections. Containers go on running.
func (e *Engine) Close() { e.client.CloseIdleConnections() }

// Log implements engine.Logged.
func (e *Engine) Log(ctx context.Context, spec engine.Spec) (engine.Log, error) {
	return e.host.Log(ctx, spec.ReplicaID)
}

// Name implements engine.Engine.
func (e *Engine) Name() string { return name }

// modelRE takes the names of Hugging Face repositories.
var modelRE = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,95}(/[a-zA-Z0-9][a-zA-Z0-9._-]{0,95})?$`)

// reserved are the flags that are ours, since the rest of the node leans on them.
var reserved = []string{"--host", "--port", "--model", "--uds", "--root-path", "--ssl-keyfile", "--ssl-certfile", "--api-key"}

func check(spec engine.Spec) (image string, err error) {
	invalid := func(err error) error {
		return &engine.Error{Code: engine.CodeInvalid, Engine: name, Op: "check replica " + spec.ReplicaID, Err: err}
	}
	if err := spec.Validate(); err != nil {
		return "", invalid(err)
	}
	if !modelRE.MatchString(spec.Model) || strings.Contains(spec.Model, "..") {
		return "", invalid(fmt.Errorf("model: %q is not a model's name on Hugging Face, such as Qwen/Qwen3-0.6B", spec.Model))
	}
	for i, arg := range spec.Args {
		flag, _, _ := strings.Cut(arg, "=")
		if slices.Contains(reserved, strings.ReplaceAll(flag, "_", "-")) {
			return "", invalid(fmt.Errorf("args[%d]: %s is set by the node; leave it out", i, flag))
		}
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

// servedName is the name in requests: the model's own, or what the arguments say.
func servedName(spec engine.Spec) (model string, given bool) {
	const flag = "--served-model-name"
	for i, arg := range spec.Args {
		if value, ok := strings.CutPrefix(arg, flag+"="); ok {
			return value, true
		}
		if arg == flag && i+1 < len(spec.Args) {
			return spec.Args[i+1], true
		}
	}
	return spec.Model, false
}

func (e *Engine) container(spec engine.Spec, image string, gpus bool) hosting.Container {
	c := driver.EngineSpec(image)
	c.Args = []string{"--model", spec.Model, "--port", fmt.Sprint(port)}
	if model, given := servedName(spec); !given {
		c.Args = append(c.Args, "--served-model-name", model)
	}
	c.Args = append(c.Args, spec.Args...)
	c.Env = maps.Clone(e.cfg.Env)
	c.Labels = map[string]string{engine.LabelImage: image, engine.LabelReplica: spec.ReplicaID}
	c.Resources = spec.Resources
	if c.Resources.ShmBytes == 0 {
		c.Resources.ShmBytes = shmBytes
	}
	c.GPUs = spec.GPUs
	if !c.GPUs.Wanted() && gpus {
		c.GPUs.Count = driver.AllGPUs
	}
	volume := e.host.VolumeName("huggingface")
	c.Mounts = []driver.Mount{{Kind: driver.MountVolume, Source: volume, Target: cacheFolder}}
	return hosting.Container{Key: spec.ReplicaID, Spec: c, Port: port, Volumes: []string{volume}}
}

// Ensure implements engine.Engine.
func (e *Engine) Ensure(ctx context.Context, spec engine.Spec, report func(engine.Status)) (engine.Replica, error) {
	image, err := check(spec)
	if err != nil {
		return engine.Replica{}, err
	}
	e.mu.Lock()
	e.replicas[spec.ReplicaID] = true
	e.mu.Unlock()

	r := engine.NewReporter(report)
	r.State(engine.StatePending, "looking for vLLM")
	if err := e.host.PullImage(ctx, image, r, 100); err != nil {
		return engine.Replica{}, err
	}
	info, err := e.cfg.Driver.Info(ctx)
	if err != nil {
		return engine.Replica{}, err
	}
	running, err := e.host.Ensure(ctx, e.container(spec, image, info.GPUs))
	if err != nil {
		return engine.Replica{}, err
	}
	if healthy := e.healthy(running.Endpoint); healthy(ctx) != nil {
		r.State(engine.StateLoading, "vLLM downloads and loads "+spec.Model)
		if err := e.host.WaitHealthy(ctx, running.ID, e.cfg.StartTimeout, healthy); err != nil {
			return engine.Replica{}, err
		}
	}
	model, _ := servedName(spec)
	if err := e.serves(ctx, running.Endpoint, model); err != nil {
		return engine.Replica{}, err
	}
	r.Ready()
	return engine.Replica{Endpoint: running.Endpoint, Model: model, ContainerID: running.ID}, nil
}

// answerTimeout bounds the wait for an answer about health.
const answerTimeout = 3 * time.Second

// healthy asks /health, which is 200 once the model is loaded.
func (e *Engine) healthy(endpoint string) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, answerTimeout)
		defer cancel()
		resp, err := hosting.Do(ctx, e.client, http.MethodGet, endpoint+"/health", nil)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	}
}

// serves checks that the server knows the model by its name.
func (e *Engine) serves(ctx context.Context, endpoint, model string) error {
	var answer struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	const op = "list models"
	if err := hosting.GetJSON(ctx, e.client, endpoint+"/v1/models", &answer); err != nil {
		return e.unavailable(ctx, op, err)
	}
	var ids []string
	for _, m := range answer.Data {
		if m.ID == model {
			return nil
		}
		ids = append(ids, m.ID)
	}
	return &engine.Error{
		Code: engine.CodeFailed, Engine: name, Op: op,
		Message: fmt.Sprintf("the server serves %q, not %s", ids, model),
	}
}

func (e *Engine) unavailable(ctx context.Context, op string, err error) error {
	if ended := ctx.Err(); ended != nil {
		return fmt.Errorf("%s: %s: %w", name, op, ended)
	}
	return &engine.Error{Code: engine.CodeUnavailable, Engine: name, Op: op, Err: err}
}

// Check implements engine.Engine.
func (e *Engine) Check(ctx context.Context, spec engine.Spec) error {
	if _, err := check(spec); err != nil {
		return err
	}
	running, found, err := e.host.Find(ctx, spec.ReplicaID, port)
	if err != nil {
		return err
	}
	if !found {
		return &engine.Error{Code: engine.CodeUnavailable, Engine: name, Op: "check", Message: "its container does not run"}
	}
	if err := e.healthy(running.Endpoint)(ctx); err != nil {
		return e.unavailable(ctx, "check", err)
	}
	return nil
}

// Remove implements engine.Engine. DeleteModel is of no effect: vLLM offers no way to
// delete weights, and the cache that holds them is shared.
func (e *Engine) Remove(ctx context.Context, spec engine.Spec, _ engine.RemoveOptions) error {
	if spec.ReplicaID == "" {
		return &engine.Error{Code: engine.CodeInvalid, Engine: name, Op: "remove replica", Err: errors.New("replica id: must not be empty")}
	}
	e.mu.Lock()
	delete(e.replicas, spec.ReplicaID)
	e.mu.Unlock()
	return e.host.Remove(ctx, spec.ReplicaID, func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.replicas[spec.ReplicaID] // ensured again in the meantime
	})
}

// Prune implements engine.Engine.
func (e *Engine) Prune(ctx context.Context, keep []engine.Spec) error {
	return e.host.Prune(ctx, func() []string {
		e.mu.Lock()
		defer e.mu.Unlock()
		ids := slices.Collect(maps.Keys(e.replicas))
		for _, s := range keep {
			ids = append(ids, s.ReplicaID)
		}
		return ids
	})
}
