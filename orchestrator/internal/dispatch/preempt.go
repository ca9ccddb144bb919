package dispatch

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/scheduler"
)

const (
	// maxVictims is about how many attempts are thought of at once, of so many
	// that are looked at.
	maxVictims, maxOffers = 1024, 4096
	// maxContenders is how many buckets of a lane are looked at each time, and
	// laneContenders for how many of them attempts are thought of.
	maxContenders, laneContenders = 4096, 4
	// reliefRetry lies between two looks for the same bucket, and reliefGrace is
	// how long a job has to be found not to fit where room was made for it.
	reliefRetry, reliefGrace = 10 * time.Second, 10 * time.Second
)

// byWorth orders attempts that may be stopped for others: the lower priority
// first, then the younger.
type byWorth struct{}

func (byWorth) before(a, b *attempt) bool {
	if p, q := a.job.Spec.Priority, b.job.Spec.Priority; p != q {
		return p < q
	}
	if younger := b.assignedAt().Compare(a.assignedAt()); younger != 0 {
		return younger < 0
	}
	return a.ref.JobID < b.ref.JobID
}

func (byWorth) moved(a *attempt, place int) { a.worth = place }

func (a *attempt) assignedAt() time.Time {
	current, _ := a.job.Current()
	return current.AssignedAt
}

// offer has an attempt stopped for others if need be and its job says that it
// may; withdraw ends that.
func (d *Dispatcher) offer(a *attempt) {
	a.worth = -1
	if a.job.Spec.Preemptible {
		a.lane.preemptible.push(a)
		d.preemptible++
	}
}

func (d *Dispatcher) withdraw(a *attempt) {
	if a.worth >= 0 {
		a.lane.preemptible.remove(a.worth)
		d.preemptible--
	}
}

// ending says whether an attempt is to end, or has and the store is being told.
func (a *attempt) ending() bool {
	return a.stopping() || a.evict != "" || a.lost != "" || a.status != nil && a.status.State.Ended()
}

// victims are attempts that may be stopped for the first job of a bucket: those
// of its queue that say so, of a lower priority. Of many, all on the nodes of
// those that are worth least, from a place in that order on; more is where to
// go on, 0: there are no more.
func (d *Dispatcher) victims(b *bucket) (list []scheduler.Victim, more int) {
	l, priority := b.lane, int(b.ready[0].priority)
	seen := make(map[string]bool)
	for i := b.look; i < len(l.preemptible); i++ {
		if i-b.look == maxOffers {
			return list, i
		}
		a := l.preemptible[i]
		if a.job.Spec.Priority >= priority || seen[a.nodeID] {
			continue
		}
		if len(list) >= maxVictims {
			return list, i
		}
		seen[a.nodeID] = true
		for _, other := range d.byNode[a.nodeID] {
			if other.lane != l || other.worth < 0 || other.job.Spec.Priority >= priority {
				continue
			}
			list = append(list, scheduler.Victim{
				NodeID: a.nodeID, Holder: holder(other.ref.JobID), Priority: other.job.Spec.Priority,
				Since: other.assignedAt(), Ending: other.ending(),
			})
		}
	}
	return list, 0
}

// preempt makes room for jobs that find none, where others may be stopped for
// them.
func (d *Dispatcher) preempt(now time.Time) {
	if d.preemptible == 0 {
		return
	}
	searches := 0
	for _, l := range d.queue.lanes {
		for _, b := range l.contenders(now) {
			if searches++; searches > keepSearches {
				return
			}
			d.makeRoom(b, now)
		}
	}
}

// contenders are the buckets whose first jobs find no room and have a higher
// priority than something that may be stopped, those that go first. Of very many
// buckets it looks at the next ones each time.
func (l *lane) contenders(now time.Time) []*bucket {
	if len(l.preemptible) == 0 || l.queued == 0 || !l.takes() {
		return nil
	}
	lowest := int32(l.preemptible[0].job.Spec.Priority)
	var list []*bucket
	if l.contended >= len(l.buckets) {
		l.contended = 0
	}
	from := l.contended
	l.contended = min(from+maxContenders, len(l.buckets))
	for _, b := range l.buckets[from:l.contended] {
		switch {
		case len(b.ready) == 0 || b.class.hope != blocked || b.class.invalid != "" || b.ready[0].priority <= lowest:
		case b.class.keep != nil && b.class.keep.freeing != nil, now.UnixNano() < b.relieveAfter:
		default:
			list = append(list, b)
		}
	}
	slices.SortFunc(list, func(a, b *bucket) int {
		if a.ready[0].before(b.ready[0]) {
			return -1
		}
		return 1
	})
	return list[:min(len(list), laneContenders)]
}

// relief is what would have to be stopped for a job; nil: that makes no room.
func (d *Dispatcher) relief(e *entry, victims []scheduler.Victim) *scheduler.Relief {
	return d.cfg.Cluster.Relieve(d.queue.heed(e.bucket.class.work, e), victims)
}

