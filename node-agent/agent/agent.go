// Package agent is the node agent: it composes what a machine offers with the session that
// offers it to the orchestrator, and ends in good order.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/proto"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/driver/process"
	"github.com/orchion/orchion/node-agent/internal/engine"
	"github.com/orchion/orchion/node-agent/internal/engine/ollama"
	"github.com/orchion/orchion/node-agent/internal/modelshare"
	"github.com/orchion/orchion/node-agent/internal/ownfile"
	"github.com/orchion/orchion/node-agent/internal/policy"
	"github.com/orchion/orchion/node-agent/internal/registries"
	"github.com/orchion/orchion/node-agent/internal/session"
	"github.com/orchion/orchion/node-agent/internal/tunnel"
	"github.com/orchion/orchion/node-agent/internal/worker"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/loopback"
	"github.com/orchion/orchion/shared/streamconn"
	"github.com/orchion/orchion/shared/version"
)

const (
	// farewell is the part of the shutdown timeout that is kept for telling the
	// orchestrator.
	farewell = 2 * time.Second
	// runtimePeriod is how often a machine without a container engine is asked for one.
	runtimePeriod = 30 * time.Second
	// pingAfter is how long the connection is silent before it is probed, and pingTimeout
	// how long the answer may take: together, how long a dead connection goes unnoticed.
	pingAfter   = 10 * time.Second
	pingTimeout = 5 * time.Second
)

// Agent is a node agent.
type Agent struct {
	cfg     Config
	address string // of the orchestrator, to dial
	machine machine
	policy  *ownfile.File[*policy.Policy]
	// registries holds the credentials that jobs may name.
	registries *ownfile.File[*registries.Credentials]
	dial       []grpc.DialOption
}

// New makes an agent of a configuration; the error is a *SettingError that names the flag.
func New(cfg Config) (*Agent, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	address, err := orchestratorAddress(cfg.Orchestrator)
	if err != nil {
		return nil, err
	}
	allowed, err := openPolicy(cfg)
	if err != nil {
		return nil, err
	}
	held, err := openRegistries(cfg)
	if err != nil {
		return nil, err
	}
	return &Agent{cfg: cfg, address: address, machine: newMachine(cfg), policy: allowed, registries: held}, nil
}

// Capabilities describes this machine: all that an orchestrator could use here.
func (a *Agent) Capabilities(ctx context.Context) *orchionv1.Capabilities {
	capabilities := a.machine.describeAll(ctx)
	a.owned(capabilities)
	return capabilities
}

// Run is the agent's life. When ctx ends it stops the node's jobs and models, tells the
// orchestrator that the node leaves, and returns nil. It returns an error when it cannot
// begin, when another agent took the node's id over, or when the orchestrator refuses the
// node; then containers are left as they are.
func (a *Agent) Run(ctx context.Context) error {
	dir, err := openDataDir(a.cfg.DataDir)
	if err != nil {
		return err
	}
	defer dir.close()
	nodeID, err := dir.nodeID(a.cfg.NodeID)
	if err != nil {
		return err
	}
	instanceID := uuid.NewString()
	a.cfg.Logger.Info("node agent starts", "version", version.String(), "node", nodeID, "data_dir", a.cfg.DataDir, "orchestrator", a.address)
	for {
		// A container engine that appears later makes another node of this machine: all
		// is composed anew.
		again, err := a.runOnce(ctx, nodeID, instanceID)
		if err != nil || !again {
			return err
		}
	}
}

// runOnce runs the agent with the container engine that there is now. It says whether
// one has appeared since.
func (a *Agent) runOnce(ctx context.Context, nodeID, instanceID string) (again bool, err error) {
	engine := a.machine.openRuntime(ctx)
	if engine != nil {
		defer func() {
			if err := engine.Close(); err != nil {
				a.cfg.Logger.Warn("cannot close the connection to the container engine", "error", err)
			}
		}()
		engine = driver.Impatient(engine)
	}
	// The dialer resolves the name: localhost is two addresses, and it tries both.
	conn, err := grpc.NewClient("passthrough:///"+a.address, a.dialOptions(nodeID, instanceID)...)
	if err != nil {
		return false, fmt.Errorf("connect to %s (--orchestrator): %w", a.address, err)
	}
	defer conn.Close()

	processes, err := process.Open(filepath.Join(a.cfg.DataDir, processFolder), supervisor(), a.cfg.Logger)
	if err != nil {
		return false, err
	}
	n := a.compose(ctx, nodeID, instanceID, engine, processes, conn)
	defer n.stop()
	if err := n.worker.Start(ctx); err != nil {
		var t interface{ Temporary() bool }
		if !errors.As(err, &t) || !t.Temporary() {
			return false, err
		}
		a.cfg.Logger.Warn("the container engine has ceased to answer, looking for it again", "error", err)
		select {
		case <-ctx.Done():
			return false, nil
		case <-time.After(pingPeriod):
			return true, nil
		}
	}
	return n.run(ctx)
}

