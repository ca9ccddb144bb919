package dispatch

import (
	"context"
	"fmt"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/scheduler"
	"github.com/orchion/orchion/shared/plantedbug"
)

// maxStoreRetry bounds how long to wait between tries when the store keeps
// failing.
const maxStoreRetry = 30 * time.Second

// attempt is an attempt that a node holds. At most one store operation for it
// is under way; what is to be done after it waits in status, evict and lost.
type attempt struct {
	ref    job.Ref
	nodeID string
	lane   *lane
	job    job.Job // as the store last answered, with the newest reason
	busy   bool
	gone   bool // no longer held
	// told is the newest stream on which the node was told of it; nil: none, in this
	// run of the orchestrator.
	told *Session
	// recovered: an earlier run of the orchestrator may have told the node.
	recovered bool
	// status is the newest that the node said and the store does not know.
	status *AttemptStatus
	// lost says why the attempt is to be lost; empty: it is not.
	lost string
	// evict says why the attempt is to be evicted and the store does not know
	// yet; empty: it is not.
	evict    string
	failures int // of the store, in a row
	worth    int // in lane.preemptible; -1: not there
	// recheck: the job was queued again before the end of this attempt was
	// heard of here; the store knows what is to become of it.
	recheck bool

	// spared: its lease ran out and it was kept.
	spared bool
	// The lease; see leases.
	deadline      time.Time
	leased        bool
	before, after *attempt
}

// hold takes over an active job from the store.
func (d *Dispatcher) hold(j *job.Job, now time.Time) *attempt {
	current, ok := j.Current()
	if !ok || d.active[j.ID] != nil {
		d.cfg.Logger.Error("active job has no attempt of its own", "job", j.ID, "state", j.State.String())
		return nil
	}
	a := &attempt{ref: job.Ref{JobID: j.ID, Attempt: current.Number}, nodeID: current.NodeID, job: *j}
	d.active[j.ID] = a
	a.lane = d.queue.lane(j.Spec.QueueName())
	d.queue.ran(a.lane, 1)
	d.offer(a)
	onNode := d.byNode[a.nodeID]
	if onNode == nil {
		onNode = make(map[string]*attempt)
		d.byNode[a.nodeID] = onNode
	}
	onNode[j.ID] = a
	// A constraint that cannot be read any more does not matter here.
	work, _ := workOf(&j.Spec)
	work.Job = &scheduler.Job{ID: j.ID, Labels: j.Labels}
	d.cfg.Cluster.Hold(a.nodeID, holder(j.ID), work, current.GPUs...)
	d.renew(a, now)
	return a
}

// drop forgets an attempt that its node no longer holds.
func (d *Dispatcher) drop(a *attempt) {
	a.gone = true
	d.leases.end(a)
	d.unspare(a)
	delete(d.active, a.ref.JobID)
	d.withdraw(a)
	d.queue.ran(a.lane, -1)
	onNode := d.byNode[a.nodeID]
	delete(onNode, a.ref.JobID)
	if len(onNode) == 0 {
		delete(d.byNode, a.nodeID)
	}
	d.cfg.Cluster.Release(holder(a.ref.JobID))
	if a.recheck {
		d.resync(a.ref.JobID)
	}
}

// held answers the attempt if the node holds it.
func (d *Dispatcher) held(nodeID string, ref job.Ref) *attempt {
	a := d.active[ref.JobID]
	if a != nil && plantedbug.On(plantedbug.NoFence) {
		return a
	}
	if a == nil || a.ref != ref || a.nodeID != nodeID || a.lost != "" {
		return nil
	}
	return a
}

func (d *Dispatcher) renew(a *attempt, now time.Time) {
	d.heardOf(a)
	d.leases.grant(a, now.Add(d.cfg.LeaseTTL+d.grace()))
}

// expire loses the attempts whose leases ran out.
func (d *Dispatcher) expire(now time.Time) {
	for a := d.leases.expired(now); a != nil; a = d.leases.expired(now) {
		if d.cfg.Spare(a.nodeID) {
			d.spare(a)
			continue
		}
		d.stats.expired.Add(1)
		d.cfg.Logger.Warn("lease ran out", "job", a.ref.JobID, "attempt", a.ref.Attempt, "node", a.nodeID)
		d.lose(a, fmt.Sprintf("the node has not renewed its lease for %s", d.cfg.LeaseTTL+d.grace()))
	}
}

