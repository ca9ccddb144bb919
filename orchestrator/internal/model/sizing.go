package model

import (
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
)

// Limits on how often a model is served.
const (
	// MaxReplicas is how many replicas a deployment may want by number.
	MaxReplicas = 64
	// MaxEverywhere is how many a deployment has that is everywhere.
	MaxEverywhere = 1000
	// MaxNodes is how many nodes a deployment may name.
	MaxNodes = 64
	// MaxTarget is how many requests at once one replica may be there for.
	MaxTarget = 10_000
	// MinIdleTimeout and MaxIdleTimeout bound how long replicas are kept that
	// are not needed; DefaultIdleTimeout is when that is not said.
	MinIdleTimeout     = time.Second
	MaxIdleTimeout     = 7 * 24 * time.Hour
	DefaultIdleTimeout = 10 * time.Minute
)

// Sizing is what is said of how often a model is to be served; nil: nothing.
type Sizing struct {
	Replicas, MinReplicas, MaxReplicas *int
	Everywhere                         *bool
	IdleTimeout                        *time.Duration
	TargetInFlight                     *int
}

// Scales says whether the number of replicas follows the demand.
func (s *Spec) Scales() bool { return s.MaxReplicas > 0 }

// Size takes over what is said. There are three ways to say how often: a number,
// bounds of a number that follows the demand, everywhere. Saying one of them
// replaces what was said before. The error is Invalid and names the field.
func (s *Spec) Size(z Sizing) error {
	bounded := z.MinReplicas != nil || z.MaxReplicas != nil
	everywhere := z.Everywhere != nil && *z.Everywhere
	switch {
	case everywhere && bounded:
		return fault.BadField("spec.everywhere", "does not go with spec.minReplicas and spec.maxReplicas; give one or the other")
	case everywhere && z.Replicas != nil:
		return fault.BadField("spec.everywhere", "does not go with spec.replicas; give one or the other")
	case everywhere:
		s.fix(0)
		s.Everywhere = true
	case bounded:
		if err := s.bound(z); err != nil {
			return err
		}
	case z.Replicas != nil:
		s.fix(*z.Replicas)
	case z.Everywhere != nil && s.Everywhere:
		s.fix(1)
	}
	if z.IdleTimeout != nil {
		s.IdleTimeout = *z.IdleTimeout
	}
	if z.TargetInFlight != nil {
		s.TargetInFlight = *z.TargetInFlight
	}
	return s.checkSize()
}

// fix has the number follow nothing.
func (s *Spec) fix(replicas int) {
	s.Replicas, s.Everywhere, s.MinReplicas, s.MaxReplicas = replicas, false, 0, 0
	s.IdleTimeout, s.TargetInFlight = 0, 0
}

// bound has the number follow the demand. What is not said stays, or is made
// from the rest.
func (s *Spec) bound(z Sizing) error {
	begin := s.Replicas
	if z.Replicas != nil {
		begin = *z.Replicas
	} else if s.Everywhere {
		begin = 1
	}
	low, high := 1, max(begin, 1)
	if s.Scales() {
		low, high = s.MinReplicas, s.MaxReplicas
	}
	switch {
	case z.MinReplicas != nil && z.MaxReplicas != nil:
		low, high = *z.MinReplicas, *z.MaxReplicas
	case z.MinReplicas != nil:
		low = *z.MinReplicas
		high = max(high, low)
	default:
		high = *z.MaxReplicas
		low = min(low, high)
	}
	switch {
	case high < 1 || high > MaxReplicas:
		return fault.BadField("spec.maxReplicas", "is %d; 1 to %d are allowed", high, MaxReplicas)
	case low < 0 || low > high:
		return fault.BadField("spec.minReplicas", "is %d; 0 to %d are allowed, as spec.maxReplicas is %d", low, high, high)
	case z.Replicas == nil:
		begin = min(max(begin, low), high)
	}
	s.Replicas, s.Everywhere, s.MinReplicas, s.MaxReplicas = begin, false, low, high
	return nil
}

// checkSize says what is wrong with how often a model is to be served.
func (s *Spec) checkSize() error {
	switch {
	case s.Replicas < 0 || s.Replicas > MaxReplicas:
		return fault.BadField("spec.replicas", "is %d; 0 to %d are allowed", s.Replicas, MaxReplicas)
	case s.Scales() && (s.Replicas < s.MinReplicas || s.Replicas > s.MaxReplicas):
		return fault.BadField("spec.replicas", "is %d; %d to %d are allowed, as spec.minReplicas and spec.maxReplicas say",
			s.Replicas, s.MinReplicas, s.MaxReplicas)
	case !s.Scales() && s.IdleTimeout != 0:
		return fault.BadField("spec.idleTimeout", "goes with spec.minReplicas and spec.maxReplicas only")
	case !s.Scales() && s.TargetInFlight != 0:
		return fault.BadField("spec.targetInFlight", "goes with spec.minReplicas and spec.maxReplicas only")
	case s.IdleTimeout != 0 && (s.IdleTimeout < MinIdleTimeout || s.IdleTimeout > MaxIdleTimeout):
		return fault.BadField("spec.idleTimeout", "is %v; %v to %v are allowed", s.IdleTimeout, MinIdleTimeout, MaxIdleTimeout)
	case s.TargetInFlight < 0 || s.TargetInFlight > MaxTarget:
		return fault.BadField("spec.targetInFlight", "is %d; 1 to %d are allowed", s.TargetInFlight, MaxTarget)
	}
	return nil
}

func (s *Spec) idleTimeout() time.Duration {
	if s.IdleTimeout == 0 {
		return DefaultIdleTimeout
	}
	return s.IdleTimeout
}

// target is how many requests at once one replica is there for: as many as
// Ollama answers at once by default; engines that batch take more.
func (s *Spec) target() int {
	switch {
	case s.TargetInFlight > 0:
		return s.TargetInFlight
	case s.Engine == Ollama && s.Ollama != nil && s.Ollama.NumParallel > 0:
		return s.Ollama.NumParallel
	case s.Engine == Ollama:
		return 4
	default:
		return 32
	}
}
