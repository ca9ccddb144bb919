package job

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Failure is what kind of thing ended an attempt that did not succeed; what is
// done about it depends on that. The zero value: nobody said.
type Failure int

// The classes of failures.
const (
	// FailureExitCode: the program ended with another code than 0.
	FailureExitCode Failure = iota + 1
	// FailureOutOfMemory: it was killed for using more memory than it may.
	FailureOutOfMemory
	// FailureImage: there is no such image, or the registry denies it.
	FailureImage
	// FailureImageUnavailable: the registry is out of reach.
	FailureImageUnavailable
	// FailureStart: it could not be started, or not in time.
	FailureStart
	// FailureTimeout: it ran longer than it may.
	FailureTimeout
	// FailureInvalid: what the spec says cannot run.
	FailureInvalid
	// FailureEngine: the container engine, or the engine of a model, went away
	// or does not answer.
	FailureEngine
	// FailureNodeLost: its node stopped renewing the lease, or left.
	FailureNodeLost
	// FailureNode: the node cannot run it, such as for a full disk.
	FailureNode
)

// Failures are all classes.
func Failures() []Failure {
	return []Failure{
		FailureExitCode, FailureOutOfMemory, FailureImage, FailureImageUnavailable, FailureStart,
		FailureTimeout, FailureInvalid, FailureEngine, FailureNodeLost, FailureNode,
	}
}

// String gives the class's name as people read it.
func (f Failure) String() string {
	switch f {
	case FailureExitCode:
		return "exit code"
	case FailureOutOfMemory:
		return "out of memory"
	case FailureImage:
		return "image"
	case FailureImageUnavailable:
		return "image unavailable"
	case FailureStart:
		return "start"
	case FailureTimeout:
		return "timeout"
	case FailureInvalid:
		return "invalid"
	case FailureEngine:
		return "engine"
	case FailureNodeLost:
		return "node lost"
	case FailureNode:
		return "node"
	default:
		return "failure " + strconv.Itoa(int(f))
	}
}

// Infrastructure says whether a failure of this class is no fault of the job,
// so that it does not count against its tries. Lost nodes are counted apart.
func (f Failure) Infrastructure() bool {
	return f == FailureImageUnavailable || f == FailureEngine || f == FailureNode
}

// Selectable says whether a retry policy may name the class: the others are
// always tried again, up to a bound, or never.
func (f Failure) Selectable() bool {
	switch f {
	case FailureExitCode, FailureOutOfMemory, FailureImage, FailureStart, FailureTimeout:
		return true
	default:
		return false
	}
}

// MaxInfrastructure is how many attempts of a job may fail for no fault of its
// own before it fails. They do not count against the retry policy, but a job
// that meets nothing but broken machines must end somewhere.
const MaxInfrastructure = 10

// infrastructureBackoff is between attempts that failed for no fault of the
// job: ten of them span about twenty minutes, in which an engine is restarted
// or a registry comes back.
var infrastructureBackoff = Retry{InitialBackoff: 5 * time.Second, MaxBackoff: 5 * time.Minute}

// verdict is what becomes of a job after an attempt that failed.
type verdict struct {
	again   bool
	backoff time.Duration // when again
	words   string        // to be said after why it failed; may be empty
}

// judge decides whether a failed attempt, which is not yet among the job's, is
// followed by another.
func (j *Job) judge(end End) verdict {
	policy := &j.Spec.Retry
	if end.Failure.Infrastructure() {
		failed := j.infrastructureFailures() + 1
		if failed >= MaxInfrastructure {
			return verdict{words: fmt.Sprintf("; given up after %d attempts that failed for no fault of the job", failed)}
		}
		backoff := infrastructureBackoff.Backoff(j.ID, failed)
		return verdict{again: true, backoff: backoff, words: fmt.Sprintf("; no fault of the job, so it keeps its tries; the next in %s", rounded(backoff))}
	}
	failed := j.failures() + 1
	left := policy.attempts() - failed
	if left <= 0 {
		return verdict{}
	}
	if why := policy.refusal(end); why != "" {
		return verdict{words: "; not tried again: " + why}
	}
	backoff := policy.Backoff(j.ID, failed)
	return verdict{again: true, backoff: backoff, words: fmt.Sprintf("; %d of %d tries left, the next in %s", left, policy.attempts(), rounded(backoff))}
}

func rounded(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// refusal says why a failure is not to be tried again although tries are left;
// empty: it is.
func (r *Retry) refusal(end End) string {
	f := end.Failure
	switch {
	case f == FailureInvalid:
		return "what cannot run now cannot run later"
	case f == FailureExitCode && end.ExitCode != nil && slices.Contains(r.NoRetryExitCodes, *end.ExitCode):
		return fmt.Sprintf("exit code %d is among retry.noRetryExitCodes", *end.ExitCode)
	case f == 0:
		return "" // from a node agent that does not tell classes yet
	case len(r.RetryOn) > 0 && !slices.Contains(r.RetryOn, f):
		return fmt.Sprintf("%q is not among retry.retryOn", f)
	case len(r.RetryOn) == 0 && f == FailureImage:
		return "the image has to be put right first"
	}
	return ""
}

// Avoid names the node on which the job's newest attempt failed for a reason
// that may lie in that node, so that another is better; false: none.
func (j *Job) Avoid() (nodeID string, avoid bool) {
	newest, ok := j.Current()
	if !ok || newest.State != AttemptFailed || !newest.Failure.Infrastructure() || newest.Number <= j.ForgivenAttempts {
		return "", false
	}
	return newest.NodeID, true
}

// infrastructureFailures counts the attempts that failed for no fault of the
// job and are not forgiven.
func (j *Job) infrastructureFailures() int {
	return j.countIf(func(a *Attempt) bool { return a.State == AttemptFailed && a.Failure.Infrastructure() })
}
