package job

import (
	"fmt"
	"slices"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/shared/plantedbug"
)

// MaxLost is how many attempts of a job may be lost with their nodes before it
// fails. Lost attempts do not count against the retry policy, but a job that
// takes down every node it meets must end somewhere.
const MaxLost = 10

// Submit makes a new job queued. It must have an id and a time of creation;
// everything that later transitions write must be unset.
//
// Each function below makes one transition of the table, or answers a
// *fault.Error and leaves the job as it was: Precondition, naming the state,
// when the table has no such row or the attempt is not the newest.
func (j *Job) Submit() error {
	switch {
	case !ValidID(j.ID):
		return fault.BadField("id", "%q is not 1 to %d lower-case letters, digits, hyphens and underscores, beginning with a letter or digit", j.ID, maxIDLength)
	case j.CreatedAt.IsZero():
		return fault.BadField("createdAt", "is missing; a job needs a time of creation")
	case len(j.Attempts) > 0 || j.Result != nil || j.CancelRequested:
		return fault.New(fault.Precondition, "job %s has been worked on; only a new job can be submitted", j.ID)
	case slices.ContainsFunc(j.Spec.After, func(d Dependency) bool { return d.ID == j.ID || d.ID == j.ArrayID }):
		return fault.BadField("spec.after", "names the job itself; a job can only wait for jobs that were submitted before it")
	case j.State == Queued:
		// Callers may say what the job will be.
		j.State = 0
	}
	if err := j.move(EventSubmit, Queued); err != nil {
		return err
	}
	j.delay(j.CreatedAt)
	if j.Waiting = len(j.Spec.After) > 0; j.Waiting {
		j.Reason = Waits(j.Spec.After)
	}
	return nil
}

// delay has a queued job wait for the time that its spec names, if that is
// still to come.
func (j *Job) delay(now time.Time) {
	if j.Spec.StartAfter.After(now) {
		j.NotBefore = j.Spec.StartAfter
		j.Reason = "waits until " + j.NotBefore.UTC().Format(time.RFC3339) + ", as its startAfter says"
	}
}

// Claim gives a queued job to a node as its next attempt, with these of the
// node's GPUs.
func (j *Job) Claim(nodeID string, now time.Time, gpus ...string) error {
	if nodeID == "" {
		return fault.BadField("nodeId", "is empty; a claim names the node")
	}
	if j.State == Queued && j.Waiting {
		return fault.New(fault.Precondition, "job %s waits for other jobs; it cannot be %s", j.ID, EventClaim.action())
	}
	if err := j.move(EventClaim, Assigned); err != nil {
		return err
	}
	number := len(j.Attempts) + 1
	if plantedbug.On(plantedbug.ReusedNumber) {
		number = 1
	}
	j.Attempts = append(slices.Clip(j.Attempts), Attempt{
		Number:     number,
		NodeID:     nodeID,
		State:      AttemptAssigned,
		AssignedAt: now,
		GPUs:       gpus,
	})
	j.Reason = ""
	j.NotBefore = time.Time{}
	j.StartedAt = time.Time{}
	return nil
}

// Start marks the newest attempt as running. Starting a running attempt again
// changes nothing.
func (j *Job) Start(attempt int, at time.Time) (changed bool, err error) {
	current, err := j.current(attempt, EventStart)
	if err != nil {
		return false, err
	}
	if current.State == AttemptRunning {
		return false, nil
	}
	if err := j.move(EventStart, Running); err != nil {
		return false, err
	}
	current.State = AttemptRunning
	current.StartedAt = at
	j.setCurrent(current)
	j.StartedAt = at
	if !j.CancelRequested && current.EvictReason == "" {
		j.Reason = ""
	}
	return true, nil
}

