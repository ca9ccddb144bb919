package worker

import (
	"errors"
	"time"
)

// A container engine keeps the newest part of a log only, and one that is followed by a
// reader slower than the container passes over what it threw away without a word. That
// takes a whole file of the log written between two entries: so their times are as far
// apart as writing that takes, and the reader was behind. Both together are rare otherwise,
// and then the log is read again from what is its beginning by now, where the reader finds
// the last entry it knows, or knows that it is gone.

const (
	// engineSpeed is more than an engine writes of a log in a second, in bytes.
	engineSpeed = 256 << 20
	// minLag is how far a reader is behind at least that may be overtaken.
	minLag = 250 * time.Millisecond
	// maxLeap bounds it for jobs that print little, and how far false alarms raise it.
	maxLeap = time.Minute
	// logFiles is into how many files an engine parts what it keeps of a log, at most.
	logFiles = 4
	// lineOverhead is what an engine writes of a line beside its text, about.
	lineOverhead = 64
	// maxDisorder is how far the times of entries go back without anything being wrong:
	// the two streams are read apart.
	maxDisorder = 50 * time.Millisecond
	// burst is over how much output it is measured how fast a job prints, and quicker is
	// how much faster than that it may yet become.
	burst   = 256 << 10
	quicker = 4
)

// errOvertaken says that the engine may have passed over a part of a log.
var errOvertaken = errors.New("the container may have written faster than its log was read")

// pace watches how far behind the reader of a log is. It is for one goroutine.
type pace struct {
	patience time.Duration // the least leap, as false alarms raised it
	fastest  float64       // bytes in a second that the job has printed
	// from and to are the entries around the last leap.
	from, to time.Time
}

// reading is one reading of the log.
type reading struct {
	*pace
	follow bool
	file   float64 // bytes in a file of the log
	opened time.Time
	last   time.Time     // of the last entry; zero: there was none
	lag    time.Duration // how old it was when it was read
	ahead  time.Duration // how far the engine's clock is before ours, at least
	since  time.Time     // from when on it is measured how fast the job prints
	bytes  int
}

// begin begins to read the log, of which the engine keeps so many bytes, from its
// beginning. What is in the log by then is read without a gap.
func (p *pace) begin(now time.Time, follow bool, kept int64) *reading {
	file := float64(kept) / logFiles
	p.patience = max(p.patience, time.Duration(file/engineSpeed*float64(time.Second)))
	return &reading{pace: p, follow: follow, file: file, opened: now}
}

// overtaken takes the next entry in and says whether something may be missing before it.
func (r *reading) overtaken(at, now time.Time, size int) bool {
	last, lag := r.last, r.lag
	// Docker 20.10 may give a file of a log that is followed once more when it begins the
	// next one: lines of earlier.
	if r.follow && at.Before(last.Add(-maxDisorder)) {
		return true
	}
	r.last, r.lag = at, now.Sub(at)
	r.ahead = max(r.ahead, -r.lag)
	if !r.follow || at.IsZero() || last.IsZero() {
		r.since = at
		return false
	}
	leap := r.leap()
	r.measure(at, size)
	if last.Equal(r.from) && at.Equal(r.to) {
		r.patience = min(2*r.patience, maxLeap) // nothing was missing there
		return false
	}
	if !at.After(r.opened.Add(r.ahead)) || at.Sub(last) < leap || lag+r.ahead < minLag {
		return false
	}
	r.from, r.to = last, at
	return true
}

// leap is how long an engine needs at least to write a file of this log.
func (r *reading) leap() time.Duration {
	least := float64(maxLeap)
	if r.fastest > 0 {
		least = min(least, r.file/(quicker*r.fastest)*float64(time.Second))
	}
	return max(r.patience, time.Duration(least))
}

// measure learns how fast the job prints.
func (r *reading) measure(at time.Time, size int) {
	r.bytes += size + lineOverhead
	if r.bytes < burst {
		return
	}
	took := max(at.Sub(r.since), time.Millisecond)
	r.fastest = max(r.fastest, float64(r.bytes)/took.Seconds())
	r.since, r.bytes = at, 0
}
