package model

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/mailbox"
	"github.com/orchion/orchion/orchestrator/internal/node"
	"github.com/orchion/orchion/orchestrator/internal/scheduler"
)

// Store is what the manager needs of store.Store.
type Store interface {
	PutDeployment(ctx context.Context, d Deployment) error
	DeleteDeployment(ctx context.Context, name string) error
	PutReplica(ctx context.Context, r Replica) error
	DeleteReplica(ctx context.Context, id string) error
	ListDeployments(ctx context.Context) ([]Deployment, error)
}

// Config says what a Manager works with. Store and Link must be set.
type Config struct {
	Store Store
	Link  Link
	// Cluster is shared with whoever else places work. Default: its own.
	Cluster *scheduler.Cluster
	// Events is told of every change of a deployment, Removed of those that are
	// gone. They must not block. Default: nobody is told.
	Events  func(*Deployment)
	Removed func(name string)
	// StartGrace is how long after Start a node that has not registered is
	// taken to be on its way: its replicas are not placed elsewhere. Default
	// 45 s.
	StartGrace time.Duration
	// StopTimeout is how long a node that is online may take to remove a
	// replica; then it is forgotten. Default 2 min.
	StopTimeout time.Duration
	// Fits says how a model fits on the nodes, as far as that is known. It is asked
	// for specs that declare no resources. It must not block. Default: nothing is
	// known.
	Fits func(s *Spec) Suitability
	// Busy says whether a replica that serves answers requests now. One that is
	// to go is stopped when it does not, at the latest after FinishTimeout. It
	// must not block. Default: none ever does.
	Busy func(model, nodeID, replicaID string) bool
	// FinishTimeout is how long requests may last on a replica that is to go.
	// Default 5 min; at most 30 s when its deployment is being deleted.
	FinishTimeout time.Duration
	// InitialBackoff and MaxBackoff are between the tries of a replica that
	// fails. Defaults 10 s and 5 min.
	InitialBackoff, MaxBackoff time.Duration
	// MaxDeployments bounds their number. Default 1,000.
	MaxDeployments int
	Logger         *slog.Logger // default: discards
}

