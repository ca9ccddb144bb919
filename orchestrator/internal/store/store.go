// Package store is what the orchestrator keeps: an interface in operations of
// the domain. storetest holds the conformance suite that every implementation
// passes; sqlite is the default one.
package store

import (
	"context"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/alias"
	"github.com/orchion/orchion/orchestrator/internal/blob"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/label"
	"github.com/orchion/orchion/orchestrator/internal/model"
	"github.com/orchion/orchion/orchestrator/internal/node"
	"github.com/orchion/orchion/orchestrator/internal/schedule"
	"github.com/orchion/orchion/orchestrator/internal/usage"
)

// Store keeps nodes, jobs, queues, schedules, deployments, usage and aliases. Every method that changes something
// returns after the change is durable. Errors are *fault.Error: NotFound,
// Precondition (with the state met), Unavailable (closed, disk full, context
// done), ... A context that is done either prevents a change, and the error
// says so, or comes too late and the change's result is answered.
// Methods are safe for concurrent use. What they answer may be shared with the
// store: maps, slices and pointers in it are not written to, by neither side.
type Store interface {
	// SaveNode inserts or replaces what is known of a node.
	SaveNode(ctx context.Context, n node.Known) error
	// TouchNodes sets LastSeenAt of nodes, in one transaction. Nodes that are
	// not known are passed over: they may just have been deleted.
	TouchNodes(ctx context.Context, seen map[string]time.Time) error
	// DeleteNode forgets a node. NotFound.
	DeleteNode(ctx context.Context, id string) error
	// ListNodes answers all known nodes, ordered by id.
	ListNodes(ctx context.Context) ([]node.Known, error)

	// SubmitJob is SubmitJobs of one job. When the idempotency key is taken, the
	// job that holds it is answered instead and created is false. An id that
	// is taken is AlreadyExists.
	SubmitJob(ctx context.Context, j job.Job) (stored job.Job, created bool, err error)
	// SubmitJobs inserts queued jobs, one or more, all or none. The first may
	// carry an idempotency key, which stands for all of them: when it is taken,
	// the job that holds it is answered and nothing is inserted. Else the first
	// is. What a job waits for (Spec.After) must exist: Invalid, naming it.
	SubmitJobs(ctx context.Context, jobs []job.Job) (first job.Job, created bool, err error)
	// SubmitClaimed is SubmitJob of a job that a node is given in the same step: it
	// is submitted and claimed, or neither. When the idempotency key is taken, the
	// job that holds it is answered as it is. A job that waits for others cannot be
	// claimed: Precondition.
	SubmitClaimed(ctx context.Context, j job.Job, nodeID string, now time.Time, gpus ...string) (stored job.Job, created bool, err error)
	// Outcome answers what became of a job, or of the jobs of an array.
	// NotFound.
	Outcome(ctx context.Context, id string) (job.Outcome, error)
	GetJob(ctx context.Context, id string) (job.Job, error)
	// ListJobs answers jobs newest first (by creation time, then id).
	ListJobs(ctx context.Context, f JobFilter) (JobPage, error)
	// PendingJobs calls f with every job that has not ended, oldest first, as
	// they were at one moment. It stops at f's first error and answers it.
	PendingJobs(ctx context.Context, f func(job.Job) error) error
	// CountJobs answers how many jobs there are in each state.
	CountJobs(ctx context.Context) (map[job.State]int64, error)

	// Each of the following makes one transition of the job package
	// atomically and answers the job after it. A transition that the table
	// does not allow is Precondition and changes nothing.

	// ClaimJob gives a queued job to a node as its next attempt, with these of
	// the node's GPUs.
	ClaimJob(ctx context.Context, id, nodeID string, now time.Time, gpus ...string) (job.Job, error)
	// StartAttempt marks an assigned attempt as running. Starting a running
	// attempt again changes nothing and is no error.
	StartAttempt(ctx context.Context, ref job.Ref, at time.Time) (job.Job, error)
	// CompleteAttempt ends an attempt; conditional on the attempt being the
	// newest and not ended. The job succeeds, fails, is cancelled or, by its
	// retry policy, is queued again. One that is not known to run is started
	// before, when end says when that was.
	CompleteAttempt(ctx context.Context, ref job.Ref, end job.End) (job.Job, error)
	// LoseAttempt marks an attempt whose lease ran out as lost and queues the
	// job again.
	LoseAttempt(ctx context.Context, ref job.Ref, reason string, now time.Time) (job.Job, error)
	// CancelJob cancels a queued job at once and marks one that a node holds
	// (job.Job.CancelRequested), which then ends with its attempt. A cancelled
	// or marked job is answered unchanged.
	CancelJob(ctx context.Context, id, reason string, now time.Time) (job.Job, error)
	// EvictAttempt marks an active attempt (job.Attempt.EvictReason): its job
	// is queued again when it ends, unless it succeeds. An attempt that is
	// marked, or whose job is being cancelled, is answered unchanged.
	EvictAttempt(ctx context.Context, ref job.Ref, reason string) (job.Job, error)
	// ExpireJob fails a queued job whose queue timeout has run out by now; met
	// says what kept it waiting.
	ExpireJob(ctx context.Context, id, met string, now time.Time) (job.Job, error)
	// ReleaseJob ends a job's waiting for others; unmet is empty, or says which
	// of them ended otherwise than asked, which cancels it. A queued job that
	// does not wait is answered unchanged.
	ReleaseJob(ctx context.Context, id, unmet string, now time.Time) (job.Job, error)
	// RetryJob queues a failed or cancelled job again; a queued one is
	// answered unchanged.
	RetryJob(ctx context.Context, id string, now time.Time) (job.Job, error)

	// DeleteEnded deletes the oldest jobs that ended before a time, at most so
	// many (1 to MaxPage), and answers their ids. A job that a waiting one
	// names under after is kept, itself or with its array. The idempotency keys
	// of those that are deleted are free again.
	DeleteEnded(ctx context.Context, before time.Time, limit int) (ids []string, err error)
	// DeletedJobs answers jobs that DeleteEnded deleted and ForgetDeleted has
	// not been told of, ordered by id, at most so many: those whose logs may
	// still be there.
	DeletedJobs(ctx context.Context, limit int) (ids []string, err error)
	ForgetDeleted(ctx context.Context, ids []string) error

	// PutArtifacts stores what an attempt left, instead of what was stored of it
	// before. Their names differ. When it returns without an error, all of it is
	// there; before that, none is seen. NotFound; Precondition when the attempt is
	// not the newest or has ended.
	PutArtifacts(ctx context.Context, ref job.Ref, list []job.Artifact, now time.Time) error
	// ArtifactSets answers which attempts of a job left something, ordered by
	// number. NotFound.
	ArtifactSets(ctx context.Context, jobID string) ([]job.ArtifactSet, error)
	// ListArtifacts answers what the attempts of a job left, ordered by attempt and
	// name. NotFound.
	ListArtifacts(ctx context.Context, jobID string, f ArtifactFilter) ([]job.Artifact, error)
	// DeleteArtifacts deletes a part, at most so many, of what one attempt left:
	// one of a job that is deleted, or whose artifacts were stored before a time
	// (zero: none). Of that nothing is seen from then on. more says whether it
	// found one.
	DeleteArtifacts(ctx context.Context, before time.Time, limit int) (more bool, err error)

	// BlobsInUse answers which of some blobs a job is given (job.Spec.Blobs), from
	// when it is submitted until it is deleted, a schedule gives its jobs, from
	// when it is put until it is put otherwise or deleted, or are artifacts.
	BlobsInUse(ctx context.Context, digests []blob.Digest) (map[blob.Digest]bool, error)

	// PutQueue inserts or replaces the settings of a queue. Invalid.
	PutQueue(ctx context.Context, q job.Queue) error
	// DeleteQueue forgets the settings of a queue. NotFound: there are none.
	DeleteQueue(ctx context.Context, name string) error
	// ListQueues answers the queues that something is set for, ordered by name.
	ListQueues(ctx context.Context) ([]job.Queue, error)

	// PutSchedule inserts or replaces a schedule. Invalid.
	PutSchedule(ctx context.Context, s schedule.Schedule) error
	// DeleteSchedule forgets a schedule. NotFound.
	DeleteSchedule(ctx context.Context, name string) error
	// ListSchedules answers all schedules, ordered by name.
	ListSchedules(ctx context.Context) ([]schedule.Schedule, error)

	// PutAlias inserts or replaces an alias. Invalid.
	PutAlias(ctx context.Context, a alias.Alias) error
	// DeleteAlias forgets an alias. NotFound.
	DeleteAlias(ctx context.Context, name string) error
	// ListAliases answers all aliases, ordered by name.
	ListAliases(ctx context.Context) ([]alias.Alias, error)

	// PutDeployment inserts or replaces a deployment, without its replicas.
	PutDeployment(ctx context.Context, d model.Deployment) error
	// DeleteDeployment removes a deployment and its replicas. NotFound.
	DeleteDeployment(ctx context.Context, name string) error
	// PutReplica inserts or replaces the placement of a replica. NotFound when
	// its deployment is not there.
	PutReplica(ctx context.Context, r model.Replica) error
	// DeleteReplica removes the placement of a replica. NotFound.
	DeleteReplica(ctx context.Context, id string) error
	// ListDeployments answers all deployments ordered by name, with the
	// placement of their replicas ordered by id. Observed state is not kept.
	ListDeployments(ctx context.Context) ([]model.Deployment, error)

	// AddUsage adds counts to those of the same time, step and key. Invalid: a
	// start that is not one of its step.
	AddUsage(ctx context.Context, rows []usage.Row) error
	// Usage calls f with the rows that start from a time on and before another,
	// in no order, as they were at one moment. It stops at f's first error and
	// answers it. f must not keep the row.
	Usage(ctx context.Context, from, to time.Time, f func(*usage.Row) error) error
	// FoldUsage puts the minutes of the oldest hour that ended before a time
	// together, as usage.Fold does. more says whether there was one.
	FoldUsage(ctx context.Context, before time.Time) (more bool, err error)
	// DeleteUsage deletes rows that start before a time, the oldest of each step
	// first and at most so many (1 to MaxPage). more says whether there may be
	// others.
	DeleteUsage(ctx context.Context, before time.Time, limit int) (more bool, err error)

	// Close makes everything durable and releases the data directory.
	Close() error
}

// JobFilter narrows ListJobs. Zero values do not narrow.
type JobFilter struct {
	States []job.State
	// NodeID is the node of the newest attempt.
	NodeID string
	Labels label.Selector
	// ArrayID is that of the array that a job is of.
	ArrayID string
	// Queue and Name are compared whole: only so can an index give what they
	// pass in the order of the list.
	Queue, Name string
	// Limit is at least 1 and at most MaxPage.
	Limit int
	// After is the cursor of the last page: JobPage.Next.
	After string
}

// JobPage is one page of jobs; Next is empty on the last.
type JobPage struct {
	Jobs []job.Job
	Next string
}
