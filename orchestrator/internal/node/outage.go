package node

import (
	"fmt"
	"time"
)

// An outage is when so many nodes go silent together that the network, or this
// machine, is more likely to blame than they. It is recognised when, within
// outageWindow, at least minOutage nodes and more than half of those that were
// active went silent. Nodes that left on purpose and those in maintenance do
// not count.
const (
	outageWindow = time.Minute
	minOutage    = 2
	// outagePause lies between two looks on behalf of leases that ran out.
	outagePause = 20 * time.Millisecond
)

// Outage is what those who would replace lost work are told. Values are shared
// and never changed.
type Outage struct {
	Since time.Time
	// Until is when it is taken to be over at the latest.
	Until time.Time
	// Silent is how many nodes went silent with it and are not back, Went how
	// many there were at most, Of how many had been active when it began.
	Silent, Went, Of int
	// Ended says how it ended; empty: it goes on.
	Ended OutageEnd
}

// Reason says for people why rescheduling is paused.
func (o *Outage) Reason() string {
	return fmt.Sprintf("%d of %d nodes went silent within a minute, which looks like a fault of the network", o.Went, o.Of)
}

// OutageEnd is how an outage ended. The zero value: it goes on.
type OutageEnd string

// The ends.
const (
	// OutageOver: at least half of the nodes that went silent are back.
	OutageOver OutageEnd = "at least half of the nodes are back"
	// OutageResumed: a person said so.
	OutageResumed OutageEnd = "a person had it resumed"
	// OutageExpired: it went on for longer than Config.PauseLimit.
	OutageExpired OutageEnd = "the limit of the pause has passed"
)

// silence is when a node went silent.
type silence struct {
	at time.Time
	e  *entry
}

// outages is what the registry knows of outages; guarded by Registry.mu.
type outages struct {
	// recent are the silences of the last outageWindow, oldest first.
	recent []silence
	// current is the outage that goes on; nil: none. gone are the nodes that
	// went silent with it and are not back.
	current *Outage
	gone    map[*entry]struct{}
	changed bool      // current is to be told of
	looked  time.Time // last on behalf of a lease
}

// Outage answers the outage that goes on; nil: there is none.
func (r *Registry) Outage() *Outage {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.outages.current
}

// ResumeOutage ends the outage that goes on, if there is one.
func (r *Registry) ResumeOutage() {
	r.mu.Lock()
	r.endOutageLocked(OutageResumed)
	r.mu.Unlock()
	r.deliver()
}

// Spares says whether a lease of a node that has run out is to be kept: there
// is an outage and the node is silent. It is asked whenever a lease has run
// out, so that an outage is seen before work is lost even where nodes may be
// silent for longer than leases last. It does not block.
func (r *Registry) Spares(nodeID string) bool {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.outages.current == nil && now.Sub(r.outages.looked) >= outagePause {
		r.outages.looked = now
		r.findOutageLocked(now)
	}
	if r.outages.current == nil {
		return false
	}
	e := r.entries[nodeID]
	if e == nil || !e.node.State.Active() {
		return true
	}
	if !r.overdue(e, now) {
		return false
	}
	r.joinOutageLocked(e)
	return true
}

// overdue says whether an active node has been silent for longer than is taken
// for silence when leases run out.
func (r *Registry) overdue(e *entry, now time.Time) bool {
	return now.Sub(e.seen()) >= r.cfg.SilentAfter
}

// wentSilentLocked takes note of a node that has just been taken offline
// because it was silent.
func (r *Registry) wentSilentLocked(e *entry, now time.Time) {
	switch {
	case e.node.inMaintenance():
	case r.outages.current != nil:
		r.joinOutageLocked(e)
	default:
		e.countFlap(now)
		if r.cfg.PauseLimit >= 0 {
			r.outages.recent = append(r.outages.recent, silence{now, e})
		}
	}
}

// findOutageLocked begins an outage when there is one.
func (r *Registry) findOutageLocked(now time.Time) {
	if r.outages.current != nil || r.cfg.PauseLimit < 0 {
		return
	}
	gone := r.silentLocked(now)
	if len(gone) < minOutage {
		return
	}
	of := len(gone)
	for e := r.active.front; e != nil; e = e.next {
		if _, silent := gone[e]; !silent && !e.node.inMaintenance() {
			of++
		}
	}
	if 2*len(gone) <= of {
		return
	}
	for e := range gone {
		if !e.node.State.Active() {
			e.excuseFlap()
		}
	}
	r.outages.gone = gone
	r.setOutageLocked(Outage{
		Since: now, Until: now.Add(r.cfg.PauseLimit), Silent: len(gone), Went: len(gone), Of: of,
	})
}

