package meter

import "sync"

// maxRecent is how many calls are remembered one by one.
const maxRecent = 1000

// Numbered is a call with its number: the first that was counted has 1.
type Numbered struct {
	Number uint64
	Call
}

// Filter narrows a list of calls. Zero values do not.
type Filter struct {
	Model, Caller string
	// Outcome is nil for any.
	Outcome *Outcome
	Status  int
	// Before is the number that the list continues at.
	Before uint64
	// Limit is at least 1.
	Limit int
}

func (f *Filter) passes(c *Call) bool {
	return (f.Model == "" || f.Model == c.Model) && (f.Caller == "" || f.Caller == c.Caller) &&
		(f.Status == 0 || f.Status == c.Status) && (f.Outcome == nil || *f.Outcome == c.Outcome())
}

// ring remembers the newest calls.
type ring struct {
	mu     sync.Mutex // guards what follows
	calls  []Call
	newest uint64 // number of the newest
}

func (r *ring) add(c *Call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.calls) < maxRecent {
		r.calls = append(r.calls, *c)
	} else {
		r.calls[r.newest%maxRecent] = *c
	}
	r.newest++
}

// Speed is how fast a node made the tokens of answers.
type Speed struct {
	// TokensPerSecond is the average of so many calls.
	TokensPerSecond float64
	Calls           int
}

// speedCalls is of how many calls at most a Speed is the average.
const speedCalls = 20

// speeds answers for each node how fast it was with the models, by the newest calls that
// ended well and of which that is known.
func (r *ring) speeds(of func(model string) bool) map[string]Speed {
	r.mu.Lock()
	defer r.mu.Unlock()
	speeds := make(map[string]Speed)
	for n := r.newest; n > 0 && n > r.newest-uint64(len(r.calls)); n-- {
		c := &r.calls[(n-1)%maxRecent]
		s := speeds[c.NodeID]
		if c.NodeID == "" || s.Calls == speedCalls || c.Outcome() != OK || !of(c.Model) {
			continue
		}
		if rate := c.TokensPerSecond(); rate > 0 {
			s.TokensPerSecond += (rate - s.TokensPerSecond) / float64(s.Calls+1)
			s.Calls++
			speeds[c.NodeID] = s
		}
	}
	return speeds
}

// list gives calls, the newest first, and the number of the last when more may
// follow.
func (r *ring) list(f Filter) (calls []Numbered, next uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	from := r.newest
	if f.Before > 0 {
		from = min(from, f.Before-1)
	}
	for n := from; n > 0 && n > r.newest-uint64(len(r.calls)); n-- {
		c := &r.calls[(n-1)%maxRecent]
		if !f.passes(c) {
			continue
		}
		if len(calls) == f.Limit {
			return calls, calls[len(calls)-1].Number
		}
		calls = append(calls, Numbered{Number: n, Call: *c})
	}
	return calls, 0
}
