package job

import (
	"hash/fnv"
	"strconv"
	"time"
)

// The defaults of a retry policy.
const (
	DefaultMaxAttempts    = 1
	DefaultInitialBackoff = time.Second
	DefaultMaxBackoff     = time.Minute
)

// attempts is how many attempts may fail, with the default applied.
func (r Retry) attempts() int {
	if r.MaxAttempts <= 0 {
		return DefaultMaxAttempts
	}
	return r.MaxAttempts
}

// Backoff is how long a job waits after so many failed attempts, at least 1:
// the initial backoff, doubled with every further failure up to the maximum,
// and of that between a half and the whole. Where between is derived from the
// job's id and the count, so that jobs which failed together come back apart
// and yet the transition stays a function of its arguments.
func (r Retry) Backoff(jobID string, failures int) time.Duration {
	initial, limit := r.InitialBackoff, r.MaxBackoff
	if initial <= 0 {
		initial = DefaultInitialBackoff
	}
	if limit <= 0 {
		limit = max(DefaultMaxBackoff, initial)
	}
	whole := min(initial, limit)
	for i := 1; i < failures && whole < limit; i++ {
		// Compared before doubling: the product could overflow.
		if whole > limit/2 {
			whole = limit
			break
		}
		whole *= 2
	}
	h := fnv.New64a()
	h.Write([]byte(jobID + "/" + strconv.Itoa(failures)))
	share := float64(h.Sum64()>>11) / (1 << 53) // in [0, 1)
	half := whole / 2
	return half + time.Duration(share*float64(whole-half))
}
