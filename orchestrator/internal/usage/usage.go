// Package usage is what calls of models took, as counts that add up: of a
// minute, or of an hour when that is long ago, for each model, caller and node.
// Nothing of what was asked or answered is in it.
package usage

import (
	"time"
)

// MinutesKept is how long rows of a minute are kept before they are put together
// to rows of an hour.
const MinutesKept = 48 * time.Hour

const (
	// MaxKeys bounds the rows of one minute and, later, of one hour.
	MaxKeys = 256
	// Others is the caller under which those beyond MaxKeys are counted.
	Others = "others"
	// Local is the caller of calls that came from this machine, without a token.
	Local = "local"
	// JobPrefix begins the caller of calls that a job made; its id follows.
	JobPrefix = "job:"
)

// Key says what a row counts.
type Key struct {
	// Model is the name under which it is deployed; empty: the one that was
	// asked for was not found.
	Model string
	// Caller is Local, Others, or JobPrefix with an id.
	Caller string
	// NodeID is empty when no node answered.
	NodeID string
}

// Row is the counts of a minute or an hour.
type Row struct {
	// Start is a whole number of Steps since 1970, in UTC.
	Start time.Time
	// Step is a minute or an hour.
	Step time.Duration

	Key
	Counts
}

// Counts are sums over calls.
type Counts struct {
	// Requests counts all calls, Failed those that were answered with an error
	// or broken off, Cancelled those whose client left.
	Requests, Failed, Cancelled int64
	// TokensIn and TokensOut are as the engines count them, or as Estimated
	// says.
	TokensIn, TokensOut int64
	// Estimated is how many of TokensOut were told by the events of a stream,
	// since the engine did not count.
	Estimated int64
	// PacedTokens were made in PacedTime: tokens after the first of streams, and
	// the time after it; all tokens of other answers, and all of their time.
	PacedTokens int64
	PacedTime   time.Duration
	// Duration is of whole calls, FirstToken from their start to the first byte
	// of a stream, Queue until a replica was chosen.
	Duration, FirstToken, Queue Latency
}

// Add adds counts.
func (c *Counts) Add(o *Counts) {
	c.Requests += o.Requests
	c.Failed += o.Failed
	c.Cancelled += o.Cancelled
	c.TokensIn += o.TokensIn
	c.TokensOut += o.TokensOut
	c.Estimated += o.Estimated
	c.PacedTokens += o.PacedTokens
	c.PacedTime += o.PacedTime
	c.Duration.add(&o.Duration)
	c.FirstToken.add(&o.FirstToken)
	c.Queue.add(&o.Queue)
}

// TokensPerSecond is how fast answers came; 0 when nothing says so.
func (c *Counts) TokensPerSecond() float64 {
	if c.PacedTime <= 0 {
		return 0
	}
	return float64(c.PacedTokens) / c.PacedTime.Seconds()
}

// Tokens is TokensIn and TokensOut together.
func (c *Counts) Tokens() int64 { return c.TokensIn + c.TokensOut }