func (a *Agent) dialOptions(nodeID, instanceID string) []grpc.DialOption {
	opts := append(session.Identify(nodeID, instanceID),
		// Config.Validate has seen to it that this stays on the machine.
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithNoProxy(),
		grpc.WithUserAgent("orchion-node-agent/"+version.String()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(session.MaxMessageBytes)),
		grpc.WithStaticStreamWindowSize(streamconn.StreamWindow),
		grpc.WithStaticConnWindowSize(streamconn.ConnWindow),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingTimeout, PermitWithoutStream: true}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			// A machine that drops packets must not hold up the next try for long.
			MinConnectTimeout: 5 * time.Second,
		}),
	)
	return append(opts, a.dial...)
}

// node is the agent as composed around one container engine, or none.
type node struct {
	cfg        Config
	id         string
	machine    machine
	engine     driver.Driver // nil: none
	policy     *ownfile.File[*policy.Policy]
	registries *ownfile.File[*registries.Credentials]
	// owned puts into capabilities what the machine's owner says in files.
	owned      func(*orchionv1.Capabilities)
	membership *session.Membership
	stream     *session.Stream
	worker     *worker.Worker
	tunnels    *tunnel.Server
	pulled     chan struct{} // holds a token when there may be another image
	inputs     *session.Blobs
	// closeServices releases what the worker worked with.
	closeServices func()
	// engineLog finds the log of an engine's container; nil: there are none.
	engineLog func(context.Context, *orchionv1.ReplicaAssignment) (engine.Log, error)

	mu           sync.Mutex // guards what follows
	capabilities *orchionv1.Capabilities
}

func (a *Agent) compose(ctx context.Context, nodeID, instanceID string, engine driver.Driver, processes *process.Driver, conn *grpc.ClientConn) *node {
	n := &node{cfg: a.cfg, id: nodeID, machine: a.machine, engine: engine, policy: a.policy, registries: a.registries, owned: a.owned, pulled: make(chan struct{}, 1)}
	n.capabilities = a.machine.capabilities(ctx, engine)
	a.owned(n.capabilities)
	reach := session.NewReach(a.address, a.cfg.Logger)
	sessions := orchionv1.NewNodeSessionClient(conn)
	tunnels := orchionv1.NewTunnelClient(conn)
	dialer := tunnel.NewDialer(tunnels)

	n.membership = session.NewMembership(session.MembershipConfig{
		Client:            orchionv1.NewOrchestratorClient(conn),
		NodeID:            nodeID,
		InstanceID:        instanceID,
		HeartbeatInterval: a.cfg.HeartbeatInterval,
		Describe:          n.describe,
		Usage:             n.usage,
		Reach:             reach,
		Logger:            a.cfg.Logger,
	})
	n.stream = session.NewStream(session.StreamConfig{
		Client:     sessions,
		Membership: n.membership,
		OpenTunnel: func(ask *orchionv1.OpenTunnel) { n.tunnels.Open(ask) },
		Reach:      reach,
		Logger:     a.cfg.Logger,
	})
	n.inputs = session.NewBlobs(orchionv1.NewBlobsClient(conn), filepath.Join(a.cfg.DataDir, blobsFolder), reach, a.cfg.Logger)
	var models ollama.Peers
	if !a.cfg.KeepModels {
		models = peers{session.NewModelFiles(sessions, filepath.Join(a.cfg.DataDir, modelsFolder), reach, a.cfg.Logger)}
	}
	services := a.machine.services(nodeID, engine, dialer, n.adopted, models)
	n.engineLog = services.engineLog
	given := services.models
	if a.cfg.KeepModels {
		given = nil
	}
	share := modelshare.New(modelshare.Config{Source: given, Describe: services.describe, Pull: services.pull, Rate: a.cfg.ModelRate, Logger: a.cfg.Logger})
	n.closeServices = func() {
		share.Close()
		services.close()
	}
	n.worker = worker.New(worker.Config{
		NodeID:        nodeID,
		Driver:        engine,
		Processes:     processes,
		Policy:        a.policy,
		Registries:    a.registries,
		Replicas:      services.replicas,
		Links:         services.links,
		Networks:      services.networks,
		ProcessLinks:  n.processLinks(dialer),
		GatewayClient: dialer.HTTPClient,
		Inputs:        n.inputs,
		Artifacts:     session.NewArtifacts(orchionv1.NewArtifactSessionClient(conn), reach, a.cfg.Logger),
		Report:        n.stream,
		Logs:          session.NewLogs(sessions, reach, int(a.cfg.LogRate), a.cfg.Logger),
		MaxContainers: a.cfg.MaxJobs,
		LogBytes:      a.cfg.LogBuffer,
		ImagePulled:   n.imagePulled,
		StopGrace:     min(10*time.Second, a.cfg.ShutdownTimeout/2),
		Logger:        a.cfg.Logger,
	})
	n.tunnels = tunnel.NewServer(tunnel.Config{
		Client:        tunnels,
		ReplicaAddr:   n.worker.ReplicaAddr,
		EngineAllowed: n.adopts,
		Place:         loopback.Here(),
		Direct:        n.stream.TunnelDirect,
		ServeModels:   share.Serve,
		OpenLog:       n.openLog,
		Refuse:        n.stream.RefuseTunnel,
		Logger:        a.cfg.Logger,
	})
	return n
}

