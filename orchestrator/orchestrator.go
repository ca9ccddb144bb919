// Package orchestrator is Orchion's control plane as one thing to run: it puts
// the registry, the store, the dispatcher, the model manager, the gateway and
// the API together, and takes them apart again in order.
package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/orchion/orchion/dashboard"
	"github.com/orchion/orchion/orchestrator/internal/alias"
	"github.com/orchion/orchion/orchestrator/internal/api"
	"github.com/orchion/orchion/orchestrator/internal/blob"
	"github.com/orchion/orchion/orchestrator/internal/dispatch"
	"github.com/orchion/orchion/orchestrator/internal/events"
	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/fit"
	"github.com/orchion/orchion/orchestrator/internal/gateway"
	"github.com/orchion/orchion/orchestrator/internal/gateway/meter"
	"github.com/orchion/orchion/orchestrator/internal/history"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/model"
	"github.com/orchion/orchion/orchestrator/internal/modelshare"
	"github.com/orchion/orchion/orchestrator/internal/node"
	"github.com/orchion/orchion/orchestrator/internal/schedule"
	"github.com/orchion/orchion/orchestrator/internal/scheduler"
	"github.com/orchion/orchion/orchestrator/internal/store"
	"github.com/orchion/orchion/orchestrator/internal/store/logfile"
	"github.com/orchion/orchion/orchestrator/internal/store/sqlite"
	"github.com/orchion/orchion/orchestrator/internal/tunnel"
	"github.com/orchion/orchion/shared/loopback"
	"github.com/orchion/orchion/shared/version"
)

const (
	// readHeaderTimeout and idleTimeout keep half-open HTTP connections from
	// adding up. There is no write timeout: answers may stream for hours.
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
)

// Orchestrator is a control plane. Make one with New.
type Orchestrator struct {
	cfg Config
	log *slog.Logger
}

