// Package engine makes a node serve models.
//
// An [Engine] is a way to serve them: package ollama runs Ollama in one container that the
// node's models share, package vllm runs a vLLM container for each, and package external
// adopts a server that is running already, which it never touches. Package hosting is what
// those with containers have in common, and enginetest the suite that they all pass.
package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// Label keys on the containers and volumes of engines, beside those of package driver.
const (
	LabelNode    = driver.LabelPrefix + "node"        // id of the node that made it
	LabelEngine  = driver.LabelPrefix + "engine"      // name of the engine
	LabelImage   = driver.LabelPrefix + "image"       // full reference it was made from
	LabelReplica = driver.LabelPrefix + "replica"     // id of the one replica it serves, if one
	LabelSpec    = driver.LabelPrefix + "spec-digest" // of all that it was created with
)

// Engine serves models. All its calls are idempotent, safe for concurrent use, and bounded
// by their context alone: a pull may take hours.
type Engine interface {
	// Name is the engine's name in the API: "ollama", "vllm", "external".
	Name() string

	// Ensure brings the replica that spec describes to serving, whatever of it is there
	// already, and returns once it does. report, which may be nil, is told of each step from
	// this goroutine; percentages and bytes never fall within a call. A replica that serves
	// already is confirmed at once. What is begun stays when ctx ends: Remove takes it away.
	Ensure(ctx context.Context, spec Spec, report func(Status)) (Replica, error)

	// Check says whether a replica that Ensure brought up still serves. After an error,
	// Ensure is what brings it back.
	Check(ctx context.Context, spec Spec) error

	// Remove takes a replica away, and the container behind it when no other replica uses
	// it. A replica that is not there is no error.
	Remove(ctx context.Context, spec Spec, opts RemoveOptions) error

	// Prune removes the containers of this node and engine that none of the replicas in
	// keep uses: those left behind while the node agent was away.
	Prune(ctx context.Context, keep []Spec) error
}

// Puller is an engine that can get a model without serving it.
type Puller interface {
	// Pull brings to the machine what the replica that spec describes would need, for one to
	// come, and leaves nothing that runs. report is as in Ensure, READY at the end; what has come stays
	// when ctx ends.
	Pull(ctx context.Context, spec Spec, report func(Status)) error
}

// Log reads a log from its last so many entries on, or all of it when tail is 0; with
// follow until the container ends.
type Log func(ctx context.Context, tail int, follow bool, handle func(driver.LogEntry) error) error

// Logged is an engine that runs in containers of ours.
type Logged interface {
	// Log finds the log of the container that serves a replica, or is to.
	Log(ctx context.Context, spec Spec) (Log, error)
}

// Spec is the desired state of a replica.
type Spec struct {
	ReplicaID  string
	Deployment string
	// Model is the model as the engine names it, such as "qwen3:0.6b".
	Model string
	// Image is the engine's container image; empty: the engine's default.
	Image string
	// Args are passed to the engine after its own.
	Args []string
	// Resources and GPUs limit a container that serves this replica alone. Containers that
	// replicas share are not limited by any one of them. No GPUs asked for: all there are.
	Resources driver.Resources
	GPUs      driver.GPURequest
	// Ollama is what is different from Ollama's defaults.
	Ollama OllamaSettings
}

// OllamaSettings are what is different from Ollama's defaults; their zero value: nothing.
type OllamaSettings struct {
	// Modelfile says what the model is made of.
	Modelfile string
	// NumParallel is how many requests are answered at once, ContextLength how many tokens
	// each may have; 0: as Ollama decides.
	NumParallel, ContextLength int
	// KeepAlive is how long the model stays in memory after a request; 0: always.
	KeepAlive time.Duration
}

// RemoveOptions says what else there is to consider in a removal.
type RemoveOptions struct {
	// Others are the node's other replicas on this engine, which keep what they need.
	Others []Spec
	// DeleteModel also deletes the model's files, unless one of Others uses them. Without
	// it, they stay for the next deployment.
	DeleteModel bool
}

