package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/mailbox"
	"github.com/orchion/orchion/orchestrator/internal/scheduler"
	"github.com/orchion/orchion/orchestrator/internal/store"
)

// Store is what the dispatcher needs of store.Store.
type Store interface {
	SubmitJob(ctx context.Context, j job.Job) (stored job.Job, created bool, err error)
	SubmitClaimed(ctx context.Context, j job.Job, nodeID string, now time.Time, gpus ...string) (stored job.Job, created bool, err error)
	GetJob(ctx context.Context, id string) (job.Job, error)
	PendingJobs(ctx context.Context, f func(job.Job) error) error
	ClaimJob(ctx context.Context, id, nodeID string, now time.Time, gpus ...string) (job.Job, error)
	StartAttempt(ctx context.Context, ref job.Ref, at time.Time) (job.Job, error)
	CompleteAttempt(ctx context.Context, ref job.Ref, end job.End) (job.Job, error)
	LoseAttempt(ctx context.Context, ref job.Ref, reason string, now time.Time) (job.Job, error)
	CancelJob(ctx context.Context, id, reason string, now time.Time) (job.Job, error)
	EvictAttempt(ctx context.Context, ref job.Ref, reason string) (job.Job, error)
	RetryJob(ctx context.Context, id string, now time.Time) (job.Job, error)
	ExpireJob(ctx context.Context, id, met string, now time.Time) (job.Job, error)
	SubmitJobs(ctx context.Context, jobs []job.Job) (first job.Job, created bool, err error)
	ReleaseJob(ctx context.Context, id, unmet string, now time.Time) (job.Job, error)
	Outcome(ctx context.Context, id string) (job.Outcome, error)
	ListJobs(ctx context.Context, f store.JobFilter) (store.JobPage, error)
	PutQueue(ctx context.Context, q job.Queue) error
	DeleteQueue(ctx context.Context, name string) error
	ListQueues(ctx context.Context) ([]job.Queue, error)
}

// Config says what a Dispatcher works with. Store and Hub must be set.
type Config struct {
	Store Store
	Hub   *Hub
	// Cluster is shared with whoever else places work. Default: its own.
	Cluster *scheduler.Cluster
	// Events is told of every change of a job, in the order of the changes. It
	// must not block. Default: nobody is told.
	Events func(*job.Job)
	// QueueEvents is told how a queue stands when its settings change, and at
	// most once a second while jobs come to it and leave it; gone: nothing is
	// in it and nothing is set for it any more. It must not block. Default:
	// nobody is told.
	QueueEvents func(q QueueStatus, gone bool)
	// Spare is asked when a lease of a node has run out: true keeps the attempt
	// until its node is heard of or Resume is called. It must not block.
	// Default: nothing is spared.
	Spare func(nodeID string) bool
	// LeaseTTL is how long a node may run an attempt without renewing.
	// Default 30 s, at least 1 s.
	LeaseTTL time.Duration
	// MaxQueued is how many jobs may wait. Default 1,000,000.
	MaxQueued int
	// MaxQueues is how many queues may be in use or have settings. Default
	// 10,000.
	MaxQueues int
	// MaxClaims is how many claims are with the store at once: enough for it
	// to commit them together. Default 128.
	MaxClaims int
	// ReserveAfter is how long a job may be the one that should go next and find
	// no room until room is kept for it on a node. Default 1 min, at least 1 s.
	ReserveAfter time.Duration
	// CancelGrace lies between asking a cancelled job's container to stop and
	// killing it, unless the job says otherwise. Default 10 s.
	CancelGrace time.Duration
	Logger      *slog.Logger // default: discards
}

// DefaultLeaseTTL is how long a node may run an attempt without renewing. With
// the grace on top, the jobs of a machine that died are free before the machine is
// called offline, after 30 s by default.
const DefaultLeaseTTL = 20 * time.Second

// DefaultReserveAfter is how long a job goes without room until some is kept.
const DefaultReserveAfter = time.Minute

