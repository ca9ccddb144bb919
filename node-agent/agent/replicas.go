package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/engine"
	"github.com/orchion/orchion/node-agent/internal/engine/external"
	"github.com/orchion/orchion/node-agent/internal/engine/modelinfo"
	"github.com/orchion/orchion/node-agent/internal/engine/ollama"
	"github.com/orchion/orchion/node-agent/internal/engine/vllm"
	"github.com/orchion/orchion/node-agent/internal/modelshare"
	"github.com/orchion/orchion/node-agent/internal/worker"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/modelpull"
)

// replicaRunner lets the worker use the engines.
type replicaRunner struct {
	engines map[orchionv1.Engine]engine.Engine
	images  map[orchionv1.Engine]string // empty: the engine's own
	close   []func()
	// shared has the models that other nodes may get; nil: none.
	shared modelshare.Source
	// describer answers questions about models.
	describer *modelinfo.Describer
}

var _ worker.ReplicaRunner = (*replicaRunner)(nil)

// newReplicaRunner makes the engines that a machine can run: without a container engine
// only those that run already. images are used where a deployment names none. adopted gives
// the endpoints of those that run, and peers the models of other nodes; it may be nil.
func newReplicaRunner(nodeID string, containers driver.Driver, images map[orchionv1.Engine]string, adopted func() []string, peers ollama.Peers) *replicaRunner {
	outside := external.New(external.Config{Endpoints: adopted})
	r := &replicaRunner{
		engines: map[orchionv1.Engine]engine.Engine{orchionv1.Engine_ENGINE_EXTERNAL: outside},
		images:  images,
		close:   []func(){outside.Close},
	}
	endpoints := func(context.Context) []string { return adopted() }
	var ours *ollama.Engine
	if containers != nil {
		endpoints = func(ctx context.Context) []string { return append(ours.Endpoints(ctx), adopted()...) }
	}
	r.describer = modelinfo.New(modelinfo.Config{
		Endpoints: endpoints, HuggingFace: os.Getenv("HF_ENDPOINT"), Token: os.Getenv("HF_TOKEN"),
	})
	r.close = append(r.close, r.describer.Close)
	if containers == nil {
		return r
	}
	proxies := environment("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
	ours = ollama.New(ollama.Config{Driver: containers, NodeID: nodeID, Env: proxies, Peers: peers})
	r.shared = ours
	forVLLM := environment("HF_TOKEN", "HF_ENDPOINT")
	for name, value := range proxies {
		forVLLM[name] = value
	}
	theirs := vllm.New(vllm.Config{Driver: containers, NodeID: nodeID, Env: forVLLM})
	r.engines[orchionv1.Engine_ENGINE_OLLAMA] = ours
	r.engines[orchionv1.Engine_ENGINE_VLLM] = theirs
	r.close = append(r.close, ours.Close, theirs.Close)
	return r
}

// environment gives those of the variables that are set.
func environment(names ...string) map[string]string {
	set := map[string]string{}
	for _, name := range names {
		if value := os.Getenv(name); value != "" {
			set[name] = value
		}
	}
	return set
}

// Close releases connections; the engines go on running.
func (r *replicaRunner) Close() {
	for _, f := range r.close {
		f()
	}
}

var errNoContainers = errors.New("this node has no container engine: install Docker or Podman there")

func (r *replicaRunner) engineOf(replica *orchionv1.ReplicaAssignment) (engine.Engine, error) {
	kind := replica.GetSpec().GetEngine()
	e := r.engines[kind]
	switch {
	case e != nil:
		return e, nil
	case kind == orchionv1.Engine_ENGINE_OLLAMA, kind == orchionv1.Engine_ENGINE_VLLM:
		return nil, errNoContainers
	default:
		return nil, fmt.Errorf("this node agent does not know the engine %s; update it", kind)
	}
}

// specOf is a replica in the words of package engine.
func (r *replicaRunner) specOf(replica *orchionv1.ReplicaAssignment) engine.Spec {
	spec := replica.GetSpec()
	return engine.Spec{
		ReplicaID:  replica.GetReplicaId(),
		Deployment: replica.GetDeployment(),
		Model:      spec.GetModel(),
		Image:      cmp.Or(spec.GetImage(), r.images[spec.GetEngine()]),
		Args:       spec.GetArgs(),
		Resources: driver.Resources{
			CPUMillis: spec.GetResources().GetCpuMillis(), MemoryBytes: spec.GetResources().GetMemoryBytes(),
		},
		GPUs: driver.RequestGPUs(replica.GetGpus(), int(spec.GetResources().GetGpus())),
		Ollama: engine.OllamaSettings{
			Modelfile: spec.GetOllama().GetModelfile(), NumParallel: int(spec.GetOllama().GetNumParallel()),
			ContextLength: int(spec.GetOllama().GetContextLength()), KeepAlive: spec.GetOllama().GetKeepAlive().AsDuration(),
		},
	}
}

// states are the states that an engine reports on its way.
func stateOf(s engine.State) orchionv1.ReplicaState {
	switch s {
	case engine.StatePulling:
		return orchionv1.ReplicaState_REPLICA_STATE_PULLING
	case engine.StateLoading, engine.StateReady:
		// That it is ready is said once Ensure has returned and it can be reached.
		return orchionv1.ReplicaState_REPLICA_STATE_LOADING
	default:
		return orchionv1.ReplicaState_REPLICA_STATE_PENDING
	}
}

// Ensure implements [worker.ReplicaRunner].
func (r *replicaRunner) Ensure(ctx context.Context, replica *orchionv1.ReplicaAssignment, report func(*orchionv1.ReplicaStatus)) (worker.Served, error) {
	e, err := r.engineOf(replica)
	if err != nil {
		return worker.Served{}, err
	}
	served, err := e.Ensure(ctx, r.specOf(replica), func(s engine.Status) {
		report(&orchionv1.ReplicaStatus{
			State: stateOf(s.State), ProgressPercent: s.Percent,
			CompletedBytes: s.CompletedBytes, TotalBytes: s.TotalBytes, Reason: s.Reason,
		})
	})
	if err != nil {
		return worker.Served{}, err
	}
	u, err := url.Parse(served.Endpoint)
	if err != nil {
		return worker.Served{}, fmt.Errorf("the engine's address: %w", err)
	}
	addr := u.Host
	if u.Port() == "" {
		addr += ":80"
	}
	return worker.Served{Addr: addr, Model: served.Model}, nil
}

// pull gets a model for replicas to come, as [modelshare.Pull].
func (r *replicaRunner) pull(ctx context.Context, wanted modelshare.Wanted, report func(modelpull.Progress)) error {
	puller, ok := r.engines[orchionv1.Engine_ENGINE_OLLAMA].(engine.Puller)
	if !ok {
		return errNoContainers
	}
	spec := engine.Spec{ReplicaID: wanted.ID, Model: wanted.Model, Image: cmp.Or(wanted.Image, r.images[orchionv1.Engine_ENGINE_OLLAMA])}
	return puller.Pull(ctx, spec, func(s engine.Status) {
		report(modelpull.Progress{
			State: modelpull.Pulling, Percent: s.Percent, CompletedBytes: s.CompletedBytes, TotalBytes: s.TotalBytes, Reason: s.Reason,
		})
	})
}

// Check implements [worker.ReplicaRunner].
func (r *replicaRunner) Check(ctx context.Context, replica *orchionv1.ReplicaAssignment) error {
	e, err := r.engineOf(replica)
	if err != nil {
		return err
	}
	return e.Check(ctx, r.specOf(replica))
}

// Remove implements [worker.ReplicaRunner]. The model's files stay on the node: deploying
// it again is then quick.
func (r *replicaRunner) Remove(ctx context.Context, replica *orchionv1.ReplicaAssignment) error {
	e, err := r.engineOf(replica)
	if err != nil {
		return nil //nolint:nilerr // what no engine of ours could bring about is not there
	}
	return e.Remove(ctx, r.specOf(replica), engine.RemoveOptions{})
}

// RemoveOthers implements [worker.ReplicaRunner].
func (r *replicaRunner) RemoveOthers(ctx context.Context, keep []*orchionv1.ReplicaAssignment) error {
	var failed []error
	for kind, e := range r.engines {
		var specs []engine.Spec
		for _, replica := range keep {
			if replica.GetSpec().GetEngine() == kind {
				specs = append(specs, r.specOf(replica))
			}
		}
		failed = append(failed, e.Prune(ctx, specs))
	}
	return errors.Join(failed...)
}
