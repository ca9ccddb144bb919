package job

import (
	"time"

	"github.com/orchion/orchion/orchestrator/internal/blob"
	"github.com/orchion/orchion/orchestrator/internal/fault"
)

// ArtifactSpec names files that are kept of a container.
type ArtifactSpec struct {
	Path     string `json:"path"`
	Name     string `json:"name,omitempty"`
	Optional bool   `json:"optional,omitempty"`
}

// Artifact is one file that an attempt left.
type Artifact struct {
	Attempt int
	Name    string
	Path    string // in the container
	Digest  blob.Digest
	Size    int64
	Mode    int // permissions
}

// ArtifactSet is all that an attempt left.
type ArtifactSet struct {
	Attempt  int
	Files    int
	Bytes    int64
	StoredAt time.Time
}

// MayLeave says whether an attempt may say what it left: the newest, until it
// has ended. Precondition.
func (j *Job) MayLeave(attempt int) error {
	newest, ok := j.Current()
	if !ok || newest.Number != attempt || newest.State.Ended() {
		return fault.New(fault.Precondition, "attempt %d of job %s is not its newest, or has ended; it cannot leave artifacts", attempt, j.ID)
	}
	return nil
}
