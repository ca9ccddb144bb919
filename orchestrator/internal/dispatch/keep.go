package dispatch

import (
	"slices"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/scheduler"
)

const (
	// keepEvery is how often those that wait for room to be kept, and the room
	// that is kept, are looked at.
	keepEvery = time.Second
	// keepLooks and keepSearches bound how many classes are looked at each time,
	// and how many nodes are searched for, for which all are looked at.
	keepLooks, keepSearches = 256, 8
	// passLooks is at how many buckets without room letPass looks each time.
	passLooks = 1024
	// maxKeeps is on how many nodes room is kept at most, and keepShare on which
	// part of them, but always on one.
	maxKeeps  = 16
	keepShare = 8
	// keepPatience is how many times Config.ReserveAfter room is kept on a node
	// where nothing ends, unless less is missing on another; then it is twice as
	// long on the next, since jobs may just run that long.
	keepPatience = 8
)

// keep is room on a node that is kept for the first job of a bucket, which has
// waited long while others went past it. docs/adr/0014 says why and for whom.
// It is in memory only.
type keep struct {
	room   *scheduler.Keep
	bucket *bucket
	// checked is when it was last seen to come closer, and lacks how close.
	checked time.Time
	lacks   float64
	// looked is when another node was last thought of, and patience how long to
	// wait for something to end before one is taken that is no better.
	looked   time.Time
	patience time.Duration
	// work is that of the class, as those see it who may use the room.
	work *scheduler.Work
	// freeing are the attempts that are stopped for it; nil: it waits for what
	// ends by itself.
	freeing []job.Ref
}

// head is the job that room is kept for, if it still waits to go next, be it
// for its queue to fall below its limit.
func (k *keep) head() *entry {
	if !k.bucket.pending {
		return nil
	}
	return k.bucket.ready[0]
}

// classList is a list of classes, each of which is in one at most.
type classList struct{ first, last *class }

// waits is the place of a class among those that have no room.
type waits struct {
	in            *classList // nil: in none
	since         time.Time
	before, after *class
}

func (l *classList) push(c *class) {
	c.waits.leave(c)
	c.waits.in, c.waits.before = l, l.last
	if l.last != nil {
		l.last.waits.after = c
	} else {
		l.first = c
	}
	l.last = c
}

// leave takes a class out of the list that it is in, if it is.
func (w *waits) leave(c *class) {
	l := w.in
	if l == nil {
		return
	}
	if w.before != nil {
		w.before.waits.after = w.after
	} else {
		l.first = w.after
	}
	if w.after != nil {
		w.after.waits.before = w.before
	} else {
		l.last = w.before
	}
	w.in, w.before, w.after = nil, nil, nil
}

// starve notes that no node has room for the first job of a bucket, whose turn
// it is.
func (q *queue) starve(b *bucket, now time.Time) {
	c := b.class
	c.tried = b
	if c.waits.in == nil && c.keep == nil {
		c.waits.since = now
		q.hungry.push(c)
	}
}

// asks is what a class needs, for those who ask whether there is room.
func (c *class) asks() *scheduler.Work {
	if c.keep != nil {
		return c.keep.work
	}
	return c.work
}

// goesBefore says whether it is an entry's turn before another's, of any lane.
func (e *entry) goesBefore(other *entry) bool {
	mine, others := e.bucket.lane, other.bucket.lane
	if mine == others {
		return e.before(other)
	}
	if a, b := mine.running*others.set.Weight, others.running*mine.set.Weight; a != b {
		return a < b
	}
	return e.compareAge(other) < 0
}

// heed is work of a job that has to leave the room that is kept for others, but
// for those that it goes before.
func (q *queue) heed(work *scheduler.Work, e *entry) *scheduler.Work {
	if len(q.keeps) == 0 {
		return work
	}
	heeding := *work
	for _, k := range q.keeps {
		head := k.head()
		switch {
		case k.bucket == e.bucket, k.bucket.class == e.bucket.class && k.freeing == nil:
			heeding.Mine = k.room
		case k.freeing != nil:
		case head == nil || e.goesBefore(head):
			heeding.Passes = append(heeding.Passes, k.room)
		}
	}
	return &heeding
}

