// Package worker brings what runs on a machine into line with what the orchestrator
// assigned to it: attempts of jobs in containers, and replicas of models on engines.
//
// The container engine is the worker's memory. A job's container carries labels that say
// which attempt of which job it is, keeps its log and its exit code, and is removed only
// once the orchestrator has acknowledged how the attempt ended. So an agent that was killed
// finds everything again, and nothing has to be written to a file.
//
// Each attempt and each replica is one goroutine, owned by the [Worker]. Two contexts
// govern an attempt: its hold ends when the attempt is not this node's to run any more (its
// lease ran out, the orchestrator took it away, the node leaves), and then nothing is
// reported; its work ends, within the hold, when the job is to be stopped (it was
// cancelled, its time is up), and that is reported.
package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/session"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

const (
	// defaultLease is how long a container that was found at the start may run without a
	// word from the orchestrator, and the TTL of an assignment that names none.
	defaultLease = 30 * time.Second
	// defaultStartTimeout is how long a job that names no start timeout may take until it
	// runs: long enough for a large image on a slow line.
	defaultStartTimeout = time.Hour
	// acknowledgeWait is how long a leaving node waits for the orchestrator to take over
	// how its last attempts ended.
	acknowledgeWait = 5 * time.Second
)

// Reporter tells the orchestrator where things stand. Its methods do not block.
type Reporter interface {
	ReportAttempt(*orchionv1.AttemptStatus)
	ReportReplica(*orchionv1.ReplicaStatus)
}

// LogPusher carries the logs of attempts to the orchestrator; see [session.Logs].
type LogPusher interface {
	Push(ctx context.Context, ref *orchionv1.AttemptRef, source session.LogSource) error
}

// Linker connects the containers of jobs with the gateway.
type Linker interface {
	// Open makes the way from an attempt's container to the gateway, or takes over the
	// one that an earlier run of this agent made.
	Open(ctx context.Context, jobID string, attempt int) (Link, error)
	// Reap removes what earlier runs of this agent left of links that keep does not want.
	Reap(ctx context.Context, keep func(jobID string, attempt int) bool) error
}

// Link is one container's way to the gateway.
type Link interface {
	// Network is the network that the job's container is to join.
	Network() driver.NetworkMode
	// BaseURL is where the gateway answers there, such as "http://127.0.0.1:11435/v1".
	BaseURL() string
	// Key is what the job is to show there.
	Key() string
	// Close removes the link and whatever serves it. The job's container must be gone.
	Close(ctx context.Context) error
	// Detach lets go of the link and leaves what serves it for the next run of the agent.
	Detach()
}

// Networks lends networks that are ready to the containers of jobs; without, each gets one
// when it starts, which takes longer.
type Networks interface {
	// Lend gives a network that no other job has. It does not wait until there is one.
	Lend(ctx context.Context) Network
	// TakeOver is the network of a container whose id an earlier run of the agent was lent.
	TakeOver(id string) Network
	// Reap removes what earlier runs of this agent were lent and keep does not want.
	Reap(ctx context.Context, keep func(id string) bool) error
}

// Network is one that is lent to a job's container.
type Network interface {
	// ID is that of the container whose network it is; empty: none was ready.
	ID() string
	// Ended says that the job's container has ended. With again another job may be given the
	// network, if this one has left nothing in it.
	Ended(ctx context.Context, again bool)
	// Discard gives it up before the job's container has run on it, without waiting: the job
	// goes on without.
	Discard()
	// Close removes it, unless another job may have it. The job's container must be gone. The
	// error is that of ctx: then it may be called again.
	Close(ctx context.Context) error
}

