package model

import "time"

// Assignment gives a node a replica to run.
type Assignment struct {
	ReplicaID  string
	Deployment string
	Spec       Spec
	// GPUs are the node's that it may use, by their UUIDs.
	GPUs []string
}

// ReplicaStatus is what a node observes of a replica.
type ReplicaStatus struct {
	ReplicaID       string
	State           ReplicaState
	ProgressPercent float64 // of the pull, 0 to 100
	CompletedBytes  int64
	TotalBytes      int64
	Reason          string
	// Removed is true when the replica is no longer there.
	Removed bool
	// ServedModel is what the engine calls the model; empty: as the
	// deployment does.
	ServedModel string
}

// Link reaches the nodes. Its methods do not block; false means that the node
// has no stream now, and learns what to run when it connects.
type Link interface {
	AssignReplica(nodeID string, a Assignment) bool
	RemoveReplica(nodeID, replicaID string) bool
}

// Route is one way to reach a model. Either ReplicaID or EngineEndpoint is
// set, as the target of a tunnel.
type Route struct {
	// Model is the name that clients use, ServedModel the engine's.
	Model, ServedModel string
	NodeID             string
	ReplicaID          string
	Deployment         string
	// EngineEndpoint is of an adopted engine, as its node named it.
	EngineEndpoint string
	// Engine names what serves: ollama, vllm, ...
	Engine string
	// MaxInFlight is how many requests it is given at once; 0: any number. While it
	// has so many, up to MaxQueued wait.
	MaxInFlight, MaxQueued int
}

// ModelInfo is a model that can be called, with the ways to it.
type ModelInfo struct { //nolint:revive // Info alone would not say of what
	// ID is the name that clients use.
	ID string
	// Created is when the first of its deployments was made; of a model that
	// only adopted engines serve, when the first of their nodes registered.
	Created time.Time
	Routes  []Route // at least one
}
