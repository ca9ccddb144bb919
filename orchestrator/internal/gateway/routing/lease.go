package routing

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/model"
)

// Lease is a replica's time for one request.
type Lease struct {
	// Route is the way to the replica.
	Route model.Route
	// Points are what it was chosen by.
	Points Points
	// Others is how many replicas could be asked instead.
	Others int

	pool      *pool
	replica   *replica
	ask       *Ask
	candidate Candidate
	of        int
	once      sync.Once
}

// Why says in words why this replica was chosen.
func (l *Lease) Why() string { return l.candidate.why(l.of) }

// Verdict is what an answer says of a replica. The zero value is Unknown.
type Verdict int

// The verdicts.
const (
	// Unknown: the client left, or the request was never sent.
	Unknown Verdict = iota
	// Worked: the engine answered, be it with an error that is the client's.
	Worked
	// Busy: the engine answered that it has too much to do.
	Busy
	// Broken: the engine could not be reached, or broke off.
	Broken
)

// Outcome is what became of a request.
type Outcome struct {
	Verdict Verdict
	// Answered is true when the answer came to its good end: only then the rest
	// is measured.
	Answered bool
	// First is from the question to the first byte, of a stream; 0: not known.
	First time.Duration
	// Whole is from the question to the end.
	Whole time.Duration
	// Tokens is how many there are in the answer; 0: not known.
	Tokens int64
}

// Done gives a lease back. Only the first call counts.
func (l *Lease) Done(o Outcome) {
	l.once.Do(func() { l.pool.done(l, o, time.Now()) })
}

func (p *pool) done(l *Lease, o Outcome, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.note(l, o, now)
	p.serve(now)
}

// note takes in what became of a request.
func (p *pool) note(l *Lease, o Outcome, now time.Time) {
	r := l.replica
	r.inFlight--
	r.node.inFlight.Add(-1)
	r.used = now
	switch o.Verdict {
	case Worked:
		r.breaker.Succeed(now)
	case Broken:
		r.breaker.Fail(now, rand.Float64()) //nolint:gosec // spreads retries, guards nothing
	default:
		r.breaker.Abandon()
	}
	if o.Verdict != Worked || !o.Answered {
		return
	}
	r.speed.add(o, now)
	p.speed.add(o, now)
	if l.ask.prefix.count > 0 {
		p.prefixes.read(&l.ask.prefix, r)
	}
}