// Complete ends the newest attempt as its node saw it. The job then has
// succeeded, failed or been cancelled, or waits for its next attempt. A job
// that is to be cancelled is not tried again, however its attempt ended; it
// only still succeeds when the attempt was done before it could be stopped.
func (j *Job) Complete(attempt int, end End) error {
	switch end.State {
	case AttemptSucceeded, AttemptFailed, AttemptCancelled:
	default:
		return fault.BadField("state", "%s is not how a node ends an attempt; allowed are succeeded, failed and cancelled", end.State)
	}
	current, err := j.current(attempt, EventComplete)
	if err != nil {
		return err
	}
	if current.State == AttemptAssigned && !end.StartedAt.IsZero() {
		// It ran, and is told of only now: both transitions are made, or neither.
		both := *j
		if _, err := both.Start(attempt, end.StartedAt); err != nil {
			return err
		}
		if err := both.Complete(attempt, end); err != nil {
			return err
		}
		*j = both
		return nil
	}
	next, verdict := Succeeded, verdict{}
	switch {
	case end.State == AttemptSucceeded:
	case current.EvictReason != "" && !j.CancelRequested:
		return j.completeEvicted(current, end)
	case end.State == AttemptCancelled, j.CancelRequested:
		next = Cancelled
	default:
		if verdict = j.judge(end); verdict.again {
			next = Queued
		} else {
			next = Failed
		}
	}
	if err := j.move(EventComplete, next); err != nil {
		return err
	}
	current.State = end.State
	current.FinishedAt = end.At
	current.ExitCode = end.ExitCode
	current.Reason = end.Reason
	if end.State == AttemptFailed {
		current.Failure = end.Failure
	}
	j.setCurrent(current)

	why := end.Reason
	if why == "" && end.ExitCode != nil && *end.ExitCode != 0 {
		why = fmt.Sprintf("exit code %d", *end.ExitCode)
	}
	switch next {
	case Queued:
		j.NotBefore = end.At.Add(verdict.backoff)
		j.Reason = fmt.Sprintf("attempt %d failed%s%s", attempt, after(": ", why), verdict.words)
	case Cancelled:
		j.finish(end.At, cancelledReason(j.CancelReason, why))
		j.Result = &Result{ExitCode: end.ExitCode, Output: end.Output, Error: j.Reason}
	case Failed:
		if why == "" {
			why = "failed without saying why"
		}
		why += verdict.words
		j.finish(end.At, why)
		j.Result = &Result{ExitCode: end.ExitCode, Output: end.Output, Error: why}
	default:
		j.finish(end.At, end.Reason)
		j.Result = &Result{ExitCode: end.ExitCode, Output: end.Output}
	}
	return nil
}

// Lose marks the newest attempt as lost with its node. The job is queued again,
// or cancelled when that was asked for, or fails when it was lost too often.
func (j *Job) Lose(attempt int, reason string, now time.Time) error {
	current, err := j.current(attempt, EventLose)
	if err != nil {
		return err
	}
	lost := j.count(AttemptLost) + 1
	next := Queued
	switch {
	case j.CancelRequested:
		next = Cancelled
	case lost >= MaxLost && current.EvictReason == "":
		next = Failed
	}
	if err := j.move(EventLose, next); err != nil {
		return err
	}
	current.State = AttemptLost
	current.Failure = FailureNodeLost
	current.FinishedAt = now
	current.Reason = reason
	j.setCurrent(current)

	switch next {
	case Cancelled:
		j.finish(now, cancelledReason(j.CancelReason, "its node was lost meanwhile"))
		j.Result = &Result{Error: j.Reason}
	case Failed:
		j.finish(now, fmt.Sprintf("lost %d nodes; the last: %s%s", lost, current.NodeID, after(": ", reason)))
		j.Result = &Result{Error: j.Reason}
	default:
		j.Reason = fmt.Sprintf("attempt %d was lost with node %s%s; waits for a node", attempt, current.NodeID, after(": ", reason))
	}
	return nil
}

// Cancel ends a queued job at once. A job that a node holds is only marked; it
// ends with its attempt. Cancelling a cancelled or marked job changes nothing.
func (j *Job) Cancel(reason string, now time.Time) (changed bool, err error) {
	switch {
	case j.State == Cancelled, j.State.Active() && j.CancelRequested:
		return false, nil
	case j.State == Queued:
		if err := j.move(EventCancel, Cancelled); err != nil {
			return false, err
		}
		j.finish(now, cancelledReason(reason, ""))
		j.Result = &Result{Error: j.Reason}
		return true, nil
	}
	if err := j.move(EventCancel, j.State); err != nil {
		return false, err
	}
	j.CancelRequested = true
	j.CancelReason = reason
	j.Reason = "being cancelled" + after(": ", reason)
	return true, nil
}

// WaitsSince is from when on a queued job has been waiting for a node, which
// is what its queue timeout counts from.
func (j *Job) WaitsSince() time.Time {
	since := j.CreatedAt
	if newest, ok := j.Current(); ok && newest.FinishedAt.After(since) {
		since = newest.FinishedAt
	}
	if j.NotBefore.After(since) {
		since = j.NotBefore
	}
	return since
}