// silentLocked answers the nodes that went silent within the window and are
// not back, and those that are about to be.
func (r *Registry) silentLocked(now time.Time) map[*entry]struct{} {
	old := 0
	for old < len(r.outages.recent) && now.Sub(r.outages.recent[old].at) >= outageWindow {
		old++
	}
	r.outages.recent = append(r.outages.recent[:0:0], r.outages.recent[old:]...)
	gone := make(map[*entry]struct{}, len(r.outages.recent))
	for _, s := range r.outages.recent {
		if n := s.e.node; n.State == Offline && !n.inMaintenance() && r.entries[n.ID] == s.e {
			gone[s.e] = struct{}{}
		}
	}
	for e := r.active.front; e != nil && r.overdue(e, now); e = e.next {
		// Those whose time is up are taken offline any moment now, however long
		// they have been silent: after this machine slept that is all of them.
		recent := now.Sub(e.seen()) < r.cfg.SilentAfter+outageWindow || !e.deadline.After(now)
		if recent && !e.node.inMaintenance() {
			gone[e] = struct{}{}
		}
	}
	return gone
}

// joinOutageLocked counts a node that went silent while an outage goes on.
func (r *Registry) joinOutageLocked(e *entry) {
	if _, counted := r.outages.gone[e]; counted || e.node.inMaintenance() {
		return
	}
	r.outages.gone[e] = struct{}{}
	next := *r.outages.current
	next.Went++
	next.Of = max(next.Of, next.Went)
	r.countOutageLocked(next)
}

// backLocked takes note of a node that is heard of again.
func (r *Registry) backLocked(e *entry) {
	if r.outages.current == nil {
		return
	}
	if _, gone := r.outages.gone[e]; gone {
		delete(r.outages.gone, e)
		r.countOutageLocked(*r.outages.current)
	}
}

// excuseLocked has a node count no more: it is not expected to be there.
func (r *Registry) excuseLocked(e *entry) {
	if r.outages.current == nil {
		return
	}
	if _, gone := r.outages.gone[e]; gone {
		delete(r.outages.gone, e)
		next := *r.outages.current
		next.Went--
		r.countOutageLocked(next)
	}
}

// countOutageLocked makes next the outage with the nodes counted anew, and ends
// it when at least half of them are back.
func (r *Registry) countOutageLocked(next Outage) {
	next.Silent = len(r.outages.gone)
	r.setOutageLocked(next)
	if 2*next.Silent <= next.Went {
		r.endOutageLocked(OutageOver)
	}
}

func (r *Registry) endOutageLocked(end OutageEnd) {
	if r.outages.current == nil {
		return
	}
	over := *r.outages.current
	over.Ended = end
	r.outages = outages{}
	r.changes = append(r.changes, change{ended: &over})
	notify(r.wake)
}

// setOutageLocked replaces the outage that goes on. The reaper tells of it, and
// minds when it is to end.
func (r *Registry) setOutageLocked(next Outage) {
	r.outages.current = &next
	r.outages.changed = true
	notify(r.wake)
}

// expireOutageLocked ends an outage that goes on for too long, and answers when
// that would be; false: there is none.
func (r *Registry) expireOutageLocked(now time.Time) (until time.Time, some bool) {
	if r.outages.current == nil {
		return time.Time{}, false
	}
	if !now.Before(r.outages.current.Until) {
		r.endOutageLocked(OutageExpired)
		return time.Time{}, false
	}
	return r.outages.current.Until, true
}

// tellOutage logs an outage that began or ended and tells OnOutage.
func (r *Registry) tellOutage(o *Outage) {
	switch {
	case o.Ended != "":
		r.cfg.Logger.Warn("rescheduling goes on", "why", string(o.Ended), "still_silent", o.Silent,
			"paused_for", time.Since(o.Since).Round(time.Millisecond))
	case !r.told:
		r.cfg.Logger.Error("rescheduling is paused", "why", o.Reason(), "silent", o.Silent, "active_before", o.Of,
			"until", o.Until.UTC().Format(time.RFC3339), "resume_with", "orchion cluster resume")
	}
	r.told = o.Ended == ""
	r.cfg.OnOutage(o)
}

// inMaintenance says whether a node is expected to go away.
func (n *Node) inMaintenance() bool { return n.Drain != nil && n.Drain.Maintenance }