// Replica is a replica that serves.
type Replica struct {
	// Endpoint is where this machine reaches it, such as "http://127.0.0.1:32768"; the
	// OpenAI API is below /v1.
	Endpoint string
	// Model is what the engine calls the model: the value of "model" in requests to it.
	Model string
	// ContainerID is empty where the engine is not ours.
	ContainerID string
}

// State is a replica's state, by the API's names less their prefix.
type State string

// The states of a replica. Ensure reports the first four; the others are the caller's.
const (
	StatePending  State = "PENDING"
	StatePulling  State = "PULLING" // image or weights are on their way
	StateLoading  State = "LOADING" // the engine starts or loads the model
	StateReady    State = "READY"
	StateFailed   State = "FAILED"
	StateStopping State = "STOPPING"
)

// Status is how far a replica has come.
type Status struct {
	State State
	// Percent of everything that has to be pulled, image and weights, 0 to 100.
	Percent float64
	// CompletedBytes of TotalBytes have come; the total grows while more becomes known.
	CompletedBytes, TotalBytes int64
	// Reason says in a few words what is going on.
	Reason string
}

// Local is an engine found running on this machine.
type Local struct {
	Name     string // "ollama", "vllm", "lmstudio", "llama-server", "sglang", "localai", or "openai" when unknown
	Version  string // empty when it does not say
	Endpoint string // base URL without a slash at the end
	Models   []string
}

// Code sorts the errors of engines by what can be done about them.
type Code string

// The codes of errors. Failures of the container engine come as *driver.Error instead.
const (
	CodeInvalid       Code = "invalid"         // the spec is wrong; the message names the field
	CodeModelNotFound Code = "model_not_found" // the engine cannot get such a model
	CodeNoResources   Code = "no_resources"    // memory or disk do not suffice
	CodeUnavailable   Code = "unavailable"     // the engine or a registry does not answer now
	CodeFailed        Code = "failed"          // the engine gave up, and says why
)

// Error is what an engine returns.
type Error struct {
	Code    Code
	Engine  string
	Op      string // such as "pull model qwen3:0.6b"
	Message string // the cause, for people
	Hint    string // what to do about it; may be empty
	Err     error  // the cause, if there is an error beneath
}

// Error reads as "ollama: pull model x: MESSAGE: CAUSE; HINT".
func (e *Error) Error() string {
	text := e.Engine + ": " + e.Op
	if e.Message != "" {
		text += ": " + e.Message
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	if e.Hint != "" {
		text += "; " + e.Hint
	}
	return text
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Temporary says whether trying again later may help with nothing changed.
func (e *Error) Temporary() bool { return e.Code == CodeUnavailable || e.Code == CodeFailed }

// CodeOf gives the code of the [*Error] in err's chain: "" when err is nil, CodeFailed when
// there is none.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeFailed
}

// Limits on a spec.
const (
	maxIDLength    = 128
	maxModelLength = 350
	maxArgs        = 128
	maxArgLength   = 4096
)

// Validate checks what all engines have in common, naming the field.
func (s *Spec) Validate() error {
	switch {
	case s.ReplicaID == "" || len(s.ReplicaID) > maxIDLength:
		return fmt.Errorf("replica id: must have 1 to %d characters", maxIDLength)
	case s.Model == "" || len(s.Model) > maxModelLength:
		return fmt.Errorf("model: must have 1 to %d characters", maxModelLength)
	case len(s.Args) > maxArgs:
		return fmt.Errorf("args: %d are too many, at most %d", len(s.Args), maxArgs)
	}
	for i, arg := range s.Args {
		if len(arg) > maxArgLength {
			return fmt.Errorf("args[%d]: %d characters are too many, at most %d", i, len(arg), maxArgLength)
		}
	}
	if s.Image != "" {
		if _, err := driver.NormalizeReference(s.Image); err != nil {
			return err
		}
	}
	return nil
}
