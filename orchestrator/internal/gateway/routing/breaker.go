package routing

import "time"

// BreakerState says whether a replica is asked. The zero value is Closed.
type BreakerState int

// The states of a breaker.
const (
	// Closed: it is asked as usual.
	Closed BreakerState = iota
	// Open: it failed and is left alone for a while.
	Open
	// HalfOpen: it was left alone for long enough, and one request at a time
	// finds out whether it works again.
	HalfOpen
)

// String gives the state's name as metrics and people use it.
func (s BreakerState) String() string {
	switch s {
	case Open:
		return "open"
	case HalfOpen:
		return "half-open"
	default:
		return "closed"
	}
}

const (
	// maxFailures in a row open a breaker.
	maxFailures = 3
	// window is over how many of the last requests failures are counted, of
	// which at least minWindow there must be; maxFailed of them, and half of
	// what there is, open it too.
	window    = 20
	minWindow = 10
	// firstPause is how long a breaker stays open at first; each time it opens
	// again without having closed, twice as long, up to maxPause.
	firstPause = time.Second
	maxPause   = 30 * time.Second
)

// Breaker keeps requests from a replica that fails. It is a value with its own
// time, guarded by whoever has it. Its zero value is closed.
type Breaker struct {
	failures int    // in a row
	recent   uint32 // the last requests, newest in the lowest bit; 1: failed
	count    int    // how many of recent there are
	pause    time.Duration
	until    time.Time // open until then; zero: closed
	probing  bool
}

// State answers how it stands.
func (b *Breaker) State(now time.Time) BreakerState {
	switch {
	case b.until.IsZero():
		return Closed
	case now.Before(b.until):
		return Open
	default:
		return HalfOpen
	}
}

// Allows says whether a request may go there now, and whether it is the one
// that finds out.
func (b *Breaker) Allows(now time.Time) (allowed, probe bool) {
	switch b.State(now) {
	case Closed:
		return true, false
	case HalfOpen:
		return !b.probing, !b.probing
	default:
		return false, false
	}
}

// Wait is how long it will be until a request may go there; 0: it may, or
// another finds out just now.
func (b *Breaker) Wait(now time.Time) time.Duration {
	if b.until.IsZero() {
		return 0
	}
	return max(b.until.Sub(now), 0)
}

// Begin notes that a request goes there.
func (b *Breaker) Begin(now time.Time) {
	if b.State(now) == HalfOpen {
		b.probing = true
	}
}

// Abandon notes that a request ended without saying anything of the replica. It
// may have been the one that was to find out.
func (b *Breaker) Abandon() { b.probing = false }

// Succeed notes that a request was answered. While the breaker is open that is
// an older one, which a replica that fails now and then answers too.
func (b *Breaker) Succeed(now time.Time) {
	switch b.State(now) {
	case Open:
		return
	case HalfOpen:
		*b = Breaker{}
	default:
	}
	b.failures = 0
	b.note(0)
}

// Fail notes that the replica failed. jitter, 0 to 1, spreads the moments at
// which several that failed together are tried again.
func (b *Breaker) Fail(now time.Time, jitter float64) {
	b.failures++
	b.note(1)
	if !b.until.IsZero() && !b.probing {
		return // an older request; the one that finds out is to come
	}
	if b.until.IsZero() && b.failures < maxFailures && !b.mostlyFails() {
		return
	}
	b.probing = false
	b.pause = min(max(2*b.pause, firstPause), maxPause)
	b.until = now.Add(time.Duration(float64(b.pause) * (0.8 + 0.4*jitter)))
}

func (b *Breaker) note(failed uint32) {
	b.recent = (b.recent<<1 | failed) & (1<<window - 1)
	b.count = min(b.count+1, window)
}

func (b *Breaker) mostlyFails() bool {
	failed := 0
	for bits := b.recent; bits != 0; bits &= bits - 1 {
		failed++
	}
	return b.count >= minWindow && 2*failed >= b.count
}
