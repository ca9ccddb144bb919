package routing

import (
	"container/list"
	"errors"
	"fmt"
	"iter"
	"time"
)

// Class says how urgent a request is. The zero value is Interactive.
type Class int

// The classes, the more urgent first.
const (
	// Interactive: somebody waits for the answer.
	Interactive Class = iota
	// Batch: it may take as long as it takes.
	Batch
	classes
)

// String gives the class's name as clients write it.
func (c Class) String() string {
	if c == Batch {
		return "batch"
	}
	return "interactive"
}

const (
	// batchTurn is of how many requests that leave a queue one is a batch's, though
	// interactive ones wait: what is less urgent is still to come to an end.
	batchTurn = 8
	// recheck is how often a queue is looked at though no request ended: a replica
	// may have come, or may be tried again.
	recheck = 250 * time.Millisecond
	// passedOver bounds the requests that are looked at when one ends and that want
	// another replica than the one that is free.
	passedOver = 32
	// maxRetryAfter bounds what a client is told to wait.
	maxRetryAfter = time.Minute
)

// errFull says that those replicas that could be asked have as many requests as they may.
var errFull = errors.New("all replicas have as many requests as they may")

// QueueFullError says that as many requests wait for a model as may.
type QueueFullError struct {
	Queued     int
	RetryAfter time.Duration
}

func (e *QueueFullError) Error() string {
	return fmt.Sprintf("%d requests wait already", e.Queued)
}

// queue holds the requests that wait for the replicas of one model: urgent ones first,
// within a class one of each caller in turn, within a caller in their order. Its pool's
// lock guards it.
type queue struct {
	classes [classes]lines
	length  int
	// urgent counts interactive requests that left since a batch's did while some waited.
	urgent int
	timer  *time.Timer // of the next recheck; nil: not yet made
}

// lines are the requests of one class, by their callers.
type lines struct {
	callers map[string]*line
	turns   list.List // of *line; the front's turn is next
	length  int
}

// line is the requests of one caller.
type line struct {
	caller  string
	tickets list.List     // of *Ticket
	turn    *list.Element // in lines.turns
}

func (l *line) first() *Ticket { return ticketAt(l.tickets.Front()) }

func lineAt(e *list.Element) *line { return e.Value.(*line) } //nolint:errcheck // turns hold nothing else

func ticketAt(e *list.Element) *Ticket { return e.Value.(*Ticket) } //nolint:errcheck // lines hold nothing else

// Ticket is a request's place in a queue.
type Ticket struct {
	pool  *pool
	ask   *Ask
	since time.Time
	ready chan struct{} // closed when lease or err is set

	// What follows is guarded by the pool's lock.
	line  *line // nil: it waits no more
	place *list.Element
	lease *Lease
	err   error
}

// Ready is closed when the ticket's turn has come.
func (t *Ticket) Ready() <-chan struct{} { return t.ready }

// Take gives what a ticket that is ready has got: a lease, or an error of Acquire.
func (t *Ticket) Take() (*Lease, error) {
	t.pool.mu.Lock()
	defer t.pool.mu.Unlock()
	lease := t.lease
	t.lease = nil
	return lease, t.err
}

// Leave ends the waiting. A lease that was not taken is given back.
func (t *Ticket) Leave() {
	t.pool.mu.Lock()
	lease := t.lease
	t.lease = nil
	if t.line != nil {
		t.pool.queue.remove(t)
	}
	t.pool.mu.Unlock()
	if lease != nil {
		lease.Done(Outcome{})
	}
}

// Place answers how many requests wait, and how many of them, counting the ticket's own,
// until it is its turn; 0: it waits no more.
func (t *Ticket) Place() (place, of int) {
	t.pool.mu.Lock()
	defer t.pool.mu.Unlock()
	if t.line == nil {
		return 0, t.pool.queue.length
	}
	for other := range t.pool.queue.order() {
		place++
		if other == t {
			break
		}
	}
	return place, t.pool.queue.length
}

// add puts a ticket at the end of its caller's line; one that was tried already and
// failed goes to its front.
func (q *queue) add(t *Ticket) {
	c := &q.classes[t.ask.Class]
	if c.callers == nil {
		c.callers = make(map[string]*line)
	}
	l := c.callers[t.ask.Caller]
	if l == nil {
		l = &line{caller: t.ask.Caller}
		l.turn = c.turns.PushBack(l)
		c.callers[t.ask.Caller] = l
	}
	t.line = l
	if len(t.ask.tried) > 0 {
		t.place = l.tickets.PushFront(t)
	} else {
		t.place = l.tickets.PushBack(t)
	}
	c.length++
	q.length++
}

