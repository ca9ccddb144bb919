package dispatch

import (
	"time"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/model"
	"github.com/orchion/orchion/shared/loopback"
)

// Message is what the orchestrator says on a node's assignment stream: one of
// the types below. Every one but AssignmentSet is a delta, and every delta is
// idempotent for the node that gets it.
type Message interface{ message() }

// AssignmentSet is all that a node should run: the first message of a stream.
type AssignmentSet struct {
	Jobs     []JobAssignment
	Replicas []ReplicaAssignment
	// HeartbeatInterval is how often the node beats on this stream.
	HeartbeatInterval time.Duration
}

// JobAssignment gives a node an attempt.
type JobAssignment struct {
	Ref  job.Ref
	Name string
	Spec job.Spec
	// Array is which job of which array it is.
	Array ArrayPlace
	// GPUs are the node's that it may use, by their UUIDs.
	GPUs []string
	// LeaseTTL is how long the node may run the attempt without renewing.
	LeaseTTL time.Duration
}

// ArrayPlace is the place of a job in its array; zero: it is of none.
type ArrayPlace struct {
	ID           string
	Index, Count int
}

// CancelAttempt tells a node to stop an attempt.
type CancelAttempt struct {
	Ref job.Ref
	// Grace lies between asking the container to stop and killing it.
	Grace  time.Duration
	Reason string
}

// ReplicaAssignment gives a node a replica.
type ReplicaAssignment model.Assignment

// RemoveReplica tells a node to stop and remove a replica.
type RemoveReplica struct{ ReplicaID string }

// LeasesRenewed answers a node's wish to renew its leases.
type LeasesRenewed struct {
	// Sequence is that of the wish.
	Sequence uint64
	// TTL counts from when the node sent its wish, by the node's own clock.
	TTL     time.Duration
	Renewed []job.Ref
	// Lost are no longer the node's: it stops them.
	Lost []job.Ref
}

// AttemptAcknowledged answers a terminal AttemptStatus: the node may forget
// the attempt.
type AttemptAcknowledged struct {
	Ref job.Ref
	// Accepted is false when the attempt was no longer the node's.
	Accepted bool
}

// OpenTunnel asks a node to open a tunnel to one of its engines to the files
// of its models or to a log. Exactly one of the fields after Place is set.
type OpenTunnel struct {
	TunnelID string
	// Place is where the orchestrator runs if a node that runs there, too, may name
	// the engine's address instead; the zero value: it may not.
	Place          loopback.Place
	ReplicaID      string
	EngineEndpoint string
	ModelFiles     bool
	Log            *EngineLog
}

// EngineLog names the log of the container that serves a replica.
type EngineLog struct {
	ReplicaID string
	Tail      int // only the last so many entries; 0: all
	Follow    bool
}

func (AssignmentSet) message()       {}
func (JobAssignment) message()       {}
func (CancelAttempt) message()       {}
func (ReplicaAssignment) message()   {}
func (RemoveReplica) message()       {}
func (LeasesRenewed) message()       {}
func (AttemptAcknowledged) message() {}
func (OpenTunnel) message()          {}

// AttemptStatus is what a node observes of an attempt.
type AttemptStatus struct {
	Ref job.Ref
	// State is any but AttemptLost.
	State job.AttemptState
	// StartedAt and FinishedAt are by the node's clock: they are for people and
	// decide nothing.
	StartedAt, FinishedAt time.Time
	ExitCode              *int
	// Reason says what happens or went wrong: "pulling image, 42 %".
	Reason string
	Output string
	// Failure is the class of what went wrong when State is AttemptFailed.
	Failure job.Failure
}
