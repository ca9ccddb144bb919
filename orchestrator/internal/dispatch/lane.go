package dispatch

import (
	"container/heap"
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
	heads headHeap
	index int // in queue.order; -1: not there
}

// takes says whether another of the lane's jobs may run.
func (l *lane) takes() bool {
	return !l.set.Paused && (l.set.MaxRunning == 0 || l.running < l.set.MaxRunning)
}

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
	}
	return l
}

// tidy forgets a lane that nothing is known of any more.
func (q *queue) tidy(l *lane) {
	if l.queued == 0 && l.running == 0 && !l.configured {
		delete(q.lanes, l.set.Name)
	}
}

// ran counts jobs of a lane that begin or cease to take part in what runs.
func (q *queue) ran(l *lane, jobs int) {
	took := l.takes()
	l.running += jobs
	q.changed(l, took)
	q.tidy(l)
}

// configure gives a lane other settings.
func (q *queue) configure(set job.Queue, stored bool) {
	l := q.lane(set.Name)
	took := l.takes()
	l.set, l.configured = set, stored
	q.changed(l, took)
	q.tidy(l)
}

// changed puts a lane in its place after its share or its settings changed;
// took is whether it took jobs before.
func (q *queue) changed(l *lane, took bool) {
	if l.takes() != took {
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
		heap.Fix(&q.order, l.index)
	case in:
		heap.Push(&q.order, l)
	case l.index >= 0:
		heap.Remove(&q.order, l.index)
	}
}

// headHeap orders the buckets of a lane by their first job.
type headHeap []*bucket

func (h headHeap) Len() int           { return len(h) }
func (h headHeap) Less(i, j int) bool { return h[i].ready[0].before(h[j].ready[0]) }
func (h headHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push appends a bucket; for package heap.
func (h *headHeap) Push(x any) {
	b := x.(*bucket) //nolint:errcheck,forcetypeassert // only buckets are pushed
	b.index = len(*h)
	*h = append(*h, b)
}

// Pop takes the last bucket; for package heap.
func (h *headHeap) Pop() any {
	last := len(*h) - 1
	b := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	b.index = -1
	return b
}

// laneHeap orders lanes by whose turn it is.
type laneHeap []*lane

func (h laneHeap) Len() int           { return len(h) }
func (h laneHeap) Less(i, j int) bool { return h[i].before(h[j]) }
func (h laneHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push appends a lane; for package heap.
func (h *laneHeap) Push(x any) {
	l := x.(*lane) //nolint:errcheck,forcetypeassert // only lanes are pushed
	l.index = len(*h)
	*h = append(*h, l)
}

// Pop takes the last lane; for package heap.
func (h *laneHeap) Pop() any {
	last := len(*h) - 1
	l := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	l.index = -1
	return l
}
