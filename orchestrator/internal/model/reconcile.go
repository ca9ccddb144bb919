package model

import (
	"slices"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/node"
)

// reconcile does what is to be done now and answers when there is more to do;
// zero: when something happens.
func (m *Manager) reconcile(now time.Time) (next time.Time) {
	wake := wakeup{}
	search := now.Sub(m.scanned) >= scanPause
	if search {
		m.rescan = false
	}
	ordered := m.ordered()
	m.scale(ordered, now, &wake)
	for _, d := range ordered {
		m.reconcileOne(d, now, search, &wake)
	}
	if search {
		m.scanned = now
	} else if m.rescan || wake.unplaced {
		wake.at(m.scanned.Add(scanPause))
	}
	if m.unremoved {
		m.unremoved = false
		wake.at(now.Add(storeRetry))
	}
	if grace := m.startedAt.Add(m.cfg.StartGrace); now.Before(grace) && len(m.replicas) > 0 {
		wake.at(grace)
	}
	return wake.next
}

// wakeup collects when there is more to do.
type wakeup struct {
	next     time.Time
	unplaced bool // something is to be placed that was not tried
}

func (w *wakeup) at(t time.Time) {
	if w.next.IsZero() || t.Before(w.next) {
		w.next = t
	}
}

// reconcileOne brings one deployment's replicas to their wanted number.
func (m *Manager) reconcileOne(d *deployment, now time.Time, search bool, wake *wakeup) {
	m.finish(d, now, wake)
	m.clearStopped(d, now, wake)
	m.retryFailed(d, now, wake)

	steady, displaced, unplaced := m.sort(d, now)
	want := m.wanted(d, steady)
	if m.rollOut(d, want, steady, unplaced, now, wake) {
		steady, displaced, unplaced = m.sort(d, now)
	}
	goal := want + surplus(want, steady, unplaced)
	m.shrink(d, goal, steady, displaced, unplaced)
	m.finish(d, now, wake)
	m.clearStopped(d, now, wake)

	steady, displaced, unplaced = m.sort(d, now)
	switch {
	case d.Spec.Everywhere && !d.Deleting:
		m.spread(d, steady, displaced, unplaced, search, wake)
	case len(steady) < goal:
		m.grow(d, goal, steady, displaced, unplaced, search, wake)
	}
	if d.Deleting && len(d.replicas) == 0 {
		m.finishDelete(d, now, wake)
	}
}

// wanted is how many replicas there should be now.
func (m *Manager) wanted(d *deployment, steady []*replica) int {
	want := d.Spec.Replicas
	switch {
	case d.Deleting:
		want = 0
	case d.Spec.Scales():
		want = d.scaling.want
	case d.Spec.Everywhere:
		want = max(len(steady), 1)
	}
	d.setWant(want)
	return want
}

func (d *deployment) setWant(want int) {
	if want != d.want {
		d.want = want
		d.touch()
	}
}

// sort parts the wanted replicas into those on nodes that are there to stay,
// those on nodes that are gone, draining or not theirs any more, and those
// without a node.
func (m *Manager) sort(d *deployment, now time.Time) (steady, displaced, unplaced []*replica) {
	for _, r := range d.replicas {
		switch {
		case r.Remove:
		case r.NodeID == "":
			unplaced = append(unplaced, r)
		case d.mayRunOn(r.NodeID) && m.isSteady(r.NodeID, now):
			steady = append(steady, r)
		default:
			displaced = append(displaced, r)
		}
	}
	return steady, displaced, unplaced
}

func (m *Manager) isSteady(nodeID string, now time.Time) bool {
	n, there := m.cfg.Cluster.Node(nodeID)
	if !there {
		return m.isExpected(nodeID, now)
	}
	return n.State == node.Online && n.Drain == nil
}

// isExpected says whether a node that is not there is only late after our own
// restart, or silent while nothing is to be replaced.
func (m *Manager) isExpected(nodeID string, now time.Time) bool {
	return m.paused || !m.seen[nodeID] && now.Before(m.startedAt.Add(m.cfg.StartGrace))
}

// clearStopped forgets replicas that are to go away and whose nodes need not be
// waited for.
func (m *Manager) clearStopped(d *deployment, now time.Time, wake *wakeup) {
	for _, r := range slices.Clone(d.replicas) {
		if !r.Remove {
			continue
		}
		_, there := m.cfg.Cluster.Node(r.NodeID)
		switch {
		case !there && !m.isExpected(r.NodeID, now):
			m.forget(r, "its node is gone")
		case !now.Before(r.stopBy):
			m.forget(r, "its node did not say in time that it is gone")
		default:
			wake.at(r.stopBy)
			continue
		}
		if m.replicas[r.ID] == r { // the store failed
			wake.at(now.Add(storeRetry))
		}
	}
}

