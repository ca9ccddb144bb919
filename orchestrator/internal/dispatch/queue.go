package dispatch

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/label"
	"github.com/orchion/orchion/orchestrator/internal/scheduler"
)

// entry is a queued job: what the order of the queue needs and nothing more,
// since there may be a million of them. The rest comes from the store with the
// claim.
type entry struct {
	id        string
	createdAt int64 // Unix nanoseconds
	notBefore int64 // Unix nanoseconds; 0: at once
	bucket    *bucket
	wants     *wants // nil: nothing
	// cancelled is the job as it was when it was cancelled during the claim.
	cancelled *job.Job
	// terms is what only some jobs have; nil: the others.
	terms    *terms
	priority int32
	index    int32 // in the heap that holds it; -1: in none
	delayed  bool  // that heap is the one of those that wait for their time
	// unlabelled: the job has no labels, so that no other avoids it.
	unlabelled bool
	// claiming: a node was found and the store is being asked, or the store is
	// asked to give the job up.
	claiming bool
	// recheck: the job was retried while the store was asked; it knows what is
	// to become of it.
	recheck bool
}

// classKey is all that decides where a job may run.
type classKey struct {
	resources    job.Resources
	constraints  string
	tolerations  string
	avoidJobs    string
	needsRuntime bool
	process      string
	credentials  string
	registry     string // empty without credentials
}

// hope is what is known of the room for a class.
type hope int8

const (
	// open: any node may have room.
	open hope = iota
	// probing: of the nodes that changed one may have room, and no other.
	probing
	// blocked: no node has room, but for those that changed since.
	blocked
)

// class holds the jobs that may all run at the same places: when there is no
// room for one, there is none for the others either, and they need not be
// looked at until something changes.
type class struct {
	key     classKey
	work    *scheduler.Work
	invalid string // why the jobs can never run; normally empty
	members int    // queued jobs of the class, wherever they wait
	hope    hope
	// live is how many buckets of the class have a job that may run now, as far
	// as its lane is concerned, and pending how many would have one but for their
	// lanes' limits.
	live, pending int
	// aside are buckets that their lanes were relieved of while the class was
	// blocked.
	aside   []*bucket
	summary *summary // what keeps it waiting; nil: nobody has asked

	// tried is the bucket of which a job was tried last.
	tried *bucket
	keep  *keep // room that is kept for it; nil: none is
	waits waits
}

// eligible says whether a job of the class is to be tried in this round.
func (c *class) eligible() bool { return c.hope != blocked && c.live > 0 }

// bucket holds the jobs of one lane and one class.
type bucket struct {
	lane    *lane
	class   *class
	members int // queued jobs, wherever they wait
	ready   indexed[*entry, byPriority]
	at      int  // in lane.buckets
	index   int  // in lane.heads; -1: not there
	aside   int  // in class.aside; -1: not there
	counted bool // in class.live
	pending bool // counted in class.pending
	// relieveAfter is when to look again for what may be stopped for its first
	// job, in Unix nanoseconds, and look where to go on.
	relieveAfter int64
	look         int
}

type bucketKey struct {
	lane  *lane
	class *class
}

// queue orders the jobs that wait for a node: between lanes by their shares of
// what runs, and within one by priority and age. docs/adr/0009 says why, and
// what a placement costs. It belongs to the dispatcher's goroutine.
type queue struct {
	entries map[string]*entry
	classes map[classKey]*class
	lanes   map[string]*lane
	buckets map[bucketKey]*bucket
	delayed indexed[*entry, byTime]
	// deadlines are when queue timeouts run out.
	deadlines indexed[*terms, byDeadline]
	// order holds the lanes that are open and have a head, the one whose turn
	// it is at the top.
	order indexed[*lane, byTurn]
	// eligible is how many classes are.
	eligible int
	// hungry are the classes that have no room, since when in this order, and
	// starving those of them that have waited long enough for some to be kept.
	hungry, starving classList
	// keeps is the room that is kept.
	keeps []*keep
	// avoid names, for the few jobs that have one, the node that another is
	// better than; see job.Job.Avoid.
	avoid  map[string]string
	wants  map[wantsKey]*wants
	untold untold
}

func newQueue() *queue {
	return &queue{
		entries: make(map[string]*entry), classes: make(map[classKey]*class),
		lanes: make(map[string]*lane), buckets: make(map[bucketKey]*bucket),
		avoid: make(map[string]string), wants: make(map[wantsKey]*wants),
		untold: untold{gone: make(map[string]*lane)},
	}
}

