package worker

import (
	"errors"
	"time"
)

// A container engine keeps the newest part of a log only, and one that is followed by a
// reader slower than the container passes over what it threw away without a word. That
// takes a whole file of the log (64 MB on Docker) written between two entries: so their
// times are apart, and the reader was behind. Both together are rare otherwise, and then
// the log is read again from what is its beginning by now, where the reader finds the
// last entry it knows, or knows that it is gone.

const (
	// minLeap is the least time between two entries that have a file between them:
	// engines write less than 64 MB in it.
	minLeap = 250 * time.Millisecond
	// maxLeap bounds how far false alarms raise it.
	maxLeap = time.Minute
)

// errOvertaken says that the engine may have passed over a part of a log.
var errOvertaken = errors.New("the container may have written faster than its log was read")

// pace watches how far behind the reader of a log is. It is for one goroutine.
type pace struct {
	leap time.Duration // as minLeap, raised by false alarms
	// from and to are the entries around the last leap.
	from, to time.Time
}

// reading is one reading of the log.
type reading struct {
	*pace
	follow bool
	opened time.Time
	last   time.Time     // of the last entry; zero: there was none
	lag    time.Duration // how old it was when it was read
	ahead  time.Duration // how far the engine's clock is before ours, at least
}

// begin begins to read the log from its beginning. What is in the log by then is read
// without a gap.
func (p *pace) begin(now time.Time, follow bool) *reading {
	p.leap = max(p.leap, minLeap)
	return &reading{pace: p, follow: follow, opened: now}
}

// overtaken takes the next entry in and says whether something may be missing before it.
func (r *reading) overtaken(at, now time.Time) bool {
	last, lag := r.last, r.lag
	r.last, r.lag = at, now.Sub(at)
	r.ahead = max(r.ahead, -r.lag)
	if !r.follow || at.IsZero() || last.IsZero() {
		return false
	}
	if last.Equal(r.from) && at.Equal(r.to) {
		r.leap = min(2*r.leap, maxLeap) // nothing was missing there
		return false
	}
	if !at.After(r.opened.Add(r.ahead)) || at.Sub(last) < r.leap || lag+r.ahead < r.leap {
		return false
	}
	r.from, r.to = last, at
	return true
}
