package worker

import (
	"context"
	"errors"
	"sync"
	"time"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

const (
	// checkPeriod is how often a replica that serves is asked whether it still does, and
	// checkTimeout how long it may take to answer.
	checkPeriod  = 5 * time.Second
	checkTimeout = 5 * time.Second
	// maxMissed is how many checks in a row may fail before a replica is brought about
	// anew: an engine under load may be late once.
	maxMissed = 3
	// Pauses between tries to bring a replica about.
	minReplicaPause = 5 * time.Second
	maxReplicaPause = 2 * time.Minute
	// progressPeriod bounds how often mere progress is told.
	progressPeriod = 500 * time.Millisecond
)

// Served says where a replica serves.
type Served struct {
	// Addr is the host:port of the engine on this machine.
	Addr string
	// Model is what the engine calls the model.
	Model string
}

// ReplicaRunner serves models on this machine's engines.
type ReplicaRunner interface {
	// Ensure brings a replica about, or takes over what an earlier run of the agent left,
	// and returns once it serves. It says through report where things stand: the state
	// (PENDING, PULLING or LOADING), the progress and the reason.
	Ensure(ctx context.Context, replica *orchionv1.ReplicaAssignment, report func(*orchionv1.ReplicaStatus)) (Served, error)
	// Check says whether a replica still serves.
	Check(ctx context.Context, replica *orchionv1.ReplicaAssignment) error
	// Remove removes a replica with what only it uses. One that is not there is no error.
	Remove(ctx context.Context, replica *orchionv1.ReplicaAssignment) error
	// RemoveOthers removes what earlier runs of the agent left of replicas but those given.
	RemoveOthers(ctx context.Context, keep []*orchionv1.ReplicaAssignment) error
}

// replica is one running copy of a model on this node. Its goroutine is run.
type replica struct {
	w          *Worker
	id         string
	assignment *orchionv1.ReplicaAssignment
	wanted     context.Context // ends when the replica is to go
	unwant     context.CancelFunc
	done       chan struct{} // closed when run has returned

	mu     sync.Mutex // guards what follows
	status *orchionv1.ReplicaStatus
	addr   string // where it serves; empty: it does not
	toldAt time.Time
	// next is an assignment of the same id that came while this one was being removed.
	next *orchionv1.ReplicaAssignment
}

// AssignReplica implements [session.Worker]. Assigning a replica again changes nothing.
func (w *Worker) AssignReplica(assignment *orchionv1.ReplicaAssignment) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	if r := w.replicas[assignment.GetReplicaId()]; r != nil {
		r.assignAgain(assignment)
		return
	}
	w.addReplicaLocked(assignment)
}

func (w *Worker) addReplicaLocked(assignment *orchionv1.ReplicaAssignment) {
	r := &replica{
		w: w, id: assignment.GetReplicaId(), assignment: assignment, done: make(chan struct{}),
		status: &orchionv1.ReplicaStatus{
			ReplicaId: assignment.GetReplicaId(), State: orchionv1.ReplicaState_REPLICA_STATE_PENDING,
		},
	}
	r.wanted, r.unwant = context.WithCancel(w.root)
	w.replicas[r.id] = r
	w.wg.Go(r.run)
}

// RemoveReplica implements [session.Worker].
func (w *Worker) RemoveReplica(replicaID string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r := w.replicas[replicaID]; r != nil {
		r.remove()
		return
	}
	w.cfg.Report.ReportReplica(&orchionv1.ReplicaStatus{
		ReplicaId: replicaID, State: orchionv1.ReplicaState_REPLICA_STATE_STOPPING, Removed: true,
	})
}

// ReplicaAddr gives the host:port at which a replica serves on this machine.
func (w *Worker) ReplicaAddr(replicaID string) (addr string, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.replicas[replicaID]
	if r == nil {
		return "", false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.addr, r.addr != ""
}

// Replica gives what this node was told of a replica that it has.
func (w *Worker) Replica(replicaID string) (assignment *orchionv1.ReplicaAssignment, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.replicas[replicaID]
	if r == nil {
		return nil, false
	}
	return r.assignment, true
}

// removeStrayReplicasLocked begins to remove what earlier runs of the agent left of
// replicas that are not wanted any more. Those that are here remove themselves.
func (w *Worker) removeStrayReplicasLocked() {
	if w.cfg.Replicas == nil {
		return
	}
	var keep []*orchionv1.ReplicaAssignment
	for _, r := range w.replicas {
		keep = append(keep, r.assignment)
	}
	w.wg.Go(func() {
		if err := w.cfg.Replicas.RemoveOthers(w.root, keep); err != nil && w.root.Err() == nil {
			w.cfg.Logger.Warn("cannot remove what an earlier run of this agent left of its models", "error", err)
		}
	})
}

// remove asks for the replica to go.
func (r *replica) remove() {
	r.mu.Lock()
	r.next = nil
	r.mu.Unlock()
	r.unwant()
}

func (r *replica) assignAgain(assignment *orchionv1.ReplicaAssignment) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wanted.Err() != nil {
		r.next = assignment
	}
}