// add queues a job unless it is queued already. One that waits for others is
// only kept; see Dispatcher.enter.
func (q *queue) add(j *job.Job, now time.Time) *entry {
	if e := q.entries[j.ID]; e != nil {
		return e
	}
	e := &entry{
		id:        j.ID,
		priority:  int32(j.Spec.Priority),
		createdAt: j.CreatedAt.UnixNano(),
		bucket:    q.bucketOf(&j.Spec),
		wants:     q.wantsOf(&j.Spec),
		index:     -1,

		unlabelled: len(j.Labels) == 0,
	}
	if !j.NotBefore.IsZero() {
		e.notBefore = j.NotBefore.UnixNano()
	}
	if nodeID, avoid := j.Avoid(); avoid {
		q.avoid[j.ID] = nodeID
	}
	e.bucket.members++
	e.bucket.class.members++
	e.bucket.lane.queued++
	q.touch(e.bucket.lane)
	q.entries[j.ID] = e
	if j.Waiting {
		e.terms = &terms{entry: e, index: -1, after: slices.Clone(j.Spec.After)}
		return e
	}
	q.wait(e, now)
	if timeout := j.Spec.QueueTimeout; timeout > 0 {
		e.terms = &terms{entry: e, deadline: j.WaitsSince().Add(timeout).UnixNano(), index: -1}
		q.watch(e)
	}
	return e
}

// wait puts an entry that waits nowhere where it belongs.
func (q *queue) wait(e *entry, now time.Time) {
	if e.notBefore > now.UnixNano() {
		e.delayed = true
		q.delayed.push(e)
		return
	}
	q.ready(e)
}

// ready lets an entry have its turn.
func (q *queue) ready(e *entry) {
	e.bucket.ready.push(e)
	q.arrange(e.bucket)
	q.reopen(e)
}

// take takes an entry from where it waits; it stays queued.
func (q *queue) take(e *entry) {
	switch {
	case e.index < 0:
	case e.delayed:
		q.delayed.remove(int(e.index))
		e.delayed = false
	default:
		e.bucket.ready.remove(int(e.index))
		q.arrange(e.bucket)
	}
}

// remove takes a job out of the queue for good.
func (q *queue) remove(e *entry) {
	q.take(e)
	q.unwatch(e)
	delete(q.entries, e.id)
	delete(q.avoid, e.id)
	q.unwant(e)
	b := e.bucket
	if b.class.members--; b.class.members == 0 {
		delete(q.classes, b.class.key)
	}
	if b.members--; b.members == 0 {
		b.lane.forget(b)
		delete(q.buckets, bucketKey{b.lane, b.class})
	}
	b.lane.queued--
	q.touch(b.lane)
	q.tidy(b.lane)
}

// wake makes ready what has waited long enough, and answers when the next will
// have; zero: nothing waits for its time.
func (q *queue) wake(now time.Time) (next time.Time) {
	for len(q.delayed) > 0 {
		e := q.delayed[0]
		if e.notBefore > now.UnixNano() {
			return time.Unix(0, e.notBefore)
		}
		q.take(e)
		q.ready(e)
	}
	return time.Time{}
}

// next answers the bucket whose first job is to be tried; nil: nothing is.
// A bucket that is met while its class has no room is put aside until it has,
// so that it is met once and not for every job that is placed meanwhile.
func (q *queue) next() *bucket {
	if q.eligible == 0 {
		return nil
	}
	for len(q.order) > 0 {
		b := q.order[0].heads[0]
		if b.class.hope != blocked {
			return b
		}
		b.lane.heads.remove(b.index)
		b.aside = len(b.class.aside)
		b.class.aside = append(b.class.aside, b)
		q.reorder(b.lane)
	}
	return nil
}

// set changes what is known of the room for a class.
func (q *queue) set(c *class, h hope) {
	if c.hope == h {
		return
	}
	q.tally(c, func() { c.hope = h })
	if h == blocked {
		return
	}
	put := c.aside
	c.aside = nil
	for _, b := range put {
		b.aside = -1
		b.lane.heads.push(b)
		q.reorder(b.lane)
	}
}

// openAll forgets what is known of the room for all classes.
func (q *queue) openAll() {
	for _, c := range q.classes {
		q.set(c, open)
	}
}

// probe finds out which blocked classes have room after all.
func (q *queue) probe(fits func(*scheduler.Work) bool) {
	for _, c := range q.classes {
		if c.hope == blocked && c.live > 0 && fits(c.work) {
			q.set(c, probing)
		}
	}
}

// unprobe takes back that classes may have room, but for those that still may.
// One that had some last begins to wait; of which nobody knows who would, that
// is tried.
func (q *queue) unprobe(mayFit func(*scheduler.Work) bool, now time.Time) {
	for _, c := range q.classes {
		if c.hope != probing || mayFit(c.work) {
			continue
		}
		switch {
		case c.waits.in != nil || c.keep != nil:
		case c.tried != nil && c.tried.pending:
			q.starve(c.tried, now)
		default:
			continue
		}
		q.set(c, blocked)
	}
}

