package agent

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/driver/docker"
	"github.com/orchion/orchion/node-agent/internal/engine"
	"github.com/orchion/orchion/node-agent/internal/engine/external"
	"github.com/orchion/orchion/node-agent/internal/engine/hosting"
	"github.com/orchion/orchion/node-agent/internal/engine/ollama"
	"github.com/orchion/orchion/node-agent/internal/hostinfo"
	"github.com/orchion/orchion/node-agent/internal/joblink"
	"github.com/orchion/orchion/node-agent/internal/jobnet"
	"github.com/orchion/orchion/node-agent/internal/modelshare"
	"github.com/orchion/orchion/node-agent/internal/tunnel"
	"github.com/orchion/orchion/node-agent/internal/worker"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// machine is what the agent runs on; tests put another in its place.
type machine interface {
	// openRuntime connects to the container engine to use; nil: there is none.
	openRuntime(ctx context.Context) driver.Driver
	// hasRuntime says whether openRuntime would find one.
	hasRuntime(ctx context.Context) bool
	// capabilities describes the machine with that engine, or none, and without adopted
	// engines.
	capabilities(ctx context.Context, containers driver.Driver) *orchionv1.Capabilities
	// runtime describes the engine; nil: it does not answer.
	runtime(ctx context.Context, containers driver.Driver) *orchionv1.ContainerRuntime
	// describeAll describes all that could be used here.
	describeAll(ctx context.Context) *orchionv1.Capabilities
	usage(ctx context.Context) (*orchionv1.NodeUsage, error)
	// adoptable finds the model engines that serve here already, apart from our own.
	adoptable(ctx context.Context, containers driver.Driver) []*orchionv1.LocalEngine
	// services are what the worker runs jobs and models with; adopted gives the endpoints
	// of the engines that are adopted now.
	services(nodeID string, containers driver.Driver, dialer *tunnel.Dialer, adopted func() []string, models ollama.Peers) services
}

type services struct {
	replicas worker.ReplicaRunner
	// engineLog finds the log of the container that serves a replica.
	engineLog func(context.Context, *orchionv1.ReplicaAssignment) (engine.Log, error)
	links     worker.Linker     // nil: none
	networks  worker.Networks   // nil: none
	models    modelshare.Source // of which other nodes may get files; nil: none
	describe  http.Handler      // answers questions about models; nil: none does
	pull      modelshare.Pull   // gets models for replicas to come; nil: none
	close     func()
}

// thisMachine is the machine that the agent runs on.
type thisMachine struct {
	cfg   Config
	probe *hostinfo.Probe
	// client asks model engines.
	client *http.Client
	// quiet tells of each problem with a container engine once.
	quiet *oncePerText
}

func newMachine(cfg Config) *thisMachine {
	return &thisMachine{cfg: cfg, probe: hostinfo.New(cfg.DataDir), client: hosting.NewClient(), quiet: &oncePerText{}}
}

// oncePerText remembers texts.
type oncePerText struct {
	mu   sync.Mutex
	seen map[string]bool // guarded by mu
}

// first says whether text comes for the first time.
func (o *oncePerText) first(text string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.seen[text] {
		return false
	}
	if o.seen == nil {
		o.seen = map[string]bool{}
	}
	o.seen[text] = true
	return true
}

func (m *thisMachine) openRuntime(ctx context.Context) driver.Driver {
	found := m.runtimes(ctx)
	closeAll(found[min(1, len(found)):])
	if len(found) == 0 {
		if m.cfg.Runtime != RuntimeNone && m.quiet.first("no runtime") {
			m.cfg.Logger.Warn("no container engine answers: this node runs no containers until there is one; install Podman or Docker, or name its socket in DOCKER_HOST")
		}
		return nil
	}
	m.cfg.Logger.Info("using the container engine", "runtime", found[0].Name(), "endpoint", found[0].Endpoint())
	return found[0]
}

func (m *thisMachine) hasRuntime(ctx context.Context) bool {
	found := m.runtimes(ctx)
	closeAll(found)
	return len(found) > 0
}

func closeAll(drivers []*docker.Driver) {
	for _, d := range drivers {
		d.Close()
	}
}

// runtimes connects to the container engines that the configuration allows, the preferred
// one first.
func (m *thisMachine) runtimes(ctx context.Context) []*docker.Driver {
	if m.cfg.Runtime == RuntimeNone {
		return nil
	}
	discovery := docker.Discover(ctx, docker.Where{})
	for _, problem := range discovery.Problems {
		if m.quiet.first(problem.Error()) {
			m.cfg.Logger.Warn("a container engine cannot be used", "error", problem)
		}
	}
	var found []*docker.Driver
	for _, d := range discovery.Drivers {
		if m.cfg.Runtime != RuntimeAuto && m.cfg.Runtime != d.Name() {
			closeAll([]*docker.Driver{d})
			continue
		}
		found = append(found, d)
	}
	return found
}

