// Package job holds the domain of jobs: what a job is, its attempts, and the
// one table of transitions between their states. It knows neither protobuf
// nor SQL.
package job

import (
	"slices"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/blob"
)

// State is where a job stands. The zero value is not a state.
type State int

// The states of a job; see docs/architecture.md for the diagram.
const (
	// Queued: waits for a node.
	Queued State = iota + 1
	// Assigned: a node holds the lease of the newest attempt.
	Assigned
	// Running: that attempt runs.
	Running
	Succeeded
	Failed
	Cancelled
)

// AttemptState is where an attempt stands. The zero value is not a state.
type AttemptState int

// The states of an attempt. Observed state never moves backwards.
const (
	AttemptAssigned AttemptState = iota + 1
	AttemptRunning
	AttemptSucceeded
	AttemptFailed
	AttemptCancelled
	// AttemptLost: the node stopped renewing the lease.
	AttemptLost
	// AttemptEvicted: the orchestrator had it stopped, to run the job anew.
	AttemptEvicted
)

// Job is a durable unit of work. It may be copied by assignment: transitions
// replace what is behind the pointers, maps and slices of a job and never
// write to it.
type Job struct {
	ID             string
	Name           string
	Labels         map[string]string
	IdempotencyKey string
	Spec           Spec
	State          State
	// Reason says why the job is in its state, for people.
	Reason     string
	CreatedAt  time.Time
	StartedAt  time.Time // zero: not yet
	FinishedAt time.Time // zero: not yet
	// NotBefore is when the next attempt may start (retry backoff, or the
	// spec's StartAfter). The dispatcher heeds it; claiming earlier is not an
	// error.
	NotBefore time.Time
	// Waiting: what Spec.After names has not all ended, or nobody has looked
	// yet; see Release.
	Waiting bool
	// ArrayID is shared by the jobs that were submitted together as an array of
	// ArrayCount, of which this one is number ArrayIndex, from 0. Empty: none.
	ArrayID    string
	ArrayIndex int
	ArrayCount int
	// CancelRequested is true while a job that a node holds is to be
	// cancelled: it is Cancelled once the node says so or its lease is gone.
	CancelRequested bool
	// CancelReason is what was said with the request, for people.
	CancelReason string
	// ForgivenAttempts is how many of the oldest attempts do not count against
	// the retry policy and the bound on lost attempts, because somebody retried
	// the job by hand after them.
	ForgivenAttempts int
	Result           *Result // nil: has not ended
	// Attempts are numbered from 1, oldest first.
	Attempts []Attempt
}

// Spec says what to run: exactly one of Container, Chat and Process is set.
type Spec struct {
	Container   *Container `json:"container,omitempty"`
	Chat        *Chat      `json:"chat,omitempty"`
	Process     *Process   `json:"process,omitempty"`
	Resources   Resources  `json:"resources,omitzero"`
	Constraints []string   `json:"constraints,omitempty"`
	// Tolerations are taints of nodes that do not keep the job away; "*" is all.
	Tolerations []string `json:"tolerations,omitempty"`
	// Placement says which of the nodes that fit is taken; unset: the
	// orchestrator's setting decides.
	Placement  Placement  `json:"placement,omitempty"`
	Affinities []Affinity `json:"affinities,omitempty"`
	// AvoidJobs selects jobs that it does not share a node with; empty: none.
	AvoidJobs string `json:"avoidJobs,omitempty"`
	// Queue names the queue that the job waits in; empty: DefaultQueue.
	Queue string `json:"queue,omitempty"`
	// Priority orders the jobs of one queue, higher first.
	Priority int `json:"priority,omitempty"`
	// Preemptible: a job of the same queue with a higher priority may have its
	// room while it runs.
	Preemptible bool          `json:"preemptible,omitempty"`
	Retry       Retry         `json:"retry,omitzero"`
	Timeout     time.Duration `json:"timeout,omitempty"` // of one attempt; 0: none
	// StartTimeout is how long an attempt's node may take until it runs; 0: the
	// node agent's default.
	StartTimeout time.Duration `json:"startTimeout,omitempty"`
	// StartAfter is when the first attempt may begin; zero: at once.
	StartAfter time.Time `json:"startAfter,omitzero"`
	// QueueTimeout is how long the job may wait for a node each time it is
	// queued, from when it may start; 0: without end.
	QueueTimeout time.Duration `json:"queueTimeout,omitempty"`
	// After are what must end before the first attempt begins.
	After []Dependency `json:"after,omitempty"`
}

