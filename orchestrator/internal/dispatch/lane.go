package dispatch

import (
	"container/list"
	"fmt"

	"github.com/orchion/orchion/orchestrator/internal/job"
)

// lane is one named queue with what waits in it and how much of it runs.
type lane struct {
	set        job.Queue
	configured bool // the settings are in the store
	queued     int  // jobs that wait, for whatever
	running    int  // jobs that a node holds or is about to
	buckets    []*bucket
	// heads are the buckets with ready jobs, but for those put aside, by their
	// first job.
	heads indexed[*bucket, byHead]
	index int // in queue.order; -1: not there
	// preemptible are the attempts that may be stopped for jobs of the lane.
	preemptible indexed[*attempt, byWorth]
	contended   int // where in buckets contenders goes on
	// untold is where it is in queue.untold; nil: not there. known: those who
	// watch know of it.
	untold *list.Element
	known  bool
}

// admission is whether jobs of a lane may run.
type admission int8

const (
	taking admission = iota
	atLimit
	paused
)

func (l *lane) admits() admission {
	switch {
	case l.set.Paused:
		return paused
	case l.set.MaxRunning > 0 && l.running >= l.set.MaxRunning:
		return atLimit
	default:
		return taking
	}
}

// takes says whether another of the lane's jobs may run.
func (l *lane) takes() bool { return l.admits() == taking }

// why says why the lane takes no job now.
func (l *lane) why() string {
	if l.set.Paused {
		return fmt.Sprintf("the queue %s is paused", l.set.Name)
	}
	return fmt.Sprintf("the queue %s is at its limit: %d of its jobs run, maxRunning is %d", l.set.Name, l.running, l.set.MaxRunning)
}

// before says whether it is this lane's turn: it has less of what runs for its
// weight, or as much and the older job.
func (l *lane) before(other *lane) bool {
	mine, others := l.running*other.set.Weight, other.running*l.set.Weight
	if mine != others {
		return mine < others
	}
	return l.heads[0].ready[0].compareAge(other.heads[0].ready[0]) < 0
}

// forget takes away a bucket that has no jobs any more.
func (l *lane) forget(b *bucket) {
	last := l.buckets[len(l.buckets)-1]
	l.buckets[b.at], last.at = last, b.at
	l.buckets[len(l.buckets)-1] = nil
	l.buckets = l.buckets[:len(l.buckets)-1]
}

// lane answers a queue by its name, making it if need be.
func (q *queue) lane(name string) *lane {
	l := q.lanes[name]
	if l == nil {
		l = &lane{set: job.NewQueue(name), index: -1}
		q.lanes[name] = l
		q.untold.back(l)
	}
	return l
}

// tidy forgets a lane that nothing is known of any more.
func (q *queue) tidy(l *lane) {
	if l.queued == 0 && l.running == 0 && !l.configured {
		delete(q.lanes, l.set.Name)
		q.untold.forget(l)
	}
}

// touch notes that a lane is not what those who watch were told.
func (q *queue) touch(l *lane) {
	if l.untold == nil {
		l.untold = q.untold.lanes.PushBack(l)
	}
}

// ran counts jobs of a lane that begin or cease to take part in what runs.
func (q *queue) ran(l *lane, jobs int) {
	was := l.admits()
	l.running += jobs
	q.touch(l)
	q.changed(l, was)
	q.tidy(l)
}

// configure gives a lane other settings.
func (q *queue) configure(set job.Queue, stored bool) {
	l := q.lane(set.Name)
	was := l.admits()
	l.set, l.configured = set, stored
	q.touch(l)
	q.untold.lanes.MoveToFront(l.untold) // people see at once what they did
	q.changed(l, was)
	q.tidy(l)
}

// changed puts a lane in its place after its share or its settings changed;
// was is how it admitted jobs before.
func (q *queue) changed(l *lane, was admission) {
	if l.admits() != was {
		for _, b := range l.buckets {
			q.count(b)
		}
	}
	q.reorder(l)
}

// reorder puts a lane into the order, or out of it.
func (q *queue) reorder(l *lane) {
	switch in := len(l.heads) > 0 && l.takes(); {
	case in && l.index >= 0:
		q.order.fix(l.index)
	case in:
		q.order.push(l)
	case l.index >= 0:
		q.order.remove(l.index)
	}
}

// byHead orders the buckets of a lane by their first job.
type byHead struct{}

func (byHead) before(a, b *bucket) bool   { return a.ready[0].before(b.ready[0]) }
func (byHead) moved(b *bucket, place int) { b.index = place }

// byTurn orders lanes by whose turn it is.
type byTurn struct{}

func (byTurn) before(a, b *lane) bool   { return a.before(b) }
func (byTurn) moved(l *lane, place int) { l.index = place }