func (c *Config) complete() error {
	if c.Store == nil || c.Link == nil {
		return errors.New("model: Config needs Store and Link")
	}
	if c.Cluster == nil {
		c.Cluster = scheduler.NewCluster()
	}
	if c.Events == nil {
		c.Events = func(*Deployment) {}
	}
	if c.Removed == nil {
		c.Removed = func(string) {}
	}
	defaultTo(&c.StartGrace, 45*time.Second)
	defaultTo(&c.StopTimeout, 2*time.Minute)
	defaultTo(&c.FinishTimeout, 5*time.Minute)
	defaultTo(&c.InitialBackoff, 10*time.Second)
	defaultTo(&c.MaxBackoff, max(5*time.Minute, c.InitialBackoff))
	if c.MaxDeployments <= 0 {
		c.MaxDeployments = 1000
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

func defaultTo(d *time.Duration, value time.Duration) {
	if *d <= 0 {
		*d = value
	}
}

const (
	// storeTimeout bounds one write to the store.
	storeTimeout = 10 * time.Second
	// storeRetry is how long to wait after the store failed.
	storeRetry = time.Second
	// scanPause lies between two looks for room for replicas that have none.
	scanPause = 250 * time.Millisecond
	// finishPause lies between two looks whether a replica that is to go still
	// answers requests. The first look is when nobody is sent to it any more.
	finishPause = 250 * time.Millisecond
	// deleteFinish is how long requests may last when the deployment is deleted.
	deleteFinish = 30 * time.Second
)

// Manager brings what is served to what is wanted. One goroutine owns its
// state; readers get snapshots that it publishes.
type Manager struct {
	cfg Config
	box *mailbox.Box

	lifecycle sync.Mutex // guards what follows and serialises Start and Stop
	started   bool
	stopped   bool
	stop      context.CancelFunc
	loop      sync.WaitGroup

	published atomic.Pointer[snapshot]

	// What follows belongs to the owning goroutine.

	ctx         context.Context //nolint:containedctx // ends the owner's store operations
	startedAt   time.Time
	deployments map[string]*deployment
	replicas    map[string]*replica
	demands     map[string]Demand     // for models of deployments that scale
	seen        map[string]bool       // nodes that were active within StartGrace
	adopted     map[string]*node.Node // active nodes with engines of their own
	changes     *scheduler.Changes
	gained      map[string]struct{} // scratch space for changes
	scanned     time.Time           // when room was looked for last
	rescan      bool                // room was gained since
	rerouted    bool                // the routes are to be made anew
	paused      bool                // nodes that are not there are waited for
	unremoved   bool                // the store failed while a replica was to be removed
	removed     []string            // deployments gone since the last publishing
	made        int                 // replicas made
}

// New makes a manager. Call Start to load the deployments.
func New(cfg Config) (*Manager, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	m := &Manager{
		cfg:         cfg,
		box:         mailbox.New(),
		deployments: make(map[string]*deployment),
		replicas:    make(map[string]*replica),
		demands:     make(map[string]Demand),
		seen:        make(map[string]bool),
		adopted:     make(map[string]*node.Node),
		changes:     cfg.Cluster.Watch(),
		gained:      make(map[string]struct{}),
	}
	m.published.Store(newSnapshot())
	return m, nil
}

// Start loads the deployments and begins to reconcile. Replicas stay where
// they were placed; their nodes are given time to come back. ctx bounds the
// loading only. A manager that could not start is of no use.
func (m *Manager) Start(ctx context.Context) error {
	m.lifecycle.Lock()
	defer m.lifecycle.Unlock()
	if m.started || m.stopped {
		return errors.New("model: Start was called before")
	}
	list, err := m.cfg.Store.ListDeployments(ctx)
	if err != nil {
		m.stopped = true
		return fmt.Errorf("load the deployments: %w", err)
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	m.ctx, m.stop, m.started = run, cancel, true
	m.startedAt = time.Now()
	for i := range list {
		m.load(&list[i])
	}
	m.publish()
	m.cfg.Logger.Info("deployments loaded", "deployments", len(m.deployments), "replicas", len(m.replicas))
	m.loop.Go(m.run)
	return nil
}

// Stop ends reconciling; what nodes serve goes on being served. It blocks
// until nothing is under way, and may be called twice.
func (m *Manager) Stop() {
	m.lifecycle.Lock()
	defer m.lifecycle.Unlock()
	m.stopped = true
	if m.started {
		m.stop()
		m.loop.Wait()
	}
	m.changes.Stop()
	m.box.Close()
}

// run is the owning goroutine.
func (m *Manager) run() {
	defer m.box.Close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var work []func()
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-m.box.Ready():
		case <-m.changes.Ready():
			m.changes.Take(m.gained)
			clear(m.gained)
			m.rescan = true
		case <-timer.C:
		}
		work = m.box.Take(work)
		for _, f := range work {
			f()
		}
		next := m.reconcile(time.Now())
		m.publish()
		if next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
	}
}

// load takes over a deployment from the store.
func (m *Manager) load(stored *Deployment) {
	d := newDeployment(stored, m.startedAt)
	placed := 0
	for _, known := range stored.Replicas {
		m.made++
		r := &replica{Replica: known, number: m.made}
		r.State = Pending
		if r.Remove {
			r.State = Stopping
			r.stopBy = m.startedAt.Add(m.cfg.StartGrace + m.cfg.StopTimeout)
		} else {
			placed++
		}
		r.Outdated = d.outdated(r)
		d.replicas = append(d.replicas, r)
		m.replicas[r.ID] = r
		if r.NodeID != "" {
			m.cfg.Cluster.Hold(r.NodeID, holder(r.ID), d.work, r.GPUs...)
		}
	}
	m.deployments[d.Name] = d
	switch {
	case d.Spec.Scales():
		// What was needed before the restart is needed until it proves otherwise.
		d.scaling.begin(min(max(placed, d.Spec.MinReplicas), d.Spec.MaxReplicas), m.startedAt)
		d.want = d.scaling.want
	case d.Spec.Everywhere:
		d.want = max(placed, 1)
	}
}

// write runs a store operation within bounds. The owner waits for it: what
// changes here changes seldom, and its order matters.
func (m *Manager) write(operation func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(m.ctx, storeTimeout)
	defer cancel()
	return operation(ctx)
}

// ask runs f in the owning goroutine, then reconciles and publishes, so that
// the caller finds what it did.
func ask[T any](ctx context.Context, m *Manager, f func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	got, err := mailbox.Ask(ctx, m.box, func() answer {
		value, err := f()
		m.reconcile(time.Now())
		m.publish()
		return answer{value, err}
	})
	if errors.Is(err, mailbox.ErrClosed) {
		return got.value, fault.New(fault.Unavailable, "the orchestrator is shutting down")
	}
	if err != nil {
		return got.value, err
	}
	return got.value, got.err
}