// lose has an attempt lost, unless its node has said in time how it ended.
func (d *Dispatcher) lose(a *attempt, reason string) {
	if a.gone || a.lost != "" || a.status != nil && a.status.State.Ended() {
		return
	}
	a.lost = reason
	d.leases.end(a)
	d.unspare(a)
	d.cfg.Hub.Send(a.nodeID, CancelAttempt{Ref: a.ref, Grace: d.stopGrace(a), Reason: reason})
	d.advance(a)
}

// observe takes over what a node says of an attempt.
func (d *Dispatcher) observe(nodeID string, status AttemptStatus) {
	a := d.held(nodeID, status.Ref)
	if a == nil {
		d.refuse(nodeID, status)
		return
	}
	if a.status != nil && (a.status.State.Ended() || a.status.State >= status.State) {
		return // said before, or late
	}
	switch {
	case status.State == job.AttemptAssigned:
		d.note(a, status.Reason)
	case status.State == job.AttemptRunning && a.job.State == job.Running:
	default:
		a.status = &status
		d.heard = append(d.heard, a)
	}
}

// advanceHeard goes on with the attempts that nodes spoke of, after all that they
// said is known: of one that has ended by now its start need not be stored first.
func (d *Dispatcher) advanceHeard() {
	for _, a := range d.heard {
		d.advance(a)
	}
	clear(d.heard)
	d.heard = d.heard[:0]
}

// refuse answers a node that speaks of an attempt which it does not hold.
func (d *Dispatcher) refuse(nodeID string, status AttemptStatus) {
	if status.State.Ended() {
		d.cfg.Hub.Send(nodeID, AttemptAcknowledged{Ref: status.Ref, Accepted: false})
		return
	}
	d.cfg.Hub.Send(nodeID, CancelAttempt{
		Ref: status.Ref, Grace: d.cfg.CancelGrace, Reason: "the attempt is not this node's, or not any more",
	})
}

// note shows what a node is doing for an attempt that does not run yet.
func (d *Dispatcher) note(a *attempt, reason string) {
	if reason == "" || a.job.State != job.Assigned || a.stopping() || a.job.Reason == reason {
		return
	}
	a.job.Reason = reason
	d.tell(a)
}

// advance does the next thing that is to be done for an attempt.
func (d *Dispatcher) advance(a *attempt) {
	switch {
	case a.busy || a.gone:
	case a.lost != "":
		d.commitLoss(a)
	case a.status == nil && a.evict != "":
		d.commitEviction(a)
	case a.status == nil:
	case a.status.State.Ended():
		d.commitEnd(a, *a.status)
	default:
		d.commitStart(a)
	}
}

// startedAt is when an attempt that has ended by now began to run, by our clock:
// the node's clock says how long it took.
func (a *attempt) startedAt(status *AttemptStatus, now time.Time) time.Time {
	if status.FinishedAt.IsZero() {
		return now
	}
	current, _ := a.job.Current()
	longest := now.Sub(current.AssignedAt)
	took := status.FinishedAt.Sub(status.StartedAt)
	return now.Add(-max(min(took, longest), 0))
}

func (d *Dispatcher) commitStart(a *attempt) {
	at := time.Now()
	d.commit(a, "started", func(ctx context.Context) (job.Job, error) {
		return d.cfg.Store.StartAttempt(ctx, a.ref, at)
	}, func(j *job.Job) {
		if a.status != nil && a.status.State == job.AttemptRunning {
			a.status = nil
		}
		a.takeOver(j)
		d.stats.started.Add(1)
		d.tell(a)
	})
}

func (d *Dispatcher) commitEnd(a *attempt, status AttemptStatus) {
	end := job.End{
		State: status.State, At: time.Now(), ExitCode: status.ExitCode, Reason: status.Reason, Output: status.Output,
		Failure: status.Failure,
	}
	if a.job.State == job.Assigned && !status.StartedAt.IsZero() {
		end.StartedAt = a.startedAt(&status, end.At)
	}
	d.commit(a, "ended", func(ctx context.Context) (job.Job, error) {
		return d.cfg.Store.CompleteAttempt(ctx, a.ref, end)
	}, func(j *job.Job) {
		if started := a.job; !end.StartedAt.IsZero() {
			_, _ = started.Start(a.ref.Attempt, end.StartedAt) // as the store has done
			d.stats.started.Add(1)
			d.publish(&started) // both transitions are told
		}
		d.stats.completed.Add(1)
		d.drop(a)
		d.cfg.Hub.Send(a.nodeID, AttemptAcknowledged{Ref: a.ref, Accepted: true})
		d.follow(j)
	})
}