// reopen looks again at a class without room when the first of a bucket is one
// that goes before somebody for whom room is kept.
func (q *queue) reopen(e *entry) {
	c := e.bucket.class
	if len(q.keeps) == 0 || c.hope != blocked || e.bucket.ready[0] != e {
		return
	}
	for _, k := range q.keeps {
		if head := k.head(); k.freeing == nil && (head == nil || e.goesBefore(head)) {
			q.set(c, open)
			return
		}
	}
}

// fed notes that a job of a bucket has found room. Another of its class needs
// none any more either, unless it is one for which jobs are stopped.
func (d *Dispatcher) fed(b *bucket) {
	c := b.class
	c.tried = b
	c.waits.leave(c)
	if k := c.keep; k != nil && (k.freeing == nil || k.bucket == b) {
		d.stopKeeping(k)
	}
}

func (d *Dispatcher) stopKeeping(k *keep) {
	d.queue.unkeep(k)
	d.cfg.Cluster.StopKeeping(k.room)
}

// keep notes room that is kept for the first job of a bucket.
func (q *queue) keep(b *bucket, room *scheduler.Keep, now time.Time) *keep {
	c := b.class
	k := &keep{bucket: b, checked: now, looked: now, lacks: 1, room: room}
	k.rename(room)
	c.keep = k
	c.waits.leave(c)
	q.keeps = append(q.keeps, k)
	return k
}

// rename takes over that the room is kept for another job of the bucket.
func (k *keep) rename(room *scheduler.Keep) {
	if room == nil {
		return // it is not kept any more, which comes out next
	}
	work := *k.bucket.class.work
	work.Mine = room
	k.room, k.work = room, &work
}

// unkeep forgets room that is kept no more.
func (q *queue) unkeep(k *keep) {
	k.bucket.class.keep = nil
	q.keeps = slices.DeleteFunc(q.keeps, func(other *keep) bool { return other == k })
}

// keepRooms keeps room for those who have waited for it long enough, and ends
// it where it has become of no use.
func (d *Dispatcher) keepRooms(now time.Time) {
	if next := d.keepsNext(); next.IsZero() || now.Before(next) {
		return
	}
	d.keepsDue = now.Add(keepEvery)
	for _, k := range slices.Clone(d.queue.keeps) {
		d.checkKeep(k, now)
	}
	d.letPass()
	d.preempt(now)
	d.keepMore(now)
}

// keepsNext is when keepRooms has something to do; zero: when somebody finds no
// room.
func (d *Dispatcher) keepsNext() time.Time {
	q := d.queue
	switch {
	case len(q.keeps) > 0 || q.starving.first != nil:
		return d.keepsDue
	case q.hungry.first == nil:
		return time.Time{}
	case d.preemptible > 0:
		return d.keepsDue
	}
	due := q.hungry.first.waits.since.Add(d.cfg.ReserveAfter)
	if due.Before(d.keepsDue) {
		return d.keepsDue
	}
	return due
}

// letPass looks again at classes without room when it has become the turn of one
// of their jobs before that of a job whose kept room it fits into: the shares of
// queues change with all that begins and ends. Of very many buckets some are
// looked at each time.
func (d *Dispatcher) letPass() {
	q := d.queue
	if len(q.keeps) == 0 {
		return
	}
	looks := 0
	var nodeIDs []string
	for _, b := range q.buckets {
		if looks++; looks > passLooks {
			return
		}
		if !b.counted || b.class.hope != blocked {
			continue
		}
		nodeIDs = nodeIDs[:0]
		for _, k := range q.keeps {
			if head := k.head(); k.freeing == nil && (head == nil || b.ready[0].goesBefore(head)) {
				nodeIDs = append(nodeIDs, k.room.NodeID)
			}
		}
		if len(nodeIDs) > 0 && d.cfg.Cluster.FitsOn(b.class.work, nodeIDs) {
			q.set(b.class, open)
		}
	}
}