func (m *thisMachine) capabilities(ctx context.Context, containers driver.Driver) *orchionv1.Capabilities {
	capabilities, err := m.probe.Detect(ctx)
	if err != nil {
		m.cfg.Logger.Warn("not all of this machine's hardware could be found", "error", err)
	}
	if containers == nil {
		return capabilities
	}
	// Only the engine that is used: "runtime=docker" must mean that the job runs on Docker.
	if runtime := m.runtime(ctx, containers); runtime != nil {
		capabilities.Runtimes = append(capabilities.Runtimes, runtime)
	}
	return capabilities
}

func (m *thisMachine) runtime(ctx context.Context, containers driver.Driver) *orchionv1.ContainerRuntime {
	info, err := containers.Info(ctx)
	if err != nil {
		m.cfg.Logger.Warn("the container engine does not describe itself", "error", err)
		return nil
	}
	return &orchionv1.ContainerRuntime{
		Name: info.Name, Version: info.Version, Endpoint: info.Endpoint, Rootless: info.Rootless,
	}
}

// describeAll describes the machine with every container engine that answers and every
// model engine that could be adopted.
func (m *thisMachine) describeAll(ctx context.Context) *orchionv1.Capabilities {
	runtimes := m.runtimes(ctx)
	defer closeAll(runtimes)
	// The data directory need not be there: nothing is made for a description.
	probe := hostinfo.New(existing(m.cfg.DataDir))
	capabilities, err := probe.Detect(ctx)
	if err != nil {
		m.cfg.Logger.Warn("not all of this machine's hardware could be found", "error", err)
	}
	var preferred driver.Driver
	for _, d := range runtimes {
		if preferred == nil {
			preferred = d
		}
		if runtime := m.runtime(ctx, d); runtime != nil {
			capabilities.Runtimes = append(capabilities.Runtimes, runtime)
		}
	}
	capabilities.Engines = m.adoptable(ctx, preferred)
	return capabilities
}

// existing gives the path, or the nearest folder above it that is there.
func existing(path string) string {
	for {
		if _, err := os.Stat(path); err == nil {
			return path
		}
		parent := filepath.Dir(path)
		if parent == path {
			return path
		}
		path = parent
	}
}

func (m *thisMachine) usage(ctx context.Context) (*orchionv1.NodeUsage, error) {
	return m.probe.Usage(ctx)
}

func (m *thisMachine) services(nodeID string, containers driver.Driver, dialer *tunnel.Dialer, adopted func() []string, models ollama.Peers) services {
	images := map[orchionv1.Engine]string{
		orchionv1.Engine_ENGINE_OLLAMA: m.cfg.OllamaImage, orchionv1.Engine_ENGINE_VLLM: m.cfg.VLLMImage,
	}
	runner := newReplicaRunner(nodeID, containers, images, adopted, models)
	s := services{replicas: runner, models: runner.shared, describe: runner.describer, pull: runner.pull, engineLog: runner.Log, close: runner.Close}
	if containers != nil {
		s.links = jobLinks{joblink.New(joblink.Config{
			Driver: containers, NodeID: nodeID, Dial: dialer.DialGateway, Logger: m.cfg.Logger,
		})}
		// Also when it is to keep none: an earlier run may have.
		pool := jobnet.New(jobnet.Config{
			Driver: containers, NodeID: nodeID, Max: m.cfg.ReadyNetworks, Logger: m.cfg.Logger,
		})
		s.networks = jobNetworks{pool}
		s.close = func() {
			pool.Close()
			runner.Close()
		}
	}
	return s
}

// adoptable implements machine.
func (m *thisMachine) adoptable(ctx context.Context, containers driver.Driver) []*orchionv1.LocalEngine {
	switch {
	case slices.Equal(m.cfg.Adopt, []string{AdoptNone}):
		return nil
	case len(m.cfg.Adopt) == 0:
		return m.probeLocal(ctx, containers)
	}
	var found []*orchionv1.LocalEngine
	for _, endpoint := range m.cfg.Adopt {
		local, err := external.Identify(ctx, m.client, endpoint)
		if err != nil {
			if ctx.Err() == nil && m.quiet.first(err.Error()) {
				m.cfg.Logger.Warn("an engine that is to be adopted (--adopt) does not answer; it is asked again now and then", "endpoint", endpoint, "error", err)
			}
			continue
		}
		found = append(found, localEngine(local))
	}
	return found
}

// probeLocal asks the well-known ports, but for those of our own containers.
func (m *thisMachine) probeLocal(ctx context.Context, containers driver.Driver) []*orchionv1.LocalEngine {
	own := map[int]bool{}
	if containers != nil {
		list, err := containers.List(ctx, nil)
		if err != nil {
			// What is ours cannot be told now. Our containers publish random ports, so that
			// one of them on a well-known port is next to impossible.
			m.cfg.Logger.Debug("looking for engines without knowing which are our own", "error", err)
		}
		for _, c := range list {
			for _, p := range c.Ports {
				own[int(p.Host)] = true
			}
		}
	}
	var found []*orchionv1.LocalEngine
	for _, local := range external.Probe(ctx, m.client, external.WellKnownPorts(), func(port int) bool { return own[port] }) {
		found = append(found, localEngine(local))
	}
	return found
}

func localEngine(l engine.Local) *orchionv1.LocalEngine {
	return &orchionv1.LocalEngine{Name: l.Name, Version: l.Version, Endpoint: l.Endpoint, Models: l.Models}
}
