package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/orchion/orchion/node-agent/internal/driver"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// stopError is the cause of a work context that ended because the job is to be stopped:
// what is then said of it.
type stopError struct {
	state  orchionv1.AttemptState
	class  orchionv1.FailureClass // when state is FAILED
	reason string                 // empty: the orchestrator knows it
	grace  time.Duration
}

func (s *stopError) Error() string { return "the job is to be stopped: " + s.reason }

// outcome is how an attempt ended.
type outcome struct {
	state      orchionv1.AttemptState
	class      orchionv1.FailureClass // when state is FAILED
	exitCode   *int32
	reason     string
	output     string
	finishedAt time.Time
}

// failed is the outcome of an error; otherwise is its class when it does not say.
func failed(err error, otherwise orchionv1.FailureClass) outcome {
	return outcome{
		state:      orchionv1.AttemptState_ATTEMPT_STATE_FAILED,
		class:      classify(err, otherwise),
		reason:     err.Error(),
		finishedAt: time.Now(),
	}
}

// attempt is one try of a job on this node. Its goroutine is run.
type attempt struct {
	w   *Worker
	key refKey

	hold     context.Context
	endHold  context.CancelCauseFunc
	work     context.Context
	endWork  context.CancelCauseFunc
	sending  context.Context // within hold: its artifacts are to be sent
	endSend  context.CancelFunc
	assigned chan struct{} // closed once the assignment is known
	leaseOK  chan struct{} // closed once the lease was renewed: before, it may have aged on its way
	acked    chan struct{} // closed once the orchestrator has acknowledged the end
	done     chan struct{} // closed when run has returned

	// Owned by run.
	// engine is what runs the container, or the process; nil: there is none on this machine.
	engine      driver.Containers
	containerID string
	// maybeMade: the container was to be made, and whether it was is not known.
	maybeMade bool
	// discard: the attempt has ended although its container may still be there, or run.
	discard     bool
	adopted     bool   // the container was there before this run of the agent
	foundDigest string // of the spec that it was made from
	link        Link
	network     Network // that its container was lent; nil: none

	// foundNetwork is the network of a container that was there before this run of the agent;
	// it never changes.
	foundNetwork string

	mu         sync.Mutex // guards what follows
	assignment *orchionv1.JobAssignment
	status     *orchionv1.AttemptStatus // the last one said; never changed, only replaced
	started    bool                     // the job runs, or has run
	ended      bool                     // the job runs no more; the lease does not matter to it
	ttl        time.Duration
	lease      *time.Timer
	timeout    *time.Timer // nil: none set
}

func newAttempt(w *Worker, key refKey, found *driver.Container) *attempt {
	a := &attempt{
		w: w, key: key, ttl: defaultLease,
		assigned: make(chan struct{}), leaseOK: make(chan struct{}),
		acked: make(chan struct{}), done: make(chan struct{}),
	}
	a.hold, a.endHold = context.WithCancelCause(w.root)
	a.work, a.endWork = context.WithCancelCause(a.hold)
	a.sending, a.endSend = context.WithCancel(a.hold)
	a.status = &orchionv1.AttemptStatus{Ref: key.proto(), State: orchionv1.AttemptState_ATTEMPT_STATE_ASSIGNED}
	if found != nil {
		a.containerID, a.adopted, a.foundDigest = found.ID, true, found.Labels[labelSpec]
		a.takeOverNetwork(found.Labels[labelNetwork])
		a.started = true
		a.ended = found.State == driver.StateExited
		a.status = &orchionv1.AttemptStatus{
			Ref: key.proto(), State: orchionv1.AttemptState_ATTEMPT_STATE_RUNNING, StartedAt: timestamp(found.StartedAt),
		}
	}
	a.lease = time.AfterFunc(a.ttl, a.leaseRanOut)
	return a
}

func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// assign makes the assignment known, once.
func (a *attempt) assign(assignment *orchionv1.JobAssignment) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.assignment != nil {
		return
	}
	a.assignment = assignment
	if ttl := assignment.GetLeaseTtl().AsDuration(); ttl > 0 {
		a.ttl = ttl
		if !a.adopted {
			a.lease.Reset(ttl)
		}
	}
	close(a.assigned)
}