// New checks a configuration. Errors: a fault that names the flag.
func New(cfg Config) (*Orchestrator, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.OnReady == nil {
		cfg.OnReady = func(Addresses) {}
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Orchestrator{cfg: cfg, log: cfg.Logger}, nil
}

// Run serves until ctx is done and then ends gracefully, within
// ShutdownTimeout: nothing new is accepted, streams end with UNAVAILABLE, what
// is under way is finished, and the store is flushed. The error says why it
// could not start or had to end; nil after a graceful end.
func (o *Orchestrator) Run(ctx context.Context) (err error) {
	startedAt := time.Now()
	var parts closers
	defer func() { err = errors.Join(err, parts.close()) }()

	// The data directory is locked by the store before a port is taken: of two
	// mistakes at once, two orchestrators on one directory is the worse.
	db, err := sqlite.Open(ctx, sqlite.Config{Dir: o.cfg.DataDir, Logger: o.log})
	if err != nil {
		return err
	}
	parts.add(db.Close)
	grpcListener, err := listen(ctx, o.cfg.Listen, o.cfg.Port, "port")
	if err != nil {
		return err
	}
	parts.add(ignoreClosed(grpcListener.Close))
	httpListener, err := listen(ctx, o.cfg.Listen, o.cfg.HTTPPort, "http-port")
	if err != nil {
		return err
	}
	parts.add(ignoreClosed(httpListener.Close))
	logs, err := logfile.Open(logfile.Config{
		Dir: filepath.Join(o.cfg.DataDir, "logs"), MaxBytes: o.cfg.JobLogMaxBytes,
		Retention: logfile.Retention{
			Age: o.cfg.LogRetention, MaxBytes: o.cfg.LogMaxBytes, State: attemptState(db), Logger: o.log,
		},
	})
	if err != nil {
		return err
	}
	parts.add(logs.Close)

	blobs, err := blob.Open(blob.Config{
		Dir: filepath.Join(o.cfg.DataDir, "blobs"), MaxBytes: o.cfg.BlobMaxBytes, StoreMaxBytes: o.cfg.BlobStoreMaxBytes,
	})
	if err != nil {
		return err
	}

	addresses := Addresses{GRPC: grpcListener.Addr().String(), HTTP: "http://" + httpListener.Addr().String()}
	plane, err := o.newPlane(db, logs, blobs, addresses, startedAt)
	if err != nil {
		return err
	}
	if err := plane.start(ctx); err != nil {
		return errors.Join(err, plane.stop(context.WithoutCancel(ctx)))
	}
	removeRunFile, err := writeRunFile(o.cfg.DataDir, addresses, startedAt)
	if err != nil {
		return errors.Join(err, plane.stop(context.WithoutCancel(ctx)))
	}
	defer removeRunFile()

	failed := plane.serve(grpcListener, httpListener)
	o.log.Info("orchestrator is ready", "dashboard", addresses.HTTP, "grpc", addresses.GRPC,
		"data_dir", o.cfg.DataDir, "version", version.String())
	o.cfg.OnReady(addresses)
	var cause error
	select {
	case <-ctx.Done():
		o.log.Info("shutting down", "at_most", o.cfg.ShutdownTimeout)
	case cause = <-failed:
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.cfg.ShutdownTimeout)
	defer cancel()
	return errors.Join(cause, plane.stop(bounded))
}

// plane is the running parts, in the order in which they are built.
type plane struct {
	log        *slog.Logger
	bus        *events.Bus
	hub        *dispatch.Hub
	dispatcher *dispatch.Dispatcher
	history    *history.Keeper
	blobs      *blob.Keeper
	schedules  *schedule.Manager
	models     *model.Manager
	aliases    *alias.Book
	registry   *node.Registry
	tunnels    *tunnel.Server
	meter      *meter.Meter
	gateway    *gateway.Gateway
	pulls      *modelshare.Puller
	api        *api.Server
	http       *http.Server
	serving    sync.WaitGroup
}

func (o *Orchestrator) newPlane(db *sqlite.Store, logs store.LogStore, blobs *blob.Store, addresses Addresses, startedAt time.Time) (*plane, error) {
	metrics := prometheus.NewRegistry()
	p := &plane{log: o.log, bus: events.NewBus(0), hub: dispatch.NewHub()}
	cluster := scheduler.NewCluster()
	cluster.SetPlacement(o.cfg.Placement)
	var err error
	p.dispatcher, err = dispatch.New(dispatch.Config{
		Store: db, Hub: p.hub, Cluster: cluster, LeaseTTL: o.cfg.LeaseTTL, ReserveAfter: o.cfg.ReserveAfter, Logger: o.log,
		Spare:  func(nodeID string) bool { return p.registry.Spares(nodeID) },
		Events: func(j *job.Job) { p.bus.Publish(events.Event{Type: events.Updated, Job: j.WithoutContents()}) },
		QueueEvents: func(q dispatch.QueueStatus, gone bool) {
			p.bus.Publish(events.Event{Type: change(gone), Queue: &q})
		},
	})
	if err != nil {
		return nil, err
	}
	p.schedules, err = schedule.New(schedule.Config{
		Store: db, Jobs: p.dispatcher, Logger: o.log,
		Events: func(s *schedule.Schedule) { p.bus.Publish(events.Event{Type: events.Updated, Schedule: s}) },
		Removed: func(name string) {
			p.bus.Publish(events.Event{Type: events.Removed, Schedule: &schedule.Schedule{Name: name}})
		},
	})
	if err != nil {
		return nil, err
	}
	p.history, err = history.New(history.Config{
		Store: db, Logs: logs, Keep: o.cfg.JobHistory, Max: o.cfg.MaxJobHistory, KeepArtifacts: o.cfg.ArtifactRetention, Logger: o.log,
		Removed: func(id string) { p.bus.Publish(events.Event{Type: events.Removed, Job: &job.Job{ID: id}}) },
	})
	if err != nil {
		return nil, err
	}
	p.blobs, err = blob.NewKeeper(blob.KeeperConfig{Blobs: blobs, InUse: db.BlobsInUse, Logger: o.log})
	if err != nil {
		return nil, err
	}
	fitter := fit.New(fit.Config{
		Space:       cluster.Space,
		Deployments: func() []model.Deployment { return p.models.List() },
		Dial: func(ctx context.Context, nodeID string, target tunnel.Target) (net.Conn, error) {
			return p.tunnels.Dial(ctx, nodeID, target)
		},
		Measured: func(of func(string) bool) map[string]meter.Speed { return p.meter.Speeds(of) },
	})
	p.models, err = model.New(model.Config{
		Fits:  fitter.Suit,
		Store: db, Link: p.hub, Cluster: cluster, Logger: o.log,
		Busy: func(name, nodeID, replicaID string) bool {
			return p.gateway.Busy(name, nodeID, replicaID)
		},
		Events: func(d *model.Deployment) { p.bus.Publish(events.Event{Type: events.Updated, Deployment: d}) },
		Removed: func(name string) {
			p.bus.Publish(events.Event{Type: events.Removed, Deployment: &model.Deployment{Name: name}})
		},
	})
	if err != nil {
		return nil, err
	}
	p.registry = node.NewRegistry(node.Config{
		HeartbeatTimeout: o.cfg.HeartbeatTimeout, MaxNodes: o.cfg.MaxNodes, Store: db, Logger: o.log,
		SilentAfter: o.cfg.LeaseTTL, PauseLimit: pauseLimit(o.cfg.PauseLimit),
		OnChange: p.nodeChanged, OnOutage: p.outageChanged,
		OnUsage: func(n *node.Node) {
			cluster.UsageChanged(n)
			p.bus.Publish(events.Event{Type: events.Updated, Node: n})
		},
	})
	place := loopback.Here()
	if !o.cfg.DirectPath {
		place = loopback.Place{}
	}
	p.tunnels = tunnel.New(tunnel.Config{
		Place: place, OwnPorts: addresses.ports(),
		Open: func(nodeID string, m dispatch.OpenTunnel) bool { return p.hub.Send(nodeID, m) },
	})
	p.meter, err = meter.New(meter.Config{
		Store: db, Retention: o.cfg.UsageRetention, RequestLog: o.cfg.GatewayLog, Logger: o.log, Metrics: metrics,
	})
	if err != nil {
		return nil, err
	}
	p.aliases, err = alias.New(alias.Config{Store: db, Deployed: p.hasModel})
	if err != nil {
		return nil, err
	}
	p.gateway = gateway.New(gateway.Config{
		Routes: p.models, Dial: p.tunnels.Dial, Deployments: p.models.List, Demand: p.models.Demand, Manager: p.models,
		LeadsTo: p.aliases.LeadsTo, Aliases: p.aliases.Names,
		Changed: p.models.Changed, ColdTimeout: o.cfg.ColdModelTimeout, QueueTimeout: o.cfg.QueueTimeout,
		Links:     p.hub,
		JobModels: p.dispatcher.AttemptModels, Meter: p.meter, Logger: o.log, Metrics: metrics,
		NodeLabels: func(id string) map[string]string {
			if n, ok := p.registry.Get(id); ok {
				return n.Labels
			}
			return nil
		},
	})
	p.pulls = modelshare.NewPuller(modelshare.PullerConfig{
		Nodes: p.registry.Active, Known: func(id string) bool { _, ok := p.registry.Get(id); return ok },
		Deployments: p.models.List, Dial: p.tunnels.Dial, Logger: o.log,
	})
	share := modelshare.New(modelshare.Config{Deployments: p.models.List, Pulls: p.pulls.Model, Dial: p.tunnels.Dial, Logger: o.log})
	metrics.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), newCollector(p.dispatcher, db, blobs))
	p.api, err = api.New(api.Config{
		Nodes: p.registry, Jobs: p.dispatcher, Queues: p.dispatcher, Schedules: p.schedules, JobStore: db, Logs: logs, Blobs: blobs, Artifacts: db, ArtifactMaxBytes: o.cfg.ArtifactMaxBytes, Deployments: p.models, InFlight: p.gateway.InFlight, Traffic: p.gateway.Traffic, Usage: p.meter, Aliases: p.aliases, ModelFiles: share, ModelFit: fitter, ModelPulls: p.pulls,
		Hub: p.hub, Tunnels: p.tunnels, Events: p.bus, LeaseTTL: p.dispatcher.LeaseTTL(),
		GRPCAddress: addresses.GRPC, StartedAt: startedAt, Ready: readiness(db), Gateway: p.gateway,
		Dashboard: builtDashboard(), AllowedOrigins: o.cfg.AllowedOrigins, AllowedHosts: o.cfg.AllowedHosts,
		Metrics: metrics, Logger: o.log,
	})
	if err != nil {
		return nil, err
	}
	p.http = &http.Server{
		Handler: p.api.HTTP(), ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeaderBytes, DisableGeneralOptionsHandler: true, ErrorLog: slog.NewLogLogger(o.log.Handler(), slog.LevelDebug),
	}
	return p, nil
}