func (c *Config) complete() error {
	if c.Store == nil || c.Hub == nil {
		return errors.New("dispatch: Config needs Store and Hub")
	}
	if c.LeaseTTL == 0 {
		c.LeaseTTL = DefaultLeaseTTL
	}
	if c.LeaseTTL < time.Second {
		return fault.BadField("lease-ttl", "is %s; it must be at least 1s, and 10s or more does for most networks", c.LeaseTTL)
	}
	if c.Cluster == nil {
		c.Cluster = scheduler.NewCluster()
	}
	if c.Events == nil {
		c.Events = func(*job.Job) {}
	}
	if c.QueueEvents == nil {
		c.QueueEvents = func(QueueStatus, bool) {}
	}
	if c.Spare == nil {
		c.Spare = func(string) bool { return false }
	}
	if c.MaxQueued <= 0 {
		c.MaxQueued = 1_000_000
	}
	if c.MaxQueues <= 0 {
		c.MaxQueues = 10_000
	}
	if c.MaxClaims <= 0 {
		c.MaxClaims = 128
	}
	if c.ReserveAfter == 0 {
		c.ReserveAfter = DefaultReserveAfter
	}
	if c.ReserveAfter < time.Second {
		return fault.BadField("reserve-after", "is %s; it must be at least 1s", c.ReserveAfter)
	}
	if c.CancelGrace <= 0 {
		c.CancelGrace = 10 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Dispatcher brings queued jobs to nodes and watches over them there. One
// goroutine owns its state; the store is asked by others, so that many
// operations are under way at once and the owner waits for none.
type Dispatcher struct {
	cfg   Config
	box   *mailbox.Box
	stats counters

	// setting is held while the settings of a queue change, so that the store
	// and the owner hear of changes in the same order.
	setting sync.Mutex

	lifecycle sync.Mutex // guards started and serialises Start and Stop
	started   bool
	stopped   bool
	stop      context.CancelFunc
	loop      sync.WaitGroup

	// What follows belongs to the owning goroutine.

	ctx    context.Context //nolint:containedctx // ends the store operations of the owner
	calls  sync.WaitGroup  // store operations under way
	queue  *queue
	told   time.Time                      // when those who watch were told of queues
	active map[string]*attempt            // by job
	byNode map[string]map[string]*attempt // by node, then job
	leases leases
	drains drains
	spared int        // attempts whose leases ran out and were kept
	claims int        // under way
	heard  []*attempt // that nodes spoke of, to be advanced
	// arrivals wait to hear what the next round finds for them.
	arrivals []*arrival
	givenUp  int // jobs whose queue timeout the store is being told of
	after    dependents
	// errands are under way, errandsWaiting to come; see errand.
	errands        int
	errandsWaiting []func(done func())
	// preemptible is how many attempts may be stopped for others.
	preemptible int
	// keepsDue is before when keepRooms does not look again.
	keepsDue  time.Time
	changes   *scheduler.Changes
	dirty     map[string]struct{} // nodes that gained room since classes were blocked
	changed   []string            // dirty as a list, while classes are probing
	room      scheduler.Room      // of the changed nodes, or more
	roomTaken bool                // some of it was given out
}

// New makes a dispatcher that shares the hub's streams. Call Start to load the
// jobs that have not ended.
func New(cfg Config) (*Dispatcher, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	d := &Dispatcher{
		cfg:     cfg,
		box:     mailbox.New(),
		queue:   newQueue(),
		after:   newDependents(),
		active:  make(map[string]*attempt),
		byNode:  make(map[string]map[string]*attempt),
		drains:  drains{nodes: make(map[string]*draining)},
		changes: cfg.Cluster.Watch(),
		dirty:   make(map[string]struct{}),
	}
	cfg.Hub.observe(cfg.Cluster.SetConnected)
	return d, nil
}

// Cluster is the table that the dispatcher places jobs in.
func (d *Dispatcher) Cluster() *scheduler.Cluster { return d.cfg.Cluster }

// LeaseTTL is how long a node may run an attempt without renewing.
func (d *Dispatcher) LeaseTTL() time.Duration { return d.cfg.LeaseTTL }

// grace is how much longer than the node the orchestrator lets a lease live,
// so that the node stops first.
func (d *Dispatcher) grace() time.Duration { return max(d.cfg.LeaseTTL/3, time.Second) }

// Start loads the jobs that have not ended and begins to dispatch. Attempts
// that nodes hold get a fresh lease: nothing is lost for our own absence. ctx
// bounds the loading only. A dispatcher that could not start is of no use.
func (d *Dispatcher) Start(ctx context.Context) error {
	d.lifecycle.Lock()
	defer d.lifecycle.Unlock()
	if d.started || d.stopped {
		return errors.New("dispatch: Start was called before")
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	d.ctx = run
	now := time.Now()
	d.keepsDue = now
	queues, err := d.cfg.Store.ListQueues(ctx)
	if err != nil {
		cancel()
		d.stopped = true
		return fmt.Errorf("load the settings of queues: %w", err)
	}
	for _, set := range queues {
		d.queue.configure(set, true)
	}
	err = d.cfg.Store.PendingJobs(ctx, func(j job.Job) error {
		d.admit(&j, now)
		return nil
	})
	if err != nil {
		cancel()
		d.stopped = true
		return fmt.Errorf("load the jobs that have not ended: %w", err)
	}
	d.started = true
	d.stop = cancel
	d.cfg.Logger.Info("jobs loaded", "queued", len(d.queue.entries), "active", len(d.active))
	d.loop.Go(d.run)
	return nil
}

// Stop ends dispatching; what runs on nodes goes on. It blocks until nothing
// is under way, and may be called twice.
func (d *Dispatcher) Stop() {
	d.lifecycle.Lock()
	defer d.lifecycle.Unlock()
	d.stopped = true
	if d.started {
		d.stop()
		d.loop.Wait()
	}
	d.changes.Stop()
	d.box.Close()
}

// run is the owning goroutine.
func (d *Dispatcher) run() {
	defer d.calls.Wait()
	defer d.box.Close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var work []func()
	for {
		select {
		case <-d.ctx.Done():
			return
		case <-d.box.Ready():
		case <-d.changes.Ready():
		case <-timer.C:
		}
		work = d.box.Take(work)
		for _, f := range work {
			f()
		}
		d.advanceHeard()
		now := time.Now()
		d.expire(now)
		d.drainDue(now)
		next := earlier(d.queue.wake(now), d.giveUp(now))
		d.changes.Take(d.dirty)
		d.keepRooms(now)
		d.admitArrivals(now)
		d.place(now)
		d.answerArrivals()
		next = earlier(next, d.keepsNext())
		if a := d.leases.first; a != nil {
			next = earlier(next, a.deadline)
		}
		next = earlier(next, d.drains.due)
		next = earlier(next, d.tellQueues(now))
		if next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
		d.publishStats()
	}
}

// earlier answers the first of two times; a zero one does not come.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// admit takes over a job as the store has it, after a start or a surprise.
func (d *Dispatcher) admit(j *job.Job, now time.Time) {
	switch {
	case j.State == job.Queued:
		d.enter(j, now)
	case j.State.Active():
		if a := d.hold(j, now); a != nil {
			a.recovered = true
		}
	}
}

// call runs a store operation beside the owning goroutine, and then done in it.
func (d *Dispatcher) call(operation func(context.Context) (job.Job, error), done func(job.Job, error)) {
	ask(d, operation, done)
}

// ask is call for whatever an operation answers.
func ask[T any](d *Dispatcher, operation func(context.Context) (T, error), done func(T, error)) {
	d.calls.Go(func() {
		answer, err := operation(d.ctx)
		d.box.Post(func() { done(answer, err) })
	})
}

// later posts f after a while, unless the dispatcher has stopped by then.
func (d *Dispatcher) later(wait time.Duration, f func()) {
	time.AfterFunc(wait, func() { d.box.Post(f) })
}

// resync takes over what the store says of a job, when it said something else
// than the dispatcher thought.
func (d *Dispatcher) resync(id string) {
	d.call(
		func(ctx context.Context) (job.Job, error) { return d.cfg.Store.GetJob(ctx, id) },
		func(j job.Job, err error) {
			switch {
			case fault.CodeOf(err) == fault.NotFound && err != nil:
				return
			case err != nil:
				d.cfg.Logger.Error("job could not be read again", "job", id, "error", err)
				d.later(storeRetry, func() { d.resync(id) })
				return
			case d.active[id] != nil || d.queue.entries[id] != nil:
				return
			}
			d.admit(&j, time.Now())
			d.publish(&j)
		})
}

// disagrees says whether the store refused a transition: what the dispatcher
// thinks of the job is not so.
func disagrees(err error) bool {
	code := fault.CodeOf(err)
	return code == fault.Precondition || code == fault.NotFound
}

// stopping is what callers are told once the dispatcher has stopped.
func stopping(err error) error {
	if errors.Is(err, mailbox.ErrClosed) {
		return fault.New(fault.Unavailable, "the orchestrator is shutting down")
	}
	return err
}