// errEngineAppeared ends a node without a container engine when there is one.
var errEngineAppeared = errors.New("a container engine has appeared")

// run serves until ctx ends or something ends it from within.
func (n *node) run(ctx context.Context) (again bool, err error) {
	// What goes on during the farewell must outlive ctx.
	alive, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	group, alive := errgroup.WithContext(alive)
	group.Go(func() error { return n.membership.Run(alive) })
	group.Go(func() error { return n.stream.Run(alive, n.worker) })
	group.Go(func() error { n.watchEngines(alive); return nil })
	group.Go(func() error { n.policy.Follow(alive, n.offerOwned); return nil })
	group.Go(func() error { n.registries.Follow(alive, n.offerOwned); return nil })
	if n.engine == nil {
		group.Go(func() error { return n.awaitRuntime(alive) })
	} else {
		group.Go(func() error { n.watchRuntime(alive); return nil })
		group.Go(func() error { n.watchImages(alive); return nil })
	}

	select {
	case <-ctx.Done():
		n.leave(ctx)
	case <-alive.Done():
	}
	end()
	err = group.Wait()
	if errors.Is(err, errEngineAppeared) {
		return ctx.Err() == nil, nil
	}
	return false, err
}

// leave takes the node out of service.
func (n *node) leave(ctx context.Context) {
	if running := n.worker.Running(); running > 0 {
		n.cfg.Logger.Info("stopping: jobs are asked to end; interrupt again to leave them running and exit at once", "jobs", running, "at_most", n.cfg.ShutdownTimeout)
	} else {
		n.cfg.Logger.Info("stopping")
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.cfg.ShutdownTimeout)
	defer cancel()
	reserved := min(farewell, n.cfg.ShutdownTimeout/2)
	work, done := context.WithTimeout(ctx, n.cfg.ShutdownTimeout-reserved)
	n.worker.Leave(work)
	if work.Err() != nil {
		n.cfg.Logger.Warn("not everything has stopped in time and is left; the next start of this agent tidies up", "shutdown_timeout", n.cfg.ShutdownTimeout)
	}
	done()
	bye, cancelBye := context.WithTimeout(ctx, reserved)
	defer cancelBye()
	if err := n.membership.Leave(bye, "the node agent was stopped"); err != nil {
		n.cfg.Logger.Warn("the orchestrator could not be told that this node leaves; it will miss its heartbeats", "error", err)
		return
	}
	n.cfg.Logger.Info("left the orchestrator")
}

// stop ends what compose began.
func (n *node) stop() {
	n.worker.Stop()
	n.inputs.Close()
	n.tunnels.Stop()
	n.closeServices()
}

// awaitRuntime returns errEngineAppeared once there is a container engine.
func (n *node) awaitRuntime(ctx context.Context) error {
	if n.cfg.Runtime == RuntimeNone {
		return nil
	}
	ticker := time.NewTicker(runtimePeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if n.machine.hasRuntime(ctx) && n.worker.Running() == 0 {
			n.cfg.Logger.Info("a container engine has appeared: this node can run containers from now on")
			return errEngineAppeared
		}
	}
}

// describe is what the node registers as.
func (n *node) describe(context.Context) *orchionv1.Node {
	n.mu.Lock()
	defer n.mu.Unlock()
	name := n.cfg.Hostname
	if name == "" {
		name = hostname()
	}
	return &orchionv1.Node{
		Id:           n.id,
		Hostname:     name,
		Labels:       n.cfg.Labels,
		Taints:       n.cfg.Taints,
		AgentVersion: version.String(),
		Capabilities: proto.CloneOf(n.capabilities),
	}
}

func (n *node) usage(ctx context.Context) *orchionv1.NodeUsage {
	usage, err := n.machine.usage(ctx)
	if err != nil {
		// A heart that does not beat because a meter failed would cost the node its jobs.
		n.cfg.Logger.Debug("cannot measure this machine's utilisation", "error", err)
		usage = &orchionv1.NodeUsage{}
	}
	usage.MemoryUsedByOthersBytes = max(usage.GetMemoryUsedByOthersBytes()-n.worker.MemoryAsDeclared(ctx), 0)
	usage.RunningJobs = int32(n.worker.Running())
	return usage
}