// Config says what a Worker works with.
type Config struct {
	// NodeID is on everything that the worker creates. Needed.
	NodeID string
	// Driver runs the containers; nil: this machine has no container engine.
	Driver driver.Driver
	// Processes runs programs on the machine itself, as far as Policy allows; nil: none.
	Processes driver.Containers
	Policy    Policy
	// Registries holds the credentials that jobs may name; nil: none.
	Registries Registries
	// Replicas serves models; nil: this machine cannot.
	Replicas ReplicaRunner
	// Links connects jobs that declare models with the gateway; nil: such jobs fail.
	Links Linker
	// Networks lends networks to containers of jobs without models; nil: nobody does.
	Networks Networks
	// ProcessLinks does so for processes that declare models; nil: such jobs fail.
	ProcessLinks Linker
	// GatewayClient gives a client that reaches the gateway as an attempt, whatever the
	// host of the URL; nil: chat jobs fail.
	GatewayClient func(jobID string, attempt int) *http.Client
	// Inputs fetches the content of input files that are blobs; nil: jobs with such files
	// fail.
	Inputs *session.Blobs
	// Artifacts sends what containers leave; nil: jobs that want something kept fail.
	Artifacts ArtifactPusher
	// Report and Logs are needed.
	Report Reporter
	Logs   LogPusher
	// MaxContainers is how many containers of jobs run at once; those beyond wait. 0: twice
	// the number of logical cores.
	MaxContainers int
	// StopGrace lies between asking a container to stop and killing it, unless the
	// orchestrator names another. 0: 10 s.
	StopGrace time.Duration
	// LogBytes is how much of each job's output the container engine keeps. 0:
	// driver.DefaultLogBytes.
	LogBytes int64
	// ImagePulled is told that an image was pulled for a job. It must not block. nil: nobody.
	ImagePulled func()
	// Logger must not be nil.
	Logger *slog.Logger
}

// Why a hold ends; each is the cause of an attempt's hold context.
var (
	// errAbandoned: the agent ends without leaving; the containers stay as they are.
	errAbandoned = errors.New("the node agent has stopped")
	// errLeaseExpired: the node may not run the attempt any longer.
	errLeaseExpired = errors.New("the lease ran out")
	// errTakenAway: the orchestrator says that the attempt is not this node's.
	errTakenAway = errors.New("the attempt is not this node's any more")
	// errLeaving: the node leaves.
	errLeaving = errors.New("the node leaves")
)

// refKey names an attempt as a key of a map.
type refKey struct {
	jobID   string
	attempt int32
}

func keyOf(ref *orchionv1.AttemptRef) refKey {
	return refKey{jobID: ref.GetJobId(), attempt: ref.GetAttempt()}
}

func (k refKey) proto() *orchionv1.AttemptRef {
	return &orchionv1.AttemptRef{JobId: k.jobID, Attempt: k.attempt}
}

// Worker runs what a node is assigned. Its methods are safe for concurrent use. It
// implements [session.Worker].
type Worker struct {
	cfg   Config
	slots *semaphore.Weighted
	// asking holds one for each look at the files that a policy names.
	asking chan struct{}

	root context.Context // ends, with errAbandoned, in Stop
	stop context.CancelCauseFunc
	wg   sync.WaitGroup // every goroutine of the worker

	mu       sync.Mutex // guards what follows
	closed   bool       // no new attempts and replicas
	attempts map[refKey]*attempt
	replicas map[string]*replica
	// expired are attempts whose lease ran out here while they ran. Should the
	// orchestrator still think that they are this node's, running them again under the
	// same number would be running them twice.
	expired map[refKey]bool
}

var _ session.Worker = (*Worker)(nil)

// New makes a Worker; Start lets it begin.
func New(cfg Config) *Worker {
	if cfg.LogBytes == 0 {
		cfg.LogBytes = driver.DefaultLogBytes
	}
	if cfg.MaxContainers <= 0 {
		cfg.MaxContainers = 2 * runtime.NumCPU()
	}
	if cfg.StopGrace <= 0 {
		cfg.StopGrace = 10 * time.Second
	}
	w := &Worker{
		cfg:      cfg,
		slots:    semaphore.NewWeighted(int64(cfg.MaxContainers)),
		asking:   make(chan struct{}, maxAsking),
		attempts: map[refKey]*attempt{},
		replicas: map[string]*replica{},
		expired:  map[refKey]bool{},
	}
	w.root, w.stop = context.WithCancelCause(context.Background())
	return w
}