// hasModel says whether a model is deployed or served.
func (p *plane) hasModel(name string) bool {
	return len(p.models.Routes(name)) > 0 ||
		slices.ContainsFunc(p.models.List(), func(d model.Deployment) bool { return d.Spec.Model == name })
}

// change is the type of an event.
func change(gone bool) events.Type {
	if gone {
		return events.Removed
	}
	return events.Updated
}

// nodeChanged tells everyone who has to do with nodes.
func (p *plane) nodeChanged(prev, next *node.Node) {
	if reason := streamEnds(prev, next); reason != nil {
		p.hub.Disconnect(prev.ID, reason)
	}
	p.dispatcher.NodeChanged(prev, next)
	p.models.NodeChanged(prev, next)
	if next == nil {
		p.bus.Publish(events.Event{Type: events.Removed, Node: prev})
		return
	}
	p.bus.Publish(events.Event{Type: events.Updated, Node: next})
}

// pauseLimit is a setting of which 0 means never, for a registry to which it
// means the default.
func pauseLimit(setting time.Duration) time.Duration {
	if setting == 0 {
		return -1
	}
	return setting
}

// outageChanged tells everyone who would give the work of silent nodes to
// others.
func (p *plane) outageChanged(o *node.Outage) {
	p.models.SetPaused(o.Ended == "")
	if o.Ended != "" {
		// When nodes come back, the others are given time to follow.
		p.dispatcher.Resume(o.Ended == node.OutageOver)
	}
	p.bus.Publish(events.Event{Type: events.Updated, Cluster: true})
}

