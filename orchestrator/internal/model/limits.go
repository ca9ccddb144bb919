package model

import "github.com/orchion/orchion/orchestrator/internal/fault"

// Limits on what replicas are given.
const (
	// MaxMaxInFlight bounds the requests that one replica may be given at once.
	MaxMaxInFlight = 100_000
	// MaxMaxQueued bounds those that may wait for a model; DefaultMaxQueued is when
	// that is not said.
	MaxMaxQueued     = 100_000
	DefaultMaxQueued = 256

	// An engine has twice as much as it answers together, so that it never waits for
	// what is next; what is more waits where it can be put in order.
	ollamaInFlight = 8
	vllmInFlight   = 256
)

// Limit takes over how much the replicas are given; nil: that is not said. The error is
// Invalid and names the field.
func (s *Spec) Limit(maxInFlight, maxQueued *int) error {
	if maxInFlight != nil {
		if *maxInFlight < 1 || *maxInFlight > MaxMaxInFlight {
			return fault.BadField("spec.maxInFlight", "is %d; 1 to %d are allowed", *maxInFlight, MaxMaxInFlight)
		}
		s.MaxInFlight = *maxInFlight
	}
	if maxQueued != nil {
		if *maxQueued < 0 || *maxQueued > MaxMaxQueued {
			return fault.BadField("spec.maxQueued", "is %d; 0 to %d are allowed", *maxQueued, MaxMaxQueued)
		}
		s.MaxQueued = maxQueued
	}
	return nil
}

// maxInFlight is how many requests a replica is given at once; 0: any number, since
// nothing is known of the engine.
func (s *Spec) maxInFlight() int {
	switch {
	case s.MaxInFlight > 0:
		return s.MaxInFlight
	case s.Engine == Ollama && s.Ollama != nil && s.Ollama.NumParallel > 0:
		return max(2*s.Ollama.NumParallel, 2*s.TargetInFlight)
	case s.Engine == Ollama:
		return max(ollamaInFlight, 2*s.TargetInFlight)
	case s.Engine == VLLM:
		return max(vllmInFlight, 2*s.TargetInFlight)
	default:
		return 0
	}
}

// maxQueued is how many requests may wait while the replicas have so many.
func (s *Spec) maxQueued() int {
	switch {
	case s.maxInFlight() == 0:
		return 0 // none ever does
	case s.MaxQueued != nil:
		return *s.MaxQueued
	default:
		return DefaultMaxQueued
	}
}