// Start finds the containers and processes that an earlier run of the agent left. They go on running
// until their lease runs out, and are taken over when the orchestrator assigns them.
func (w *Worker) Start(ctx context.Context) error {
	if w.cfg.Processes != nil {
		if err := w.find(ctx, w.cfg.Processes, false); err != nil {
			return fmt.Errorf("find the processes of this node: %w", err)
		}
	}
	if w.cfg.Driver == nil {
		return nil
	}
	if err := w.find(ctx, w.cfg.Driver, true); err != nil {
		return fmt.Errorf("find the containers of this node: %w", err)
	}
	return nil
}

// Stop ends all that the worker does and leaves the containers as they are: another run of
// the agent takes them over. It blocks until that is so, and may be called twice.
func (w *Worker) Stop() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.stop(errAbandoned)
	w.wg.Wait()
}

// Leave stops and removes what the node runs, because the node goes for good. Attempts
// that have ended get a little time to be acknowledged. What is not done when ctx ends is
// left. Call Stop afterwards.
func (w *Worker) Leave(ctx context.Context) {
	w.mu.Lock()
	w.closed = true
	var stopping, ended []*attempt
	for _, a := range w.attempts {
		if a.release(errLeaving) {
			stopping = append(stopping, a)
		} else {
			ended = append(ended, a)
		}
	}
	replicas := make([]*replica, 0, len(w.replicas))
	for _, r := range w.replicas {
		r.remove()
		replicas = append(replicas, r)
	}
	w.mu.Unlock()

	acknowledged, cancel := context.WithTimeout(ctx, acknowledgeWait)
	defer cancel()
	for _, a := range ended {
		await(acknowledged, a.done)
	}
	for _, a := range stopping {
		await(ctx, a.done)
	}
	for _, r := range replicas {
		await(ctx, r.done)
	}
}

// await waits for done or for the context to end.
func await(ctx context.Context, done <-chan struct{}) {
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// Running counts the attempts that run now.
func (w *Worker) Running() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, a := range w.attempts {
		if a.runs() {
			n++
		}
	}
	return n
}

// Held implements [session.Worker].
func (w *Worker) Held() *orchionv1.Hello {
	w.mu.Lock()
	defer w.mu.Unlock()
	hello := &orchionv1.Hello{}
	for _, a := range w.attempts {
		if s := a.held(); s != nil {
			hello.Attempts = append(hello.Attempts, s)
		}
	}
	for _, r := range w.replicas {
		hello.Replicas = append(hello.Replicas, r.current())
	}
	return hello
}

// Leases implements [session.Worker]: all that is held and not acknowledged, because an
// attempt that has ended is this node's until the orchestrator knows how.
func (w *Worker) Leases() []*orchionv1.AttemptRef {
	w.mu.Lock()
	defer w.mu.Unlock()
	var refs []*orchionv1.AttemptRef
	for key, a := range w.attempts {
		if a.leased() {
			refs = append(refs, key.proto())
		}
	}
	return refs
}

// Assign implements [session.Worker].
func (w *Worker) Assign(set *orchionv1.AssignmentSet) {
	wanted := map[refKey]bool{}
	for _, assignment := range set.GetJobs() {
		wanted[keyOf(assignment.GetRef())] = true
		w.AssignJob(assignment)
	}
	replicas := map[string]bool{}
	for _, assignment := range set.GetReplicas() {
		replicas[assignment.GetReplicaId()] = true
		w.AssignReplica(assignment)
	}

	w.mu.Lock()
	defer w.mu.Unlock()
	for key, a := range w.attempts {
		if !wanted[key] {
			a.release(errTakenAway)
		}
	}
	for key := range w.expired {
		if !wanted[key] {
			delete(w.expired, key)
		}
	}
	for id, r := range w.replicas {
		if !replicas[id] {
			r.remove()
		}
	}
	if !w.closed {
		w.removeStrayReplicasLocked()
		w.reapLinksLocked()
		w.reapNetworksLocked()
	}
}