// remove takes a ticket out.
func (q *queue) remove(t *Ticket) {
	c, l := &q.classes[t.ask.Class], t.line
	l.tickets.Remove(t.place)
	t.line, t.place = nil, nil
	if l.tickets.Len() == 0 {
		c.turns.Remove(l.turn)
		delete(c.callers, l.caller)
	}
	c.length--
	q.length--
}

// settle ends a ticket's waiting with a lease or an error.
func (q *queue) settle(t *Ticket, lease *Lease, err error) {
	l, class := t.line, t.ask.Class
	q.remove(t)
	if lease != nil {
		q.classes[class].turns.MoveToBack(l.turn) // does nothing to a line that has gone
		switch {
		case class == Batch, q.classes[Batch].length == 0:
			q.urgent = 0
		default:
			q.urgent++
		}
	}
	t.lease, t.err = lease, err
	close(t.ready)
}

// order goes through the tickets in the order in which it is their turn.
func (q *queue) order() iter.Seq[*Ticket] {
	return func(yield func(*Ticket) bool) {
		var owed *Ticket // the batch's turn, before its time
		if q.urgent >= batchTurn-1 && q.classes[Batch].length > 0 {
			owed = lineAt(q.classes[Batch].turns.Front()).first()
			if !yield(owed) {
				return
			}
		}
		for class := range q.classes {
			if !q.classes[class].order(func(t *Ticket) bool { return t == owed || yield(t) }) {
				return
			}
		}
	}
}

// order goes through the tickets of a class: the first of each caller, then the second
// of each, and so on.
func (c *lines) order(yield func(*Ticket) bool) bool {
	if c.length == 0 {
		return true
	}
	// Most often nobody looks further than at the first.
	for e := c.turns.Front(); e != nil; e = e.Next() {
		if !yield(lineAt(e).first()) {
			return false
		}
	}
	next := make([]*list.Element, 0, c.turns.Len())
	for e := c.turns.Front(); e != nil; e = e.Next() {
		if second := lineAt(e).tickets.Front().Next(); second != nil {
			next = append(next, second)
		}
	}
	for len(next) > 0 {
		left := next[:0]
		for _, e := range next {
			if !yield(ticketAt(e)) {
				return false
			}
			if after := e.Next(); after != nil {
				left = append(left, after)
			}
		}
		next = left
	}
	return true
}

// enqueue gives a request a place in the queue. *QueueFullError.
func (p *pool) enqueue(a *Ask, now time.Time) (*Ticket, error) {
	most := 0
	for _, r := range p.replicas {
		most = max(most, r.route.MaxQueued)
	}
	if p.queue.length >= most && len(a.tried) == 0 {
		return nil, &QueueFullError{Queued: p.queue.length, RetryAfter: p.retryAfter(now)}
	}
	t := &Ticket{pool: p, ask: a, since: now, ready: make(chan struct{})}
	p.queue.add(t)
	if p.queue.length == 1 {
		if p.queue.timer == nil {
			p.queue.timer = time.AfterFunc(recheck, p.recheck)
		} else {
			p.queue.timer.Reset(recheck)
		}
	}
	return t, nil
}

// recheck looks at a queue from time to time.
func (p *pool) recheck() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serve(time.Now())
	if p.queue.length > 0 {
		p.queue.timer.Reset(recheck)
	}
}

// serve gives those whose turn it is what is free.
func (p *pool) serve(now time.Time) {
	if p.queue.length == 0 {
		return
	}
	routes := p.router.cfg.Routes(p.model)
	if len(routes) > 0 {
		p.follow(p.router, routes, now)
	}
	for passed := 0; p.queue.length > 0; {
		var served *Ticket
		var lease *Lease
		err := ErrNone
		for t := range p.queue.order() {
			if len(routes) > 0 {
				lease, err = p.choose(p.router, t.ask, now)
			}
			if !errors.Is(err, errFull) {
				served = t
				break
			}
			// Whoever may go anywhere finds nothing, and so do all others, but for
			// those who were there before and may not go everywhere.
			if passed++; passed >= passedOver || len(t.ask.Labels) == 0 && len(t.ask.tried) == 0 {
				return
			}
		}
		if served == nil {
			return
		}
		p.queue.settle(served, lease, err)
	}
}

// retryAfter is about how long it takes until those that wait have been answered.
func (p *pool) retryAfter(now time.Time) time.Duration {
	atOnce := 0
	for _, r := range p.replicas {
		atOnce += r.route.MaxInFlight
	}
	whole := p.typical(now).Whole
	if whole == 0 {
		whole = time.Second
	}
	return min(max(whole*time.Duration(p.queue.length)/time.Duration(max(atOnce, 1)), time.Second), maxRetryAfter)
}