// renewed prolongs the lease: it lasts for ttl from when it was asked for.
func (a *attempt) renewed(asked time.Time, ttl time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if ttl > 0 {
		a.ttl = ttl
	}
	if a.hold.Err() != nil {
		return
	}
	a.lease.Reset(time.Until(asked.Add(a.ttl)))
	select {
	case <-a.leaseOK:
	default:
		close(a.leaseOK)
	}
}

func (a *attempt) leaseRanOut() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended || a.hold.Err() != nil {
		return
	}
	a.w.cfg.Logger.Warn("stopping an attempt because its lease ran out: the orchestrator did not renew it in time",
		"job", a.key.jobID, "attempt", a.key.attempt, "lease", a.ttl)
	a.endHold(errLeaseExpired)
}

// takeAway ends the hold because the attempt is not this node's any more.
func (a *attempt) takeAway() {
	if a.hold.Err() == nil {
		a.w.cfg.Logger.Info("stopping an attempt that is not this node's any more", "job", a.key.jobID, "attempt", a.key.attempt)
	}
	a.endHold(errTakenAway)
}

// release ends the hold for the cause given. A node that leaves does not drop an attempt
// that has ended: then it returns false.
func (a *attempt) release(cause error) bool {
	a.mu.Lock()
	ended := a.ended
	a.mu.Unlock()
	if ended && errors.Is(cause, errLeaving) {
		return false
	}
	a.endHold(cause)
	return true
}

// halt asks for the job to be stopped; the first request counts.
func (a *attempt) halt(request *stopError) { a.endWork(request) }

func (a *attempt) acknowledge() {
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case <-a.acked:
	default:
		close(a.acked)
	}
}

// held is what the hello says of the attempt; nil when it is being dropped.
func (a *attempt) held() *orchionv1.AttemptStatus {
	if a.hold.Err() != nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.status
}

func (a *attempt) leased() bool {
	select {
	case <-a.acked:
		return false
	default:
		return a.hold.Err() == nil
	}
}

func (a *attempt) runs() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.started && !a.ended
}

// report replaces the status and tells the orchestrator.
func (a *attempt) report(status *orchionv1.AttemptStatus) {
	status.Ref = a.key.proto()
	a.mu.Lock()
	a.status = status
	a.mu.Unlock()
	a.w.cfg.Report.ReportAttempt(status)
}

// preparing says what happens before the job runs.
func (a *attempt) preparing(format string, args ...any) {
	a.report(&orchionv1.AttemptStatus{
		State: orchionv1.AttemptState_ATTEMPT_STATE_ASSIGNED, Reason: fmt.Sprintf(format, args...),
	})
}

// running says that the job runs, and lets its time run.
func (a *attempt) running(startedAt time.Time) {
	a.mu.Lock()
	a.started = true
	// A container that was found ended was in time, however late it is now.
	if limit := a.assignment.GetSpec().GetTimeout().AsDuration(); limit > 0 && !a.ended {
		a.timeout = time.AfterFunc(time.Until(startedAt.Add(limit)), func() {
			a.halt(&stopError{
				state:  orchionv1.AttemptState_ATTEMPT_STATE_FAILED,
				class:  orchionv1.FailureClass_FAILURE_CLASS_TIMEOUT,
				reason: fmt.Sprintf("timed out after %s", limit),
				grace:  a.stopGrace(),
			})
		})
	}
	a.mu.Unlock()
	a.report(&orchionv1.AttemptStatus{
		State: orchionv1.AttemptState_ATTEMPT_STATE_RUNNING, StartedAt: timestamp(startedAt),
	})
}

// stopGrace lies between asking the container to stop and killing it.
func (a *attempt) stopGrace() time.Duration {
	spec := a.assignment.GetSpec()
	wish := spec.GetContainer().GetStopGrace()
	if spec.GetProcess() != nil {
		wish = spec.GetProcess().GetStopGrace()
	}
	if wish.AsDuration() > 0 {
		return wish.AsDuration()
	}
	return a.w.cfg.StopGrace
}