// makeRoom has attempts stopped for the first job of a bucket, and keeps what
// becomes free for it.
func (d *Dispatcher) makeRoom(b *bucket, now time.Time) {
	e, c := b.ready[0], b.class
	freeing := 0
	for _, k := range d.queue.keeps {
		if k.freeing != nil {
			freeing++
		}
	}
	victims, more := d.victims(b)
	r := d.relief(e, victims)
	if r == nil || freeing >= maxKeeps {
		if b.look = more; more == 0 {
			b.relieveAfter = now.Add(reliefRetry).UnixNano()
		}
		return
	}
	b.look = 0
	if c.keep != nil {
		d.stopKeeping(c.keep)
	}
	room := d.cfg.Cluster.KeepFreed(c.work, e.id, r.NodeID)
	if room == nil {
		return
	}
	for _, other := range slices.Clone(d.queue.keeps) {
		if other.room.NodeID == r.NodeID { // this one goes before it
			d.queue.unkeep(other)
			d.queue.starve(other.bucket, now)
		}
	}
	k := d.queue.keep(b, room, now)
	k.freeing = []job.Ref{}
	for _, v := range append(r.End, slices.DeleteFunc(victims, func(v scheduler.Victim) bool { return !v.Ending || v.NodeID != r.NodeID })...) {
		a := d.active[jobOf(v.Holder)]
		k.freeing = append(k.freeing, a.ref)
		d.evict(a, k.whyEvicted())
	}
	d.cfg.Logger.Info("room is made for a job", "job", e.id, "node", r.NodeID, "stopped", len(k.freeing))
}

func (k *keep) whyEvicted() string {
	return fmt.Sprintf("makes room for job %s, which has a higher priority", k.room.JobID)
}

// checkFreeing sees that what is to be stopped is, and gives up when the job
// does not fit even so: something else took the room, or the node changed. It
// waits for the node to say what is used there now.
func (d *Dispatcher) checkFreeing(k *keep, now time.Time) {
	for _, ref := range k.freeing {
		a := d.active[ref.JobID]
		if a == nil || a.ref != ref {
			continue
		}
		k.checked = now
		if !a.ending() { // somebody took back that its node is drained
			d.evict(a, k.whyEvicted())
		}
	}
	if now.Sub(k.checked) >= reliefGrace && d.heardSince(k.room.NodeID, k.checked.Add(keepEvery)) {
		d.stopKeeping(k)
		k.bucket.relieveAfter = now.Add(d.cfg.ReserveAfter).UnixNano()
		d.queue.starve(k.bucket, now)
	}
}

// heardSince says whether a node has told after a time what is used there.
func (d *Dispatcher) heardSince(nodeID string, t time.Time) bool {
	n, there := d.cfg.Cluster.Node(nodeID)
	return !there || n.LastSeenAt.After(t)
}

// serveFreed places the jobs for which room was made, before anybody else is
// asked.
func (d *Dispatcher) serveFreed(now time.Time) {
	for _, k := range slices.Clone(d.queue.keeps) {
		if _, changed := d.dirty[k.room.NodeID]; k.freeing == nil || !changed {
			continue
		}
		e := k.head()
		if e == nil || !k.bucket.lane.takes() || d.claims >= d.cfg.MaxClaims {
			continue
		}
		work := d.queue.heed(k.bucket.class.work, e)
		if nodeID, ok := d.cfg.Cluster.PlaceOn(work, holder(e.id), []string{k.room.NodeID}); ok {
			if e.arrival() == nil { // see arrived
				d.fed(k.bucket)
			}
			d.queue.take(e)
			d.claim(e, nodeID, now)
		}
	}
}

// whatStops says what is stopped for a job that finds no room, or is to be, or
// that stopping what may be would not make room; both empty: nothing may be.
func (d *Dispatcher) whatStops(e *entry) (making, inVain string) {
	c := e.bucket.class
	if k := c.keep; k != nil && k.freeing != nil && k.head() == e {
		ids := make([]string, 0, len(k.freeing))
		for _, ref := range k.freeing {
			ids = append(ids, ref.JobID)
		}
		return "room is being made for this job on node " + k.room.NodeID + stopped(ids, "is being stopped", "are being stopped"), ""
	}
	if c.hope != blocked || len(e.bucket.ready) == 0 || e.bucket.ready[0] != e {
		return "", ""
	}
	victims, more := d.victims(e.bucket)
	r := d.relief(e, victims)
	switch {
	case len(victims) == 0:
		return "", ""
	case r == nil && more > 0:
		return "", fmt.Sprintf("stopping %d of what is preemptible in its queue and has a lower priority would not make room; the rest is looked at in turn", len(victims))
	case r == nil:
		return "", fmt.Sprintf("stopping what is preemptible in its queue and has a lower priority (%d) would not make room either", len(victims))
	}
	ids := make([]string, 0, len(r.End))
	for _, v := range r.End {
		ids = append(ids, jobOf(v.Holder))
	}
	return "room is to be made for this job on node " + r.NodeID + stopped(ids, "is to be stopped", "are to be stopped"), ""
}

// stopped names jobs, and how many more there are.
func stopped(ids []string, one, many string) string {
	const named = 3
	switch n := len(ids); {
	case n == 0:
		return ", where other work is ending"
	case n == 1:
		return ": job " + ids[0] + " " + one
	case n > named:
		return fmt.Sprintf(": jobs %s and %d more %s", strings.Join(ids[:named], ", "), n-named, many)
	default:
		return ": jobs " + strings.Join(ids, ", ") + " " + many
	}
}
