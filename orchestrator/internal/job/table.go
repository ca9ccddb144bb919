package job

import (
	"github.com/orchion/orchion/orchestrator/internal/fault"
)

// Event is what can happen to a job; each has one function that makes the
// transition. The zero value is not an event.
type Event int

// The events.
const (
	// EventSubmit: somebody hands the job in.
	EventSubmit Event = iota + 1
	// EventClaim: the dispatcher gives the job to a node.
	EventClaim
	// EventStart: the node says that the attempt runs.
	EventStart
	// EventComplete: the node says that the attempt is over.
	EventComplete
	// EventLose: the node's lease on the attempt ran out.
	EventLose
	// EventCancel: somebody no longer wants the job.
	EventCancel
	// EventRetry: somebody wants an ended job once more.
	EventRetry
	// EventEvict: the job is to run elsewhere.
	EventEvict
	// EventExpire: the job waited for a node longer than it may.
	EventExpire
	// EventRelease: the jobs that it waited for have ended, or one of them
	// otherwise than it asked.
	EventRelease
)

// String gives the event's name as it stands in the diagram.
func (e Event) String() string {
	switch e {
	case EventSubmit:
		return "submit"
	case EventClaim:
		return "claim"
	case EventStart:
		return "start"
	case EventComplete:
		return "complete"
	case EventLose:
		return "lose"
	case EventCancel:
		return "cancel"
	case EventRetry:
		return "retry"
	case EventEvict:
		return "evict"
	case EventExpire:
		return "expire"
	case EventRelease:
		return "release"
	default:
		return "event"
	}
}

// action says what somebody tried to do, for messages.
func (e Event) action() string {
	switch e {
	case EventSubmit:
		return "submitted"
	case EventClaim:
		return "given to a node"
	case EventStart:
		return "started"
	case EventComplete:
		return "completed"
	case EventLose:
		return "lost"
	case EventCancel:
		return "cancelled"
	case EventRetry:
		return "retried"
	case EventEvict:
		return "evicted"
	case EventExpire:
		return "given up for its queue timeout"
	case EventRelease:
		return "released from waiting for other jobs"
	default:
		return "changed"
	}
}

// Transition is one row of the table. From is 0 for a job that is not yet
// there.
type Transition struct {
	Event    Event
	From, To State
	// When says what must hold besides, for people; empty: nothing.
	When string
}

// Transitions is the table of all transitions between the states of a job. The
// functions of this package refuse every other; docs/architecture.md draws it.
func Transitions() []Transition {
	return []Transition{
		{EventSubmit, 0, Queued, ""},
		{EventClaim, Queued, Assigned, ""},
		{EventCancel, Queued, Cancelled, ""},
		{EventExpire, Queued, Failed, "its queue timeout ran out"},
		{EventRelease, Queued, Queued, "what it waited for has ended"},
		{EventRelease, Queued, Cancelled, "what it waited for ended otherwise than asked"},

		{EventStart, Assigned, Running, ""},
		{EventCancel, Assigned, Assigned, "the node is asked"},
		{EventEvict, Assigned, Assigned, "the node is asked"},
		{EventComplete, Assigned, Succeeded, ""},
		{EventComplete, Assigned, Failed, "no retry is left"},
		{EventComplete, Assigned, Queued, "a retry is left, or it was evicted"},
		{EventComplete, Assigned, Cancelled, "it was cancelled"},
		{EventLose, Assigned, Queued, ""},
		{EventLose, Assigned, Failed, "too many attempts were lost"},
		{EventLose, Assigned, Cancelled, "cancelling was asked for"},

		{EventCancel, Running, Running, "the node is asked"},
		{EventEvict, Running, Running, "the node is asked"},
		{EventComplete, Running, Succeeded, ""},
		{EventComplete, Running, Failed, "no retry is left"},
		{EventComplete, Running, Queued, "a retry is left, or it was evicted"},
		{EventComplete, Running, Cancelled, "it was cancelled"},
		{EventLose, Running, Queued, ""},
		{EventLose, Running, Failed, "too many attempts were lost"},
		{EventLose, Running, Cancelled, "cancelling was asked for"},

		{EventRetry, Failed, Queued, ""},
		{EventRetry, Cancelled, Queued, ""},
	}
}

// allowed says whether the table has a row. It is a switch over the same rows
// because it runs on every write; a test holds both together.
func allowed(event Event, from, to State) bool {
	switch event {
	case EventSubmit:
		return from == 0 && to == Queued
	case EventClaim:
		return from == Queued && to == Assigned
	case EventStart:
		return from == Assigned && to == Running
	case EventComplete:
		return from.Active() && (to == Queued || to.Ended())
	case EventLose:
		return from.Active() && (to == Queued || to == Failed || to == Cancelled)
	case EventCancel:
		return from == Queued && to == Cancelled || from.Active() && to == from
	case EventEvict:
		return from.Active() && to == from
	case EventExpire:
		return from == Queued && to == Failed
	case EventRelease:
		return from == Queued && (to == Queued || to == Cancelled)
	case EventRetry:
		return (from == Failed || from == Cancelled) && to == Queued
	default:
		return false
	}
}

// move is the only place that changes the state of a job.
func (j *Job) move(event Event, to State) error {
	if !allowed(event, j.State, to) {
		return j.refuse(event)
	}
	j.State = to
	return nil
}

// refuse says that an event does not go with the state it met.
func (j *Job) refuse(event Event) error {
	return fault.New(fault.Precondition, "job %s is %s; it cannot be %s", j.ID, j.State, event.action())
}