// limitStart lets the time run in which the job must be running. The function it returns
// ends that.
func (a *attempt) limitStart() (end func()) {
	limit := a.assignment.GetSpec().GetStartTimeout().AsDuration()
	if limit <= 0 {
		limit = defaultStartTimeout
	}
	timer := time.AfterFunc(limit, func() {
		a.mu.Lock()
		doing := a.status.GetReason()
		a.mu.Unlock()
		if doing == "" {
			doing = "looking for its image"
		}
		a.halt(&stopError{
			state:  orchionv1.AttemptState_ATTEMPT_STATE_FAILED,
			class:  orchionv1.FailureClass_FAILURE_CLASS_START,
			reason: fmt.Sprintf("not running after %s: %s", limit, doing),
			grace:  a.stopGrace(),
		})
	})
	return func() { timer.Stop() }
}

// startOver forgets a container that turned out not to be this attempt's.
func (a *attempt) startOver() {
	a.adopted = false
	a.containerID, a.maybeMade, a.network = "", false, nil
	a.mu.Lock()
	defer a.mu.Unlock()
	a.started, a.ended = false, false
	a.lease.Reset(a.ttl)
}

// stopped notes that the job runs no more.
func (a *attempt) stopped() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
	a.lease.Stop()
	if a.timeout != nil {
		a.timeout.Stop()
	}
}

// run is the life of an attempt.
func (a *attempt) run() {
	defer close(a.done)
	logger := a.w.cfg.Logger.With("job", a.key.jobID, "attempt", a.key.attempt)
	select {
	case <-a.assigned:
	case <-a.hold.Done():
		a.drop()
		return
	}
	if !a.adopted {
		logger.Info("attempt assigned", "name", a.assignment.GetName())
	} else {
		logger.Info("attempt taken over from an earlier run of this agent", "name", a.assignment.GetName())
	}

	var end outcome
	switch spec := a.assignment.GetSpec(); {
	case spec.GetContainer() != nil, spec.GetProcess() != nil:
		end = a.runContainer(spec)
	case spec.GetChat() != nil:
		end = a.runChat(spec.GetChat())
	default:
		end = failed(errors.New("this node agent does not know this kind of job; update it"), orchionv1.FailureClass_FAILURE_CLASS_NODE)
	}
	if a.hold.Err() != nil {
		a.drop()
		return
	}
	a.stopped()
	logger.Info("attempt ended", "state", stateName(end.state), "reason", end.reason)
	a.report(&orchionv1.AttemptStatus{
		State: end.state, StartedAt: a.startedAt(), FinishedAt: timestamp(end.finishedAt),
		ExitCode: end.exitCode, Reason: end.reason, Output: end.output, Failure: end.class,
	})
	if a.discard {
		// Not left for the acknowledgement: nothing but this stops it.
		a.removeContainer(a.w.root, 0)
	}
	select {
	case <-a.acked:
	case <-a.hold.Done():
	}
	a.drop()
}

func (a *attempt) startedAt() *timestamppb.Timestamp {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.status.GetStartedAt()
}

// drop removes what is left of the attempt, unless the agent only ends, and forgets it.
func (a *attempt) drop() {
	cause := context.Cause(a.hold)
	a.mu.Lock()
	expired := errors.Is(cause, errLeaseExpired) && a.started
	ttl := a.ttl
	a.mu.Unlock()
	defer a.w.forget(a, expired)
	defer a.stopped()
	defer a.endHold(errAbandoned) // releases the contexts

	if errors.Is(cause, errAbandoned) {
		if a.link != nil {
			a.link.Detach()
		}
		return
	}
	var grace time.Duration
	switch {
	case errors.Is(cause, errLeaving):
		// However long the job would like: the node has only so much time to leave.
		grace = min(a.stopGrace(), a.w.cfg.StopGrace)
	case errors.Is(cause, errLeaseExpired):
		// The orchestrator gives the attempt to another node a third of the TTL later: by
		// then it must not run here any more.
		grace = (ttl / 6).Truncate(time.Second)
	}
	a.removeContainer(a.w.root, grace)
}

func stateName(s orchionv1.AttemptState) string {
	switch s {
	case orchionv1.AttemptState_ATTEMPT_STATE_SUCCEEDED:
		return "succeeded"
	case orchionv1.AttemptState_ATTEMPT_STATE_CANCELLED:
		return "cancelled"
	default:
		return "failed"
	}
}
