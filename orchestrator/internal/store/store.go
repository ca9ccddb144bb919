// Package store is what the orchestrator keeps: an interface in operations of
// the domain. storetest holds the conformance suite that every implementation
// passes; sqlite is the default one.
package store

import (
	"context"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/label"
	"github.com/orchion/orchion/orchestrator/internal/model"
	"github.com/orchion/orchion/orchestrator/internal/node"
)

// Store keeps nodes, jobs and deployments. Every method that changes something
// returns after the change is durable. Errors are *fault.Error: NotFound,
// Precondition (with the state met), Unavailable (closed, disk full), ...
// Methods are safe for concurrent use.
type Store interface {
	// SaveNode inserts or replaces what is known of a node.
	SaveNode(ctx context.Context, n node.Known) error
	// TouchNodes sets LastSeenAt of nodes, in one transaction.
	TouchNodes(ctx context.Context, seen map[string]time.Time) error
	DeleteNode(ctx context.Context, id string) error
	// ListNodes answers all known nodes, ordered by id.
	ListNodes(ctx context.Context) ([]node.Known, error)

	// SubmitJob inserts a queued job. When the idempotency key is taken, the
	// job that holds it is answered instead and created is false.
	SubmitJob(ctx context.Context, j job.Job) (stored job.Job, created bool, err error)
	GetJob(ctx context.Context, id string) (job.Job, error)
	// ListJobs answers jobs newest first (by creation time, then id).
	ListJobs(ctx context.Context, f JobFilter) (JobPage, error)
	// PendingJobs calls f with every job that has not ended, oldest first.
	PendingJobs(ctx context.Context, f func(job.Job) error) error
	// CountJobs answers how many jobs there are in each state.
	CountJobs(ctx context.Context) (map[job.State]int64, error)

	// Each of the following makes one transition of the job package
	// atomically and answers the job after it. A transition that the table
	// does not allow is Precondition and changes nothing.

	// ClaimJob gives a queued job to a node as its next attempt.
	ClaimJob(ctx context.Context, id, nodeID string, now time.Time) (job.Job, error)
	// StartAttempt marks an assigned attempt as running. Starting a running
	// attempt again changes nothing and is no error.
	StartAttempt(ctx context.Context, ref job.Ref, at time.Time) (job.Job, error)
	// CompleteAttempt ends an attempt; conditional on the attempt being the
	// newest and not ended. The job succeeds, fails, is cancelled or, by its
	// retry policy, is queued again.
	CompleteAttempt(ctx context.Context, ref job.Ref, end job.End) (job.Job, error)
	// LoseAttempt marks an attempt whose lease ran out as lost and queues the
	// job again.
	LoseAttempt(ctx context.Context, ref job.Ref, reason string, now time.Time) (job.Job, error)
	// CancelJob cancels a job that has not ended; a cancelled one is answered
	// unchanged.
	CancelJob(ctx context.Context, id, reason string, now time.Time) (job.Job, error)
	// RetryJob queues a failed or cancelled job again; a queued one is
	// answered unchanged.
	RetryJob(ctx context.Context, id string, now time.Time) (job.Job, error)

	// PutDeployment inserts or replaces a deployment, without its replicas.
	PutDeployment(ctx context.Context, d model.Deployment) error
	// DeleteDeployment removes a deployment and its replicas.
	DeleteDeployment(ctx context.Context, name string) error
	// PutReplica inserts or replaces the placement of a replica.
	PutReplica(ctx context.Context, r model.Replica) error
	DeleteReplica(ctx context.Context, id string) error
	// ListDeployments answers all deployments with the placement of their
	// replicas, ordered by name. Observed state is not kept.
	ListDeployments(ctx context.Context) ([]model.Deployment, error)

	// Close makes everything durable and releases the data directory.
	Close() error
}

// JobFilter narrows ListJobs. Zero values do not narrow.
type JobFilter struct {
	States []job.State
	// NodeID is the node of the newest attempt.
	NodeID string
	Labels label.Selector
	// Limit is at least 1 and at most 1,000.
	Limit int
	// After is the cursor of the last page.
	After string
}

// JobPage is one page of jobs; Next is empty on the last.
type JobPage struct {
	Jobs []job.Job
	Next string
}

// LogStore keeps the logs of attempts beside the database.
type LogStore interface {
	// Open prepares an attempt's log for appending and answers how many
	// entries of each stream it holds.
	Open(ctx context.Context, ref job.Ref) (LogWriter, error)
	// Read answers entries of a job in the order in which they were stored,
	// from the position on. Position is opaque; "" is the beginning. attempt 0
	// means all. The answer holds at most limit entries; an empty answer means
	// that there is no more for now.
	Read(ctx context.Context, jobID string, attempt int, position string, limit int) (entries []job.LogEntry, next string, err error)
	// Tail answers the position before the last n entries.
	Tail(ctx context.Context, jobID string, attempt int, n int) (position string, err error)
	// Changed answers a channel that is closed when a log of the job grows or
	// is closed after the call.
	Changed(jobID string) <-chan struct{}
	Close() error
}

// LogWriter appends to one attempt's log. Entries whose line number is not
// above what is held are dropped, so that sending twice stores once.
type LogWriter interface {
	Held() (stdoutLines, stderrLines int64)
	Append(entries []job.LogEntry) error
	Close() error
}
