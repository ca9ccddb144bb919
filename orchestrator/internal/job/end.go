package job

import "time"

// End is how an attempt ended, as its node saw it.
type End struct {
	// State is AttemptSucceeded, AttemptFailed or AttemptCancelled.
	State AttemptState
	At    time.Time // by the orchestrator's clock
	// StartedAt is when an attempt began to run that is not known to run; zero: it
	// never did.
	StartedAt time.Time
	ExitCode  *int
	Reason    string
	Output    string
	// Failure is the class of what went wrong when State is AttemptFailed.
	Failure Failure
}