func (d *Dispatcher) commitLoss(a *attempt) {
	now := time.Now()
	d.commit(a, "lost", func(ctx context.Context) (job.Job, error) {
		return d.cfg.Store.LoseAttempt(ctx, a.ref, a.lost, now)
	}, func(j *job.Job) {
		d.stats.lost.Add(1)
		d.drop(a)
		d.follow(j)
	})
}

// follow goes on with a job after one of its attempts.
func (d *Dispatcher) follow(j *job.Job) {
	if j.State == job.Queued {
		d.enter(j, time.Now())
	}
	d.publish(j)
}

// commit runs one store operation for an attempt and deals with its failing.
func (d *Dispatcher) commit(a *attempt, what string, operation func(context.Context) (job.Job, error), done func(*job.Job)) {
	a.busy = true
	d.call(operation, func(j job.Job, err error) {
		a.busy = false
		switch {
		case err == nil:
			a.failures = 0
			done(&j)
		case disagrees(err):
			d.cfg.Logger.Warn("store refused what a node said", "job", a.ref.JobID, "attempt", a.ref.Attempt,
				"node", a.nodeID, "change", what, "error", err)
			d.drop(a)
			d.refuse(a.nodeID, AttemptStatus{Ref: a.ref, State: lastState(a)})
			d.resync(a.ref.JobID)
		default:
			a.failures++
			wait := min(storeRetry<<min(a.failures-1, 10), maxStoreRetry)
			d.cfg.Logger.Error("attempt could not be stored", "job", a.ref.JobID, "attempt", a.ref.Attempt,
				"change", what, "retry_in", wait, "code", int(fault.CodeOf(err)), "error", err)
			d.later(wait, func() { d.advance(a) })
			return
		}
		d.advance(a)
	})
}

// lastState is the newest state that the attempt's node is known to have said.
func lastState(a *attempt) job.AttemptState {
	if a.status != nil {
		return a.status.State
	}
	return job.AttemptAssigned
}

// tell publishes an attempt's job.
func (d *Dispatcher) tell(a *attempt) {
	j := a.job
	d.publish(&j)
}

// assignment is what a node is told of an attempt.
func (d *Dispatcher) assignment(a *attempt) JobAssignment {
	current, _ := a.job.Current()
	return JobAssignment{
		Ref: a.ref, Name: a.job.Name, Spec: a.job.Spec, LeaseTTL: d.cfg.LeaseTTL,
		Array: ArrayPlace{a.job.ArrayID, a.job.ArrayIndex, a.job.ArrayCount},
		GPUs:  current.GPUs,
	}
}

// takeOver makes j, as the store answered it, the attempt's job.
func (a *attempt) takeOver(j *job.Job) {
	if a.job.CancelRequested && !j.CancelRequested {
		// The store was asked to cancel after what it answered with j, and its
		// answer to that was heard before.
		j.CancelRequested, j.CancelReason, j.Reason = true, a.job.CancelReason, a.job.Reason
	}
	a.job = *j
}

// stopping says whether the attempt's node was asked to end it.
func (a *attempt) stopping() bool {
	current, _ := a.job.Current()
	return a.job.CancelRequested || current.EvictReason != ""
}

// sendCancel tells an attempt's node to end it: its job is not wanted any more,
// or to run elsewhere.
func (d *Dispatcher) sendCancel(a *attempt) {
	reason := "cancelled"
	if current, _ := a.job.Current(); !a.job.CancelRequested {
		reason = "evicted: " + current.EvictReason
	} else if a.job.CancelReason != "" {
		reason += ": " + a.job.CancelReason
	}
	d.cfg.Hub.Send(a.nodeID, CancelAttempt{Ref: a.ref, Grace: d.stopGrace(a), Reason: reason})
}

// stopGrace lies between asking an attempt's program to stop and killing it.
func (d *Dispatcher) stopGrace(a *attempt) time.Duration {
	if grace := a.job.Spec.StopGrace(); grace > 0 {
		return grace
	}
	return d.cfg.CancelGrace
}