// tally keeps count of the eligible classes over a change of one.
func (q *queue) tally(c *class, change func()) {
	before := c.eligible()
	change()
	switch after := c.eligible(); {
	case after && !before:
		q.eligible++
	case before && !after:
		q.eligible--
	}
}

// arrange puts a bucket where its ready jobs say that it belongs.
func (q *queue) arrange(b *bucket) {
	q.count(b)
	switch {
	case b.class.invalid != "":
		return // its jobs are never tried
	case len(b.ready) == 0 && b.index >= 0:
		b.lane.heads.remove(b.index)
	case len(b.ready) == 0:
		b.unaside()
		return
	case b.index >= 0:
		b.lane.heads.fix(b.index)
	case b.aside < 0:
		b.lane.heads.push(b)
	default:
		return // it waits for its class
	}
	q.reorder(b.lane)
}

// count keeps class.live and class.pending. A class is only kept up to date
// about changed nodes while it is live: its first live bucket has all nodes
// looked at again. It goes on waiting while it is pending: lanes at their limits
// are so anew with every job that ends.
func (q *queue) count(b *bucket) {
	c := b.class
	pending := len(b.ready) > 0 && !b.lane.set.Paused && c.invalid == ""
	switch {
	case pending && !b.pending:
		c.pending++
	case !pending && b.pending:
		if c.pending--; c.pending == 0 {
			c.waits.leave(c)
		}
	}
	b.pending = pending
	live := pending && b.lane.takes()
	if live == b.counted {
		return
	}
	b.counted = live
	if !live {
		q.tally(c, func() { c.live-- })
		return
	}
	q.tally(c, func() { c.live++ })
	if c.live == 1 {
		q.set(c, open)
	}
}

// unaside takes a bucket from those that its class has put aside.
func (b *bucket) unaside() {
	if b.aside < 0 {
		return
	}
	list := b.class.aside
	last := list[len(list)-1]
	list[b.aside], last.aside = last, b.aside
	list[len(list)-1] = nil
	b.class.aside = list[:len(list)-1]
	b.aside = -1
}

func (q *queue) bucketOf(spec *job.Spec) *bucket {
	key := bucketKey{q.lane(spec.QueueName()), q.classOf(spec)}
	b := q.buckets[key]
	if b == nil {
		b = &bucket{lane: key.lane, class: key.class, at: len(key.lane.buckets), index: -1, aside: -1}
		key.lane.buckets = append(key.lane.buckets, b)
		q.buckets[key] = b
	}
	return b
}

func (q *queue) classOf(spec *job.Spec) *class {
	key := classKey{
		resources:    spec.Resources,
		constraints:  strings.Join(spec.Constraints, "\x00"),
		tolerations:  strings.Join(spec.Tolerations, "\x00"),
		avoidJobs:    spec.AvoidJobs,
		needsRuntime: spec.Container != nil,
		process:      processOf(spec),
	}
	key.credentials, key.registry = credentialsOf(spec)
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
	avoid, unread := label.Parse(spec.AvoidJobs)
	if err == nil && unread != nil {
		err = fmt.Errorf("avoidJobs: %w", unread)
	}
	credentials, registry := credentialsOf(spec)
	return &scheduler.Work{
		Resources:    spec.Resources,
		Constraints:  constraints,
		Tolerations:  spec.Tolerations,
		AvoidJobs:    avoid,
		NeedsRuntime: spec.Container != nil,
		Process:      processOf(spec),
		Credentials:  credentials,
		Registry:     registry,
		TakesSlot:    true,
		Prefers:      preferencesOf(spec),
	}, err
}

// before orders the entries of a lane: the higher priority first, then the
// older.
func (e *entry) before(other *entry) bool {
	return cmp.Or(cmp.Compare(other.priority, e.priority), e.compareAge(other)) < 0
}

// compareAge orders entries by age, the older first.
func (e *entry) compareAge(other *entry) int {
	return cmp.Or(cmp.Compare(e.createdAt, other.createdAt), strings.Compare(e.id, other.id))
}

// byPriority orders entries that may run now.
type byPriority struct{}

func (byPriority) before(a, b *entry) bool   { return a.before(b) }
func (byPriority) moved(e *entry, place int) { e.index = int32(place) }

// byTime orders entries that wait for their time.
type byTime struct{}

func (byTime) before(a, b *entry) bool   { return a.notBefore < b.notBefore }
func (byTime) moved(e *entry, place int) { e.index = int32(place) }