// checkKeep ends the keeping of room that nobody waits for any more, or on a
// node that is no longer what it was.
func (d *Dispatcher) checkKeep(k *keep, now time.Time) {
	if head := k.head(); head != nil && head.id != k.room.JobID {
		k.rename(d.cfg.Cluster.KeepFor(k.room, head.id))
	}
	lacks, suitable := d.cfg.Cluster.Lacks(k.room)
	switch {
	case k.head() == nil || !suitable:
		d.stopKeeping(k)
		d.keepRoom(k.bucket, scheduler.KeepOn{}, nil, now)
	case k.freeing != nil:
		d.checkFreeing(k, now)
	case lacks < k.lacks:
		k.lacks, k.checked, k.looked = lacks, now, now
	case lacks > 0 && now.Sub(k.looked) >= d.cfg.ReserveAfter:
		k.looked = now
		d.moveKeep(k, lacks, now)
	}
}

// moveKeep keeps the room elsewhere that nothing has ended for: where less is
// missing, or, when that has gone on for long, anywhere else. What has ended so
// far would be for nothing if it moved each time.
func (d *Dispatcher) moveKeep(k *keep, lacks float64, now time.Time) {
	c, next := k.bucket.class, k.patience
	moved := d.keepRoom(k.bucket, scheduler.KeepOn{Below: lacks}, k, now)
	if !moved && now.Sub(k.checked) >= k.patience {
		moved, next = d.keepRoom(k.bucket, scheduler.KeepOn{Not: k.room.NodeID}, k, now), 2*k.patience
	}
	if moved {
		c.keep.patience = next
	}
}

// keepMore keeps room for the classes whose time has come, as far as there may
// be so much of it.
func (d *Dispatcher) keepMore(now time.Time) {
	q := d.queue
	for c := q.hungry.first; c != nil && now.Sub(c.waits.since) >= d.cfg.ReserveAfter; c = q.hungry.first {
		q.starving.push(c)
	}
	limit := min(max(d.cfg.Cluster.Len()/keepShare, 1), maxKeeps)
	searches := 0
	for range keepLooks {
		c := q.starving.first
		if c == nil || searches == keepSearches {
			return
		}
		q.starving.push(c) // the last from now on
		switch {
		case !c.tried.pending:
			q.set(c, open) // and see whose turn it is
		case len(q.waitingKeeps()) < limit:
			searches++
			d.keepRoom(c.tried, scheduler.KeepOn{}, nil, now)
		default:
			if last := q.lastKept(); c.tried.ready[0].goesBefore(last.bucket.ready[0]) {
				searches++
				d.keepRoom(c.tried, scheduler.KeepOn{}, last, now)
			}
		}
	}
}

// waitingKeeps is the room for which nothing is stopped.
func (q *queue) waitingKeeps() []*keep {
	return slices.DeleteFunc(slices.Clone(q.keeps), func(k *keep) bool { return k.freeing != nil })
}

// lastKept is the room that is kept for who goes last of those for whom some
// is. All of them wait; see checkKeep.
func (q *queue) lastKept() *keep {
	return slices.MaxFunc(q.waitingKeeps(), func(a, b *keep) int {
		if a.bucket.ready[0].goesBefore(b.bucket.ready[0]) {
			return -1
		}
		return 1
	})
}

// keepRoom keeps room for the first job of a bucket on the node where the least
// is missing, and instead of other room that is kept, if it is any. False: there
// is no such node.
func (d *Dispatcher) keepRoom(b *bucket, on scheduler.KeepOn, instead *keep, now time.Time) bool {
	c := b.class
	if c.pending == 0 {
		return false
	}
	if !b.pending {
		d.queue.set(c, open) // and see whose turn it is
		return false
	}
	if instead != nil {
		on.Instead = instead.room
	}
	room, lacks := d.cfg.Cluster.KeepRoom(c.work, b.ready[0].id, on)
	if room == nil {
		c.waits.leave(c) // and ask again later
		d.queue.starve(b, now)
		return false
	}
	if instead != nil {
		d.queue.unkeep(instead)
		d.queue.starve(instead.bucket, now)
	}
	k := d.queue.keep(b, room, now)
	k.lacks, k.patience = lacks, keepPatience*d.cfg.ReserveAfter
	d.cfg.Logger.Info("room is kept for a job that waits", "job", room.JobID, "node", room.NodeID)
	// What there is may do already, as long as nobody else takes it.
	d.queue.set(c, open)
	return true
}
