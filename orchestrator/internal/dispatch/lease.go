package dispatch

import "time"

// leases orders attempts by when their leases run out. Every lease is granted
// for the same time, so that one just granted is always the last to run out:
// a list does, renewing is O(1), and finding those that ran out is O(those).
type leases struct {
	first, last *attempt
}

// grant gives an attempt a lease until a deadline that is not before any other.
func (l *leases) grant(a *attempt, deadline time.Time) {
	l.end(a)
	a.deadline = deadline
	a.leased = true
	a.before = l.last
	if l.last != nil {
		l.last.after = a
	} else {
		l.first = a
	}
	l.last = a
}

// end takes an attempt's lease away, if it has one.
func (l *leases) end(a *attempt) {
	if !a.leased {
		return
	}
	if a.before != nil {
		a.before.after = a.after
	} else {
		l.first = a.after
	}
	if a.after != nil {
		a.after.before = a.before
	} else {
		l.last = a.before
	}
	a.before, a.after, a.leased = nil, nil, false
}

// expired takes away and answers one lease that has run out; nil: none has.
func (l *leases) expired(now time.Time) *attempt {
	a := l.first
	if a == nil || a.deadline.After(now) {
		return nil
	}
	l.end(a)
	return a
}