// Expire fails a queued job whose queue timeout has run out; met says what kept
// it waiting.
func (j *Job) Expire(met string, now time.Time) error {
	if j.State == Queued && (j.Waiting || j.Spec.QueueTimeout <= 0 || now.Before(j.WaitsSince().Add(j.Spec.QueueTimeout))) {
		return fault.New(fault.Precondition, "job %s has not waited for its queue timeout yet; it cannot be %s", j.ID, EventExpire.action())
	}
	if err := j.move(EventExpire, Failed); err != nil {
		return err
	}
	j.finish(now, fmt.Sprintf("waited for a node longer than its queue timeout of %s%s", j.Spec.QueueTimeout, after(": ", met)))
	j.Result = &Result{Error: j.Reason}
	return nil
}

// Release ends a job's waiting for other jobs: with nothing unmet it may run,
// else it is cancelled and says what was not as asked. Releasing a queued job
// that does not wait changes nothing.
func (j *Job) Release(unmet string, now time.Time) (changed bool, err error) {
	if j.State == Queued && !j.Waiting {
		return false, nil
	}
	next := Queued
	if unmet != "" {
		next = Cancelled
	}
	if err := j.move(EventRelease, next); err != nil {
		return false, err
	}
	if next == Cancelled {
		j.finish(now, cancelledReason(unmet, ""))
		j.Result = &Result{Error: j.Reason}
		return true, nil
	}
	j.Waiting = false
	j.Reason = ""
	j.NotBefore = now // what WaitsSince goes by
	j.delay(now)
	return true, nil
}

// Retry queues a failed or cancelled job again, with the retry policy counting
// from anew; it waits for no other job any more. Retrying a queued job changes
// nothing.
func (j *Job) Retry(now time.Time) (changed bool, err error) {
	if j.State == Queued {
		return false, nil
	}
	if err := j.move(EventRetry, Queued); err != nil {
		return false, err
	}
	j.Reason = ""
	j.Result = nil
	j.FinishedAt = time.Time{}
	j.NotBefore = now // what WaitsSince goes by
	j.delay(now)
	j.ForgivenAttempts = len(j.Attempts)
	return true, nil
}

// Current is the newest attempt; false when there was none yet.
func (j *Job) Current() (Attempt, bool) {
	if len(j.Attempts) == 0 {
		return Attempt{}, false
	}
	return j.Attempts[len(j.Attempts)-1], true
}

// current is the attempt that an event of a node is about. Only the newest
// attempt can be spoken for, and only until it has ended: this is the fence
// that keeps a node that lost its lease from touching the job.
func (j *Job) current(number int, event Event) (Attempt, error) {
	newest, ok := j.Current()
	switch {
	case !ok:
		return Attempt{}, fault.New(fault.Precondition, "job %s is %s and has no attempt %d; it cannot be %s", j.ID, j.State, number, event.action())
	case newest.Number != number && !plantedbug.On(plantedbug.NoFence):
		return Attempt{}, fault.New(fault.Precondition, "attempt %d of job %s is not its newest, which is %d; it cannot be %s", number, j.ID, newest.Number, event.action())
	case newest.State.Ended():
		return Attempt{}, fault.New(fault.Precondition, "attempt %d of job %s is %s; it cannot be %s", number, j.ID, newest.State, event.action())
	}
	return newest, nil
}

// setCurrent replaces the newest attempt in a copy of the list.
func (j *Job) setCurrent(a Attempt) {
	j.Attempts = slices.Clone(j.Attempts)
	j.Attempts[len(j.Attempts)-1] = a
}

// finish fills in what every ended job has.
func (j *Job) finish(at time.Time, reason string) {
	j.FinishedAt = at
	j.Reason = reason
	j.NotBefore = time.Time{}
	j.Waiting = false
	j.CancelRequested = false
	j.CancelReason = ""
}

// failures counts the attempts that failed by themselves.
func (j *Job) failures() int {
	return j.countIf(func(a *Attempt) bool { return a.State == AttemptFailed && !a.Failure.Infrastructure() })
}

// count counts the attempts in a state; see countIf.
func (j *Job) count(state AttemptState) int {
	return j.countIf(func(a *Attempt) bool { return a.State == state })
}

// countIf counts the attempts that match and are neither forgiven nor were to
// be evicted.
func (j *Job) countIf(match func(*Attempt) bool) int {
	n := 0
	for i := j.ForgivenAttempts; i < len(j.Attempts); i++ {
		if a := &j.Attempts[i]; a.EvictReason == "" && match(a) {
			n++
		}
	}
	return n
}

// cancelledReason puts together who wanted it and what came of it.
func cancelledReason(wanted, met string) string {
	text := "cancelled" + after(": ", wanted)
	if met != "" && met != wanted && met != "cancelled" {
		text += " (" + met + ")"
	}
	return text
}

// after is text with a separator before it, or nothing.
func after(separator, text string) string {
	if text == "" {
		return ""
	}
	return separator + text
}