// reapLinksLocked begins to remove links whose attempts are not there any more. An attempt
// is known before its link is made, so that none is taken from a living one.
func (w *Worker) reapLinksLocked() {
	for _, links := range []Linker{w.cfg.Links, w.cfg.ProcessLinks} {
		if links == nil {
			continue
		}
		w.wg.Go(func() {
			err := links.Reap(w.root, func(jobID string, attempt int) bool {
				w.mu.Lock()
				defer w.mu.Unlock()
				return w.attempts[refKey{jobID: jobID, attempt: int32(attempt)}] != nil
			})
			if err != nil && w.root.Err() == nil {
				w.cfg.Logger.Warn("cannot remove what an earlier run of this agent left of its jobs' links", "error", err)
			}
		})
	}
}

// reapNetworksLocked begins to remove networks that were lent to containers that are not
// there any more.
func (w *Worker) reapNetworksLocked() {
	if w.cfg.Networks == nil {
		return
	}
	w.wg.Go(func() {
		err := w.cfg.Networks.Reap(w.root, func(id string) bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			for _, a := range w.attempts {
				if a.foundNetwork == id {
					return true
				}
			}
			return false
		})
		if err != nil && w.root.Err() == nil {
			w.cfg.Logger.Warn("cannot remove what an earlier run of this agent left of its jobs' networks", "error", err)
		}
	})
}

// AssignJob implements [session.Worker]. Assigning an attempt again changes nothing.
func (w *Worker) AssignJob(assignment *orchionv1.JobAssignment) {
	key := keyOf(assignment.GetRef())
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	if w.expired[key] {
		w.cfg.Logger.Warn("not running an attempt again whose lease ran out here", "job", key.jobID, "attempt", key.attempt)
		return
	}
	a := w.attempts[key]
	if a == nil {
		a = w.addAttemptLocked(key, nil, nil)
	}
	a.assign(assignment)
}

// addAttemptLocked begins an attempt, around a container or process on an engine when there
// is one already.
func (w *Worker) addAttemptLocked(key refKey, found *driver.Container, on driver.Containers) *attempt {
	a := newAttempt(w, key, found)
	a.engine = on
	w.attempts[key] = a
	w.wg.Go(a.run)
	return a
}

// forget is the last act of an attempt.
func (w *Worker) forget(a *attempt, ranIntoLease bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.attempts, a.key)
	if ranIntoLease {
		w.expired[a.key] = true
	}
}

// CancelAttempt implements [session.Worker].
func (w *Worker) CancelAttempt(c *orchionv1.CancelAttempt) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := w.attempts[keyOf(c.GetRef())]
	if a == nil {
		return
	}
	grace := w.cfg.StopGrace
	if c.GetGrace() != nil {
		grace = max(c.GetGrace().AsDuration(), 0)
	}
	// The orchestrator knows why. What it is told is how the job took it.
	a.halt(&stopError{state: orchionv1.AttemptState_ATTEMPT_STATE_CANCELLED, grace: grace})
	a.endSend() // also of one whose time was up before
}

// LeasesRenewed implements [session.Worker].
func (w *Worker) LeasesRenewed(answer *orchionv1.LeasesRenewed, asked time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, ref := range answer.GetRenewed() {
		if a := w.attempts[keyOf(ref)]; a != nil {
			a.renewed(asked, answer.GetLeaseTtl().AsDuration())
		}
	}
	for _, ref := range answer.GetLost() {
		if a := w.attempts[keyOf(ref)]; a != nil {
			a.takeAway()
		}
	}
}

// AttemptAcknowledged implements [session.Worker].
func (w *Worker) AttemptAcknowledged(answer *orchionv1.AttemptAcknowledged) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := w.attempts[keyOf(answer.GetRef())]
	if a == nil {
		return
	}
	if !answer.GetAccepted() {
		w.cfg.Logger.Warn("the orchestrator has given this attempt to another node; its end here does not count",
			"job", a.key.jobID, "attempt", a.key.attempt)
	}
	a.acknowledge()
}