// PullPolicy says when an image is fetched. The zero value is IfNotPresent.
type PullPolicy int

// The pull policies.
const (
	PullIfNotPresent PullPolicy = iota
	PullAlways
	PullNever
)

// Container is a job that runs a container to its end.
type Container struct {
	Image      string            `json:"image"`
	Command    []string          `json:"command,omitempty"`
	Args       []string          `json:"args,omitempty"`
	Env        map[string]string `json:"env,omitempty"`
	PullPolicy PullPolicy        `json:"pullPolicy,omitempty"`
	// Models are those the job may call through the gateway.
	Models []string `json:"models,omitempty"`
	// StopGrace lies between asking it to stop and killing it; 0: the default.
	StopGrace  time.Duration `json:"stopGrace,omitempty"`
	WorkingDir string        `json:"workingDir,omitempty"`
	User       string        `json:"user,omitempty"`
	Tmpfs      []Tmpfs       `json:"tmpfs,omitempty"`
	Volumes    []Volume      `json:"volumes,omitempty"`
	Files      []File        `json:"files,omitempty"`
	ShmBytes   int64         `json:"shmBytes,omitempty"` // 0: the engine's default
	// RegistryCredentials names what the node is to show the image's registry.
	RegistryCredentials string `json:"registryCredentials,omitempty"`
	// Artifacts are what is kept of the files that it leaves.
	Artifacts []ArtifactSpec `json:"artifacts,omitempty"`
}

// Tmpfs is an empty folder in memory.
type Tmpfs struct {
	Path      string `json:"path"`
	SizeBytes int64  `json:"sizeBytes"`
}

// Volume is a folder of the node's that outlives the job.
type Volume struct {
	Name     string `json:"name"`
	Path     string `json:"path"`
	ReadOnly bool   `json:"readOnly,omitempty"`
}

// File is an input file.
type File struct {
	Path    string `json:"path"`
	Content []byte `json:"content,omitempty"`
	// Blob holds the content instead; empty: Content does.
	Blob blob.Digest `json:"blob,omitempty"`
	// Size is the content's, also where that is left out.
	Size int64 `json:"size,omitempty"`
	Mode int   `json:"mode"` // permissions
}

// Blobs are those that the job is given, each once.
func (s *Spec) Blobs() []blob.Digest {
	if s.Container == nil {
		return nil
	}
	var list []blob.Digest
	for i := range s.Container.Files {
		if digest := s.Container.Files[i].Blob; digest != "" && !slices.Contains(list, digest) {
			list = append(list, digest)
		}
	}
	return list
}

// WithoutContents is the job without what is in its files, which is for its
// node and for whoever asks for this one job: not for lists and events.
func (j *Job) WithoutContents() *Job {
	if j.Spec.Container == nil || len(j.Spec.Container.Files) == 0 {
		return j
	}
	light, container := *j, *j.Spec.Container
	container.Files = slices.Clone(container.Files)
	for i := range container.Files {
		container.Files[i].Content = nil
	}
	light.Spec.Container = &container
	return &light
}

// Process is a program that runs on the node itself, in no container, where the
// node's own policy allows it.
type Process struct {
	// Command is what the policy allows, by its name there or by its path.
	Command    string            `json:"command"`
	Args       []string          `json:"args,omitempty"`
	Env        map[string]string `json:"env,omitempty"`
	WorkingDir string            `json:"workingDir,omitempty"`
	// StopGrace lies between asking it to stop and killing it; 0: the default.
	StopGrace time.Duration `json:"stopGrace,omitempty"`
	// Models are those the job may call through the gateway.
	Models []string `json:"models,omitempty"`
}

