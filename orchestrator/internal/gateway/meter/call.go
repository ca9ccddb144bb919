package meter

import (
	"net/http"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/usage"
)

// StatusCancelled stands for a call whose client left, as in nginx.
const StatusCancelled = 499

// LocalCaller is the caller of calls that came from this machine, without a
// token.
const LocalCaller = usage.Local

// JobCaller is the caller of calls that a job made.
func JobCaller(jobID string) string { return usage.JobPrefix + jobID }

// Call is what is told of a call of a model that has ended. Nothing of what was
// asked or answered is in it.
type Call struct {
	// RequestID is that of the answer's header.
	RequestID string
	// Time is when it began.
	Time time.Time
	// Endpoint is the path that was called.
	Endpoint string
	// Model is the name that it is deployed under; empty: there was none.
	Model string
	// Caller is as in usage.Key.
	Caller string
	// NodeID, ReplicaID, Engine and RouteReason say what answered and why; they
	// are empty when nothing did.
	NodeID, ReplicaID, Engine, RouteReason string
	// Status is that of the answer, or StatusCancelled.
	Status int
	// Broken: the answer began and did not come to its end.
	Broken bool
	// Streamed: it came piece by piece.
	Streamed bool
	// TokensIn and TokensOut are as the engine counts them. Estimated: it did
	// not, and TokensOut is told by the events of the stream.
	TokensIn, TokensOut int64
	Estimated           bool
	// Duration is that of all of it. FirstToken is from the start to the first
	// byte of a stream, 0 when there was none, and Queue until a replica was
	// chosen.
	Duration, FirstToken, Queue time.Duration
}

// Outcome is how a call ended.
type Outcome int

// How a call can end.
const (
	OK Outcome = iota
	Failed
	Cancelled
)

// Outcome says how the call ended.
func (c *Call) Outcome() Outcome {
	switch {
	case c.Status == StatusCancelled:
		return Cancelled
	case c.Broken || c.Status >= http.StatusBadRequest:
		return Failed
	default:
		return OK
	}
}

// TokensPerSecond is how fast the answer came; 0 when nothing says so.
func (c *Call) TokensPerSecond() float64 {
	var counts usage.Counts
	counts.PacedTokens, counts.PacedTime = c.pace()
	return counts.TokensPerSecond()
}

// pace is in how much time how many tokens were made. That of a stream is
// measured from its first token on, so that what came before does not count.
func (c *Call) pace() (tokens int64, in time.Duration) {
	switch {
	case c.TokensOut <= 0:
		return 0, 0
	case !c.Streamed:
		return c.TokensOut, c.Duration
	case c.TokensOut == 1 || c.FirstToken <= 0 || c.FirstToken >= c.Duration:
		return 0, 0
	default:
		return c.TokensOut - 1, c.Duration - c.FirstToken
	}
}

// addTo counts the call.
func (c *Call) addTo(to *usage.Counts) {
	to.Requests++
	switch c.Outcome() {
	case OK:
	case Failed:
		to.Failed++
	case Cancelled:
		to.Cancelled++
	}
	to.TokensIn += c.TokensIn
	to.TokensOut += c.TokensOut
	if c.Estimated {
		to.Estimated += c.TokensOut
	}
	tokens, in := c.pace()
	to.PacedTokens += tokens
	to.PacedTime += in
	to.Duration.Note(c.Duration)
	if c.FirstToken > 0 {
		to.FirstToken.Note(c.FirstToken)
	}
	if c.NodeID != "" {
		to.Queue.Note(c.Queue)
	}
}
