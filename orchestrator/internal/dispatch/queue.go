package dispatch

import (
	"cmp"
	"container/heap"
	"fmt"
	"strings"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/scheduler"
)

// entry is a queued job: what the order of the queue needs and nothing more,
// since there may be a million of them. The rest comes from the store with the
// claim.
type entry struct {
	id        string
	priority  int
	createdAt int64 // Unix nanoseconds
	notBefore int64 // Unix nanoseconds; 0: at once
	class     *class
	index     int // in the heap that holds it; -1: in none
	// claiming: a node was found and the store is being asked.
	claiming bool
	// cancelled is the job as it was when it was cancelled during the claim.
	cancelled *job.Job
}

// classKey is all that decides where a job may run.
type classKey struct {
	resources    job.Resources
	constraints  string
	needsRuntime bool
}

// class holds the jobs that may all run at the same places: when there is no
// room for one, there is none for the others either, and they need not be
// looked at until something changes.
type class struct {
	key     classKey
	work    *scheduler.Work
	invalid string // why the jobs can never run; normally empty
	members int    // queued jobs of the class, wherever they wait
	ready   readyHeap
	index   int // in a classHeap
	// blocked: all nodes but those that changed since were looked at.
	blocked bool
}

// queue orders the jobs that wait for a node. It belongs to the dispatcher's
// goroutine.
type queue struct {
	entries map[string]*entry
	classes map[classKey]*class
	delayed delayedHeap
}

func newQueue() *queue {
	return &queue{entries: make(map[string]*entry), classes: make(map[classKey]*class)}
}

// add queues a job unless it is queued already.
func (q *queue) add(j *job.Job, now time.Time) *entry {
	if e := q.entries[j.ID]; e != nil {
		return e
	}
	e := &entry{
		id:        j.ID,
		priority:  j.Spec.Priority,
		createdAt: j.CreatedAt.UnixNano(),
		class:     q.classOf(&j.Spec),
		index:     -1,
	}
	if !j.NotBefore.IsZero() {
		e.notBefore = j.NotBefore.UnixNano()
	}
	e.class.members++
	q.entries[j.ID] = e
	q.wait(e, now)
	return e
}

// wait puts an entry that waits nowhere where it belongs.
func (q *queue) wait(e *entry, now time.Time) {
	if e.notBefore > now.UnixNano() {
		heap.Push(&q.delayed, e)
		return
	}
	e.class.push(e)
}

// push makes an entry ready. A class is only kept up to date about changed
// nodes while it has ready jobs: its first one has all nodes looked at again.
func (c *class) push(e *entry) {
	if len(c.ready) == 0 {
		c.blocked = false
	}
	heap.Push(&c.ready, e)
}

// remove takes a job out of the queue for good.
func (q *queue) remove(e *entry) {
	switch {
	case e.index < 0:
	case e.isDelayed(q):
		heap.Remove(&q.delayed, e.index)
	default:
		heap.Remove(&e.class.ready, e.index)
	}
	delete(q.entries, e.id)
	if e.class.members--; e.class.members == 0 {
		delete(q.classes, e.class.key)
	}
}

func (e *entry) isDelayed(q *queue) bool {
	return e.index >= 0 && e.index < len(q.delayed) && q.delayed[e.index] == e
}

// wake makes ready what has waited long enough, and answers when the next will
// have; zero: nothing waits for its time.
func (q *queue) wake(now time.Time) (next time.Time) {
	for len(q.delayed) > 0 {
		e := q.delayed[0]
		if e.notBefore > now.UnixNano() {
			return time.Unix(0, e.notBefore)
		}
		heap.Pop(&q.delayed)
		e.class.push(e)
	}
	return time.Time{}
}

func (q *queue) classOf(spec *job.Spec) *class {
	key := classKey{
		resources:    spec.Resources,
		constraints:  strings.Join(spec.Constraints, "\x00"),
		needsRuntime: spec.Container != nil,
	}
	c := q.classes[key]
	if c == nil {
		work, err := workOf(spec)
		c = &class{key: key, work: work}
		if err != nil {
			c.invalid = fmt.Sprintf("cannot run anywhere: spec.%v", err)
		}
		q.classes[key] = c
	}
	return c
}

// workOf is what the scheduler needs to know of a job.
func workOf(spec *job.Spec) (*scheduler.Work, error) {
	constraints, err := scheduler.ParseConstraints(spec.Constraints)
	return &scheduler.Work{
		Resources:    spec.Resources,
		Constraints:  constraints,
		NeedsRuntime: spec.Container != nil,
		TakesSlot:    true,
	}, err
}

// before orders entries: the higher priority first, then the older.
func (e *entry) before(other *entry) bool {
	return cmp.Or(
		cmp.Compare(other.priority, e.priority),
		cmp.Compare(e.createdAt, other.createdAt),
		strings.Compare(e.id, other.id),
	) < 0
}

// readyHeap holds entries that may run now.
type readyHeap []*entry

func (h readyHeap) Len() int           { return len(h) }
func (h readyHeap) Less(i, j int) bool { return h[i].before(h[j]) }
func (h readyHeap) Swap(i, j int)      { swapEntries(h, i, j) }
func (h *readyHeap) Push(x any)        { pushEntry((*[]*entry)(h), x) }
func (h *readyHeap) Pop() any          { return popEntry((*[]*entry)(h)) }

// delayedHeap holds entries that wait for their time.
type delayedHeap []*entry

func (h delayedHeap) Len() int           { return len(h) }
func (h delayedHeap) Less(i, j int) bool { return h[i].notBefore < h[j].notBefore }
func (h delayedHeap) Swap(i, j int)      { swapEntries(h, i, j) }
func (h *delayedHeap) Push(x any)        { pushEntry((*[]*entry)(h), x) }
func (h *delayedHeap) Pop() any          { return popEntry((*[]*entry)(h)) }

func swapEntries(h []*entry, i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func pushEntry(h *[]*entry, x any) {
	e := x.(*entry) //nolint:errcheck,forcetypeassert // only entries are pushed
	e.index = len(*h)
	*h = append(*h, e)
}

func popEntry(h *[]*entry) any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	e.index = -1
	return e
}

// classHeap orders classes by their first job.
type classHeap []*class

func (h classHeap) Len() int           { return len(h) }
func (h classHeap) Less(i, j int) bool { return h[i].ready[0].before(h[j].ready[0]) }
func (h classHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push appends a class; for package heap.
func (h *classHeap) Push(x any) {
	c := x.(*class) //nolint:errcheck,forcetypeassert // only classes are pushed
	c.index = len(*h)
	*h = append(*h, c)
}

// Pop takes the last class; for package heap.
func (h *classHeap) Pop() any {
	last := len(*h) - 1
	c := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return c
}