// retryFailed replaces failed replicas whose time has come.
func (m *Manager) retryFailed(d *deployment, now time.Time, wake *wakeup) {
	if d.Deleting {
		return
	}
	for _, r := range slices.Clone(d.replicas) {
		if r.Remove || r.State != Failed {
			continue
		}
		if now.Before(r.retryAt) {
			wake.at(r.retryAt)
			continue
		}
		if !m.remove(d, r, now) {
			continue
		}
		next := m.add(d)
		next.failures, next.failure, next.avoid = r.failures, r.failure, r.NodeID
		next.Reason = "tried again after: " + r.failure
	}
}

// shrink removes what is too much: first what has no node, then what serves
// least. Replicas on nodes that are gone or draining are kept until others
// serve in their place, in case that their nodes are back before.
func (m *Manager) shrink(d *deployment, want int, steady, displaced, unplaced []*replica) {
	ready := 0
	for _, r := range steady {
		if r.State == Ready {
			ready++
		}
	}
	m.removeBeyond(d, steady, want)
	m.removeBeyond(d, displaced, want-ready)
	m.removeBeyond(d, unplaced, want-len(steady))
}

// removeBeyond removes the worst of some replicas until so many are left.
func (m *Manager) removeBeyond(d *deployment, replicas []*replica, allowed int) {
	live := slices.DeleteFunc(slices.Clone(replicas), func(r *replica) bool { return r.Remove })
	slices.SortFunc(live, func(a, b *replica) int {
		if worse(a, b) {
			return -1
		}
		return 1
	})
	for _, r := range live[:max(0, len(live)-max(allowed, 0))] {
		m.remove(d, r, time.Now())
	}
}

// worse says whether a rather than b is given up: what does not serve, then
// what is of an older spec, then the newest.
func worse(a, b *replica) bool {
	if (a.State == Ready) != (b.State == Ready) {
		return b.State == Ready
	}
	if a.Outdated != b.Outdated {
		return a.Outdated
	}
	if (a.State == Failed) != (b.State == Failed) {
		return a.State == Failed
	}
	return a.number > b.number
}

// grow places replicas until enough are on nodes that are there to stay. Of
// those that find no place as many are kept, waiting, as are missing even with
// the replicas on other nodes.
func (m *Manager) grow(d *deployment, want int, steady, displaced, unplaced []*replica, search bool, wake *wakeup) {
	missing := want - len(steady)
	if !search && len(unplaced) >= missing-len(displaced) {
		wake.unplaced = true
		return
	}
	placed, reason := m.fill(d, missing, unplaced, wake)
	if placed < missing {
		if waitsFor := m.makeRoom(d, time.Now(), wake); waitsFor != "" {
			reason = func() string { return waitsFor }
		}
	}
	m.keepWaiting(d, missing-placed-len(displaced), reason)
}

// spread places a replica on each node that fits and has none. Only when there is
// none at all, one waits.
func (m *Manager) spread(d *deployment, steady, displaced, unplaced []*replica, search bool, wake *wakeup) {
	if d.filled && !search {
		return
	}
	if !search {
		wake.unplaced = true
		return
	}
	d.filled = true
	placed, reason := m.fill(d, MaxEverywhere-len(steady), unplaced, wake)
	waiting := 1 - len(steady) - len(displaced) - placed
	m.keepWaiting(d, waiting, reason)
	d.setWant(max(len(steady)+placed, 1))
}

// fill places so many replicas, those that wait first, as long as there is room.
// It answers how many it placed, and why it is not all.
func (m *Manager) fill(d *deployment, missing int, unplaced []*replica, wake *wakeup) (placed int, why func() string) {
	fits := m.suit(d)
	for ; placed < missing; placed++ {
		var r *replica
		fresh := placed >= len(unplaced)
		if fresh {
			r = m.newReplica(d)
		} else {
			r = unplaced[placed]
		}
		ok, avoid, trouble := m.place(d, r, &fits, wake)
		if !ok {
			return placed, func() string {
				if trouble != "" {
					return trouble
				}
				return m.whyNowhere(d, avoid)
			}
		}
		if fresh {
			m.enter(d, r)
		}
	}
	return placed, func() string { return "" }
}

// keepWaiting has so many replicas without a node wait for one.
func (m *Manager) keepWaiting(d *deployment, count int, why func() string) {
	waiting := slices.DeleteFunc(slices.Clone(d.replicas), func(r *replica) bool { return r.Remove || r.NodeID != "" })
	for _, r := range waiting[min(max(count, 0), len(waiting)):] {
		m.discard(d, r)
	}
	if count <= 0 {
		return
	}
	waiting = waiting[:min(count, len(waiting))]
	for len(waiting) < count {
		waiting = append(waiting, m.add(d))
	}
	reason := why()
	for _, r := range waiting {
		m.wait(d, r, reason)
	}
}
