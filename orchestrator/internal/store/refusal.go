package store

import (
	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
)

// The refusals that every implementation words alike.

// NoJob says that there is no such job.
func NoJob(id string) error { return fault.New(fault.NotFound, "there is no job %q", id) }

// NoArray says that no job is of such an array.
func NoArray(id string) error { return fault.New(fault.NotFound, "there is no array %q", id) }

// NoSuch is NoArray or NoJob.
func NoSuch(id string) error {
	if job.IsArrayID(id) {
		return NoArray(id)
	}
	return NoJob(id)
}

// JobExists says that a job's id is taken.
func JobExists(id string) error {
	return fault.New(fault.AlreadyExists, "there is already a job %s", id)
}

// NoQueue says that a queue has no settings.
func NoQueue(name string) error {
	return fault.New(fault.NotFound, "nothing is set for a queue %q", name)
}

// NoNode says that there is no such node.
func NoNode(id string) error { return fault.New(fault.NotFound, "there is no node %q", id) }

// NoDeployment says that there is no such deployment.
func NoDeployment(name string) error {
	return fault.New(fault.NotFound, "there is no deployment %q", name)
}

// NoReplica says that there is no such replica.
func NoReplica(id string) error { return fault.New(fault.NotFound, "there is no replica %q", id) }

// Closed says that the store has been closed.
func Closed() error {
	return fault.New(fault.Unavailable, "the store is closed; the orchestrator is stopping")
}

// Abandoned says that nothing was done because the caller's context was done
// first.
func Abandoned(cause error) error {
	return fault.Wrap(fault.Unavailable, cause, "the request ended before it was carried out; nothing was changed")
}