// streamEnds says whether a change ends the node's assignment stream, and why.
// A node that was gone has to say anew what it holds, and does so only when it
// connects; one whose id was taken over must not get what is another's.
func streamEnds(prev, next *node.Node) error {
	switch {
	case prev == nil || !prev.State.Active():
		return nil
	case next == nil || !next.State.Active():
		return fault.New(fault.NotFound, "node %q is offline: it left or its heartbeats stopped; register it again", prev.ID)
	case prev.InstanceID != "" && next.InstanceID != "" && prev.InstanceID != next.InstanceID:
		return fault.New(fault.Superseded, "node id %q was taken over by another node agent on host %q (%s)",
			next.ID, next.Hostname, next.Address)
	}
	return nil
}

// start loads what is stored. Nothing is served before it is all there.
func (p *plane) start(ctx context.Context) error {
	for _, start := range []func(context.Context) error{p.registry.Start, p.dispatcher.Start, p.models.Start, p.aliases.Start, p.schedules.Start, p.history.Start, p.blobs.Start, p.meter.Start} {
		if err := start(ctx); err != nil {
			return err
		}
	}
	p.gateway.Start(p.tunnels.Calls())
	return nil
}

// serve begins to answer. The channel gets the error of a server that ended
// by itself.
func (p *plane) serve(grpcListener, httpListener net.Listener) <-chan error {
	failed := make(chan error, 2)
	p.serving.Go(func() {
		if err := p.api.GRPC().Serve(grpcListener); err != nil {
			failed <- fmt.Errorf("serve gRPC: %w", err)
		}
	})
	p.serving.Go(func() {
		if err := p.http.Serve(httpListener); !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("serve HTTP: %w", err)
		}
	})
	return failed
}

// stop ends everything, from the outside in. Until ctx is done, what is under
// way may finish; then it is broken off.
func (p *plane) stop(ctx context.Context) error {
	p.api.Close()
	p.hub.Close()
	// Requests through the gateway may take half of the time, so that the rest
	// remains for what they stand on.
	requests, cancel := context.WithTimeout(ctx, remaining(ctx)/2)
	defer cancel()
	if err := p.http.Shutdown(requests); err != nil {
		_ = p.http.Close() // breaks off what did not finish
	}
	p.gateway.Stop(requests)
	err := p.tunnels.Close()

	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		p.api.GRPC().GracefulStop()
	}()
	select {
	case <-stopped:
	case <-ctx.Done():
		p.log.Warn("calls did not end in time and are broken off")
		p.api.GRPC().Stop()
		<-stopped
	}
	p.serving.Wait()
	p.pulls.Close()
	p.meter.Stop()
	p.blobs.Stop()
	p.history.Stop()
	p.schedules.Stop()
	p.dispatcher.Stop()
	p.models.Stop()
	p.registry.Stop()
	p.bus.Close()
	return err
}

// remaining is how much time ctx has left; a minute when it has no end.
func remaining(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return time.Minute
	}
	return max(time.Until(deadline), 0)
}

// readiness says whether the store answers. That all is loaded goes without
// saying: nothing is served before.
func readiness(db *sqlite.Store) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := db.ListJobs(ctx, store.JobFilter{Limit: 1})
		return err
	}
}

// attemptState tells the retention of logs how an attempt stands.
func attemptState(db *sqlite.Store) func(context.Context, job.Ref) (logfile.AttemptState, error) {
	return func(ctx context.Context, ref job.Ref) (logfile.AttemptState, error) {
		j, err := db.GetJob(ctx, ref.JobID)
		switch {
		case fault.CodeOf(err) == fault.NotFound:
			return logfile.Unknown, nil
		case err != nil:
			return 0, err
		case ref.Attempt <= len(j.Attempts) && j.Attempts[ref.Attempt-1].State.Ended():
			return logfile.Ended, nil
		default:
			return logfile.Live, nil
		}
	}
}

func builtDashboard() fs.FS {
	files, built := dashboard.FS()
	if !built {
		return nil
	}
	return files
}

// closers end what was begun, the last first.
type closers []func() error

func (c *closers) add(f func() error) { *c = append(*c, f) }

func (c closers) close() error {
	var all error
	for i := len(c) - 1; i >= 0; i-- {
		all = errors.Join(all, c[i]())
	}
	return all
}

// ignoreClosed makes closing what a server has closed already no error.
func ignoreClosed(f func() error) func() error {
	return func() error {
		if err := f(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	}
}
