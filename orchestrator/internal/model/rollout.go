package model

import (
	"slices"
	"time"
)

// rollOut replaces the replicas of an older spec one at a time. Where there is
// room, another one is ready before one that serves is stopped; otherwise the
// one makes room for the other. As long as the new one does not serve, the
// others of the older spec go on. It answers whether it changed something.
func (m *Manager) rollOut(d *deployment, want int, steady, unplaced []*replica, now time.Time, wake *wakeup) bool {
	var old *replica
	for _, r := range steady {
		switch {
		case r.Outdated:
			if old == nil || worse(r, old) {
				old = r
			}
		case r.State != Ready:
			return false
		}
	}
	stopping := slices.ContainsFunc(d.replicas, func(r *replica) bool { return r.Remove })
	if old == nil || d.Deleting || stopping || len(unplaced) > 0 {
		return false
	}
	if old.State == Ready && len(steady) <= want {
		r, fits := m.newReplica(d), m.suit(d)
		if placed, _, trouble := m.place(d, r, &fits, wake); placed {
			m.enter(d, r)
			return true
		} else if trouble != "" {
			return false // the store fails, and there is an old one to lose
		}
	}
	return m.remove(d, old, now)
}

// surplus is 1 while a replica of the new spec is brought about beside all those
// that it does not replace yet.
func surplus(want int, steady, unplaced []*replica) int {
	if len(steady)+len(unplaced) <= want {
		return 0
	}
	serving := slices.ContainsFunc(steady, func(r *replica) bool { return r.Outdated && r.State == Ready })
	coming := func(r *replica) bool { return !r.Outdated && r.State != Ready }
	if serving && (slices.ContainsFunc(steady, coming) || slices.ContainsFunc(unplaced, coming)) {
		return 1
	}
	return 0
}