// Kind names what the spec runs, in one word.
func (s *Spec) Kind() string {
	switch {
	case s.Chat != nil:
		return "chat"
	case s.Process != nil:
		return "process"
	default:
		return "container"
	}
}

// StopGrace is what the spec says of the time between asking the job to stop and
// killing it; 0: nothing.
func (s *Spec) StopGrace() time.Duration {
	switch {
	case s.Container != nil:
		return s.Container.StopGrace
	case s.Process != nil:
		return s.Process.StopGrace
	default:
		return 0
	}
}

// Models are those that the job may call.
func (s *Spec) Models() []string {
	switch {
	case s.Container != nil:
		return s.Container.Models
	case s.Process != nil:
		return s.Process.Models
	case s.Chat != nil:
		return []string{s.Chat.Model}
	default:
		return nil
	}
}

// Chat is one prompt to a model.
type Chat struct {
	Model       string    `json:"model"`
	Messages    []Message `json:"messages"`
	MaxTokens   int       `json:"maxTokens,omitempty"`
	Temperature *float64  `json:"temperature,omitempty"`
}

// Message is one turn of a chat: role system, user or assistant.
type Message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// Resources are what an attempt needs; 0 means not limited.
type Resources struct {
	CPUMillis      int64 `json:"cpuMillis,omitempty"`
	MemoryBytes    int64 `json:"memoryBytes,omitempty"`
	GPUs           int   `json:"gpus,omitempty"`
	GPUMemoryBytes int64 `json:"gpuMemoryBytes,omitempty"`
	// GPUVendor is of whom they must be; empty: any.
	GPUVendor string `json:"gpuVendor,omitempty"`
	DiskBytes int64  `json:"diskBytes,omitempty"`
}

// Retry says how failed attempts are repeated. Zero values mean the defaults:
// 1 attempt, 1 s, 1 min.
type Retry struct {
	MaxAttempts    int           `json:"maxAttempts,omitempty"`
	InitialBackoff time.Duration `json:"initialBackoff,omitempty"`
	MaxBackoff     time.Duration `json:"maxBackoff,omitempty"`
	// RetryOn are the classes of failures that are tried again; empty: all
	// that are selectable but FailureImage.
	RetryOn []Failure `json:"retryOn,omitempty"`
	// NoRetryExitCodes are exit codes after which it is not tried again.
	NoRetryExitCodes []int `json:"noRetryExitCodes,omitempty"`
}

// IsZero says whether nothing is set.
func (r Retry) IsZero() bool {
	return r.MaxAttempts == 0 && r.InitialBackoff == 0 && r.MaxBackoff == 0 && len(r.RetryOn) == 0 && len(r.NoRetryExitCodes) == 0
}

// Result is what came out of a job.
type Result struct {
	ExitCode *int   `json:"exitCode,omitempty"`
	Output   string `json:"output,omitempty"`
	Error    string `json:"error,omitempty"`
}

// Attempt is one try of a job on one node.
type Attempt struct {
	// Number counts from 1; it is the fencing epoch.
	Number     int
	NodeID     string
	State      AttemptState
	AssignedAt time.Time
	StartedAt  time.Time
	FinishedAt time.Time
	ExitCode   *int
	Reason     string
	// EvictReason says why the node was asked to end the attempt so that the
	// job runs elsewhere; empty: it was not asked. Such an attempt counts
	// neither against the retry policy nor against MaxLost.
	EvictReason string
	// Failure is the class of what went wrong when it failed or was lost.
	Failure Failure
	// GPUs are those of its node that it was given, by their UUIDs.
	GPUs []string
}

// Ref names an attempt.
type Ref struct {
	JobID   string
	Attempt int
}

// LogEntry is one line of an attempt's output.
type LogEntry struct {
	Attempt int
	Stream  Stream
	// Line counts the entries of one stream of one attempt, from 1.
	Line int64
	Time time.Time // by the node's clock
	Text string    // without the newline
	// Note says that this is no output of the job but a word on its log, such
	// as that lines were dropped here. A note has the number of a line, or 0.
	Note bool
}

// Stream is stdout or stderr.
type Stream int

// The streams.
const (
	Stdout Stream = iota + 1
	Stderr
)
