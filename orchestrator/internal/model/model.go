// Package model keeps models served: deployments (desired), replicas
// (observed), and the reconciler that brings the one to the other.
package model

import (
	"time"

	"github.com/orchion/orchion/orchestrator/internal/job"
)

// Engine is what serves a model. The zero value is not an engine.
type Engine int

// The engines.
const (
	Ollama Engine = iota + 1
	VLLM
	// External is a server that was running already and is only adopted.
	External
)

// ReplicaState is where a replica stands. The zero value is not a state.
type ReplicaState int

// The states of a replica; see docs/architecture.md for the diagram.
const (
	Pending ReplicaState = iota + 1
	Pulling
	Loading
	Ready
	Failed
	Stopping
)

// DeploymentState sums up the replicas of a deployment.
type DeploymentState int

// The states of a deployment.
const (
	DeploymentPending DeploymentState = iota + 1
	DeploymentReady
	DeploymentDegraded
	DeploymentFailed
	DeploymentDeleting
)

// Deployment is desired state: this model, on this engine, so many replicas.
type Deployment struct {
	Name      string
	Labels    map[string]string
	Spec      Spec
	Deleting  bool
	CreatedAt time.Time
	// Wanted is how many replicas there should be now.
	Wanted int
	// EvictedFor is the deployment for which its replica was stopped last; empty:
	// none was, or there has been one since.
	EvictedFor string
	// Replicas are placements and what was observed of them.
	Replicas []Replica
}

// Spec says what to serve.
type Spec struct {
	Model  string   `json:"model"`
	Engine Engine   `json:"engine"`
	Image  string   `json:"image,omitempty"` // empty: the engine's default
	Args   []string `json:"args,omitempty"`
	// Replicas is their number; of a deployment that scales, the one to begin
	// with.
	Replicas    int           `json:"replicas"`
	Constraints []string      `json:"constraints,omitempty"`
	Resources   job.Resources `json:"resources,omitzero"`
	// Tolerations are as those of a job.
	Tolerations []string `json:"tolerations,omitempty"`
	// Nodes are those that it may run on, by id; none: any.
	Nodes []string `json:"nodes,omitempty"`
	// Everywhere: one replica on each node that fits. Replicas is 0 then.
	Everywhere bool `json:"everywhere,omitempty"`
	// MinReplicas and MaxReplicas bound a number that follows the demand.
	// MaxReplicas 0: it does not.
	MinReplicas int `json:"minReplicas,omitempty"`
	MaxReplicas int `json:"maxReplicas,omitempty"`
	// IdleTimeout is how long a replica is kept that is not needed; 0:
	// DefaultIdleTimeout.
	IdleTimeout time.Duration `json:"idleTimeout,omitempty"`
	// TargetInFlight is how many requests at once one replica is there for; 0:
	// the engine's default.
	TargetInFlight int `json:"targetInFlight,omitempty"`
	// Ollama is what is different from its defaults; nil: nothing.
	Ollama *OllamaSettings `json:"ollama,omitempty"`
	// MaxInFlight is how many requests one replica is given at once; 0: the
	// engine's default.
	MaxInFlight int `json:"maxInFlight,omitempty"`
	// MaxQueued is how many requests may wait for a replica; nil: DefaultMaxQueued.
	MaxQueued *int `json:"maxQueued,omitempty"`
}

// Replica is one running copy of a deployment on one node. ID, Deployment,
// NodeID, GPUs and Remove are placement, durable; the rest is observed and lives
// in memory until the node says it again.
type Replica struct {
	ID         string
	Deployment string
	NodeID     string // empty: waits for a node
	// GPUs are those of its node that it was given, by their UUIDs.
	GPUs []string
	// Remove is true when the replica is to go away.
	Remove          bool
	State           ReplicaState
	ProgressPercent float64
	CompletedBytes  int64
	TotalBytes      int64
	Reason          string
	ReadyAt         time.Time
	// ServedModel is what the engine calls the model.
	ServedModel string
	// Outdated: it is of an older spec and to be replaced.
	Outdated bool
}
