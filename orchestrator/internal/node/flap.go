package node

import (
	"fmt"
	"time"
)

// A node that went silent flapCount times within flapWindow gets no new work
// for a while after it came back: firstCoolDown, and twice as long as the last
// time while it goes on. Leaving on purpose, maintenance and outages do not
// count. None of it is stored.
const (
	flapCount     = 3
	flapWindow    = 10 * time.Minute
	firstCoolDown = 2 * time.Minute
	maxCoolDown   = 30 * time.Minute
)

// CoolDown keeps a node that comes and goes from getting new work. Values are
// shared and never changed.
type CoolDown struct{ Until time.Time }

// Reason says for people why there is a cool-down.
func (*CoolDown) Reason() string {
	return fmt.Sprintf("it went offline %d times within %d minutes", flapCount, int(flapWindow.Minutes()))
}

// flaps is what is known of a node that went silent.
type flaps struct {
	// silent is when it went silent the last flapCount times, oldest first.
	silent []time.Time
	// last is how long the last cool-down was, until when it ended; zero: there
	// was none.
	last  time.Duration
	until time.Time
}

// countFlap takes note that a node went silent.
func (e *entry) countFlap(now time.Time) {
	if e.flaps == nil {
		e.flaps = &flaps{}
	}
	f := e.flaps
	if len(f.silent) == flapCount {
		f.silent = append(f.silent[:0], f.silent[1:]...)
	}
	f.silent = append(f.silent, now)
}

// excuseFlap takes the last note back: it was not the node.
func (e *entry) excuseFlap() {
	if f := e.flaps; f != nil && len(f.silent) > 0 {
		f.silent = f.silent[:len(f.silent)-1]
	}
}

// coolDownLocked begins a cool-down for a node that comes back too often.
func (r *Registry) coolDownLocked(e *entry, n *Node, now time.Time) (begun bool) {
	f := e.flaps
	if f == nil || len(f.silent) < flapCount || now.Sub(f.silent[0]) > flapWindow {
		return false
	}
	switch {
	case f.last == 0 || now.Sub(f.until) > flapWindow:
		f.last = firstCoolDown
	default:
		f.last = min(2*f.last, maxCoolDown)
	}
	f.until = now.Add(f.last)
	n.CoolDown = &CoolDown{Until: f.until}
	r.cooling[e] = struct{}{}
	notify(r.wake)
	return true
}

// endCoolDownsLocked ends the cool-downs that are over, and answers when the
// next will be; zero: there is none.
func (r *Registry) endCoolDownsLocked(now time.Time) (next time.Time) {
	for e := range r.cooling {
		c := e.node.CoolDown
		switch {
		case c == nil || r.entries[e.node.ID] != e:
			delete(r.cooling, e)
		case now.Before(c.Until):
			if next.IsZero() || c.Until.Before(next) {
				next = c.Until
			}
		default:
			delete(r.cooling, e)
			prev, warm := e.latest(), *e.latest()
			warm.CoolDown = nil
			e.node = &warm
			r.changeLocked(prev, &warm)
		}
	}
	return next
}