func (r *replica) current() *orchionv1.ReplicaStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

// report replaces the status and tells the orchestrator; mere progress only now and then.
func (r *replica) report(status *orchionv1.ReplicaStatus) {
	status.ReplicaId = r.id
	r.mu.Lock()
	progress := status.GetState() == r.status.GetState() && status.GetReason() == r.status.GetReason() && !status.GetRemoved()
	r.status = status
	tell := !progress || time.Since(r.toldAt) >= progressPeriod
	if tell {
		r.toldAt = time.Now()
	}
	r.mu.Unlock()
	if tell {
		r.w.cfg.Report.ReportReplica(status)
	}
}

func (r *replica) serves(addr string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addr = addr
}

// run is the life of a replica.
func (r *replica) run() {
	defer close(r.done)
	defer r.unwant()
	if r.w.cfg.Replicas == nil {
		r.report(&orchionv1.ReplicaStatus{
			State:  orchionv1.ReplicaState_REPLICA_STATE_FAILED,
			Reason: "this node cannot serve models: it has no container engine",
		})
		<-r.wanted.Done()
	} else {
		r.keepServing()
	}
	if r.w.root.Err() != nil {
		return // the next run of the agent takes over
	}
	r.takeDown()
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	delete(r.w.replicas, r.id)
	r.mu.Lock()
	next := r.next
	r.mu.Unlock()
	if next != nil && !r.w.closed {
		r.w.addReplicaLocked(next)
	}
}

// keepServing brings the replica about, again and again, until it is not wanted any more.
func (r *replica) keepServing() {
	wait := minReplicaPause
	for r.wanted.Err() == nil {
		served, err := r.w.cfg.Replicas.Ensure(r.wanted, r.assignment, r.report)
		if r.wanted.Err() != nil {
			return
		}
		if err != nil {
			r.w.cfg.Logger.Warn("a model cannot be served", "replica", r.id, "model", r.assignment.GetSpec().GetModel(), "retry_in", wait, "error", err)
			r.report(&orchionv1.ReplicaStatus{State: orchionv1.ReplicaState_REPLICA_STATE_FAILED, Reason: err.Error()})
			if !pause(r.wanted, wait) {
				return
			}
			wait = min(2*wait, maxReplicaPause)
			continue
		}
		r.serves(served.Addr)
		r.w.cfg.Logger.Info("a model is served", "replica", r.id, "model", served.Model, "address", served.Addr)
		r.report(&orchionv1.ReplicaStatus{
			State: orchionv1.ReplicaState_REPLICA_STATE_READY, ProgressPercent: 100, ServedModel: served.Model,
		})
		began := time.Now()
		err = r.watch()
		r.serves("")
		if r.wanted.Err() != nil {
			return
		}
		if time.Since(began) > maxReplicaPause {
			wait = minReplicaPause
		}
		r.w.cfg.Logger.Warn("a model is served no more, restarting it", "replica", r.id, "model", served.Model, "error", err)
		r.report(&orchionv1.ReplicaStatus{
			State: orchionv1.ReplicaState_REPLICA_STATE_LOADING, Reason: "the engine stopped answering and is restarted: " + err.Error(),
		})
	}
}

// watch checks the replica until it serves no more, or is not wanted any more.
func (r *replica) watch() error {
	missed := 0
	for pause(r.wanted, checkPeriod) {
		ctx, cancel := context.WithTimeout(r.wanted, checkTimeout)
		err := r.w.cfg.Replicas.Check(ctx, r.assignment)
		cancel()
		if err == nil {
			missed = 0
			continue
		}
		missed++
		if missed == maxMissed {
			return err
		}
	}
	return r.wanted.Err()
}

// takeDown removes the replica and says so.
func (r *replica) takeDown() {
	r.serves("")
	r.report(&orchionv1.ReplicaStatus{State: orchionv1.ReplicaState_REPLICA_STATE_STOPPING})
	wait := time.Second
	for r.w.cfg.Replicas != nil {
		err := r.w.cfg.Replicas.Remove(r.w.root, r.assignment)
		if err == nil {
			break
		}
		if errors.Is(err, context.Canceled) && r.w.root.Err() != nil {
			return
		}
		r.w.cfg.Logger.Warn("cannot remove a model's engine", "replica", r.id, "error", err)
		if !pause(r.w.root, wait) {
			return
		}
		wait = min(2*wait, 30*time.Second)
	}
	r.report(&orchionv1.ReplicaStatus{State: orchionv1.ReplicaState_REPLICA_STATE_STOPPING, Removed: true})
}
