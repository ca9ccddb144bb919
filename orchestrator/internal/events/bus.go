// Package events tells those who watch what has changed. The bus keeps the
// newest events in a ring, as many as may be and not too much of what is in
// them; a subscription is a position in it. Publishing
// therefore never waits for a subscriber: one that is too slow, or that comes
// back after too long, finds its position overwritten and is told to list
// again (Reset).
package events

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/dispatch"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/model"
	"github.com/orchion/orchion/orchestrator/internal/node"
	"github.com/orchion/orchion/orchestrator/internal/schedule"
)

// Type says what happened to the object. The zero value is not a type.
type Type int

// The types.
const (
	// Updated: the object is new or has changed; it is given whole.
	Updated Type = iota + 1
	// Removed: the object is gone; only what identifies it is to be relied on.
	Removed
	// Reset: what was missed cannot be told; there is no object.
	Reset
)

// Event is one change. At most one of the objects is set. Objects are shared
// between all subscribers and must not be changed.
type Event struct {
	// ID resumes: Subscribe(ID) continues after this event.
	ID   string
	Type Type
	Time time.Time

	Node       *node.Node
	Job        *job.Job
	Deployment *model.Deployment
	Log        *LogProgress
	Queue      *dispatch.QueueStatus
	Schedule   *schedule.Schedule
	// Cluster: something changed that concerns all of it. Whoever passes the
	// event on looks up what is so now.
	Cluster bool
}

// LogProgress says that an attempt's log has grown.
type LogProgress struct {
	JobID       string
	Attempt     int
	StdoutLines int64
	StderrLines int64
}

// DefaultSize is how many events a bus keeps for those who resume: more than an
// array makes when it is submitted (job.MaxArray), so that nobody who follows
// has to start over for one.
const DefaultSize = 16384

// maxBytes is about how much memory the jobs of the kept events take together:
// what jobs are given, such as the messages of a chat, may be megabytes each.
const maxBytes = 64 << 20

// firstSize is how many events a bus has room for before it grows.
const firstSize = 256

// ErrClosed ends the subscriptions of a closed bus.
var ErrClosed = errors.New("the event bus is closed")

// kept is an event with what it weighs.
type kept struct {
	Event
	bytes int
}

// Bus fans events out. Its methods are safe for concurrent use.
type Bus struct {
	// epoch tells the ids of this bus from those of an earlier process.
	epoch string

	size int // how many events are kept

	mu     sync.Mutex // guards what follows
	ring   []kept     // grows up to size, while its first events are still in it
	last   uint64     // sequence of the newest event; the first has 1
	gone   uint64     // sequence of the newest event that is no longer kept
	bytes  int        // of the events that are
	closed bool
	// changed is closed when there is something new; nil while nobody waits.
	changed     chan struct{}
	subscribers int
}

// NewBus makes a bus that keeps size events; 0 means DefaultSize.
func NewBus(size int) *Bus {
	if size <= 0 {
		size = DefaultSize
	}
	return &Bus{
		epoch: strconv.FormatUint(rand.Uint64(), 36), //nolint:gosec // tells processes apart, keeps nothing secret
		size:  size,
		ring:  make([]kept, min(size, firstSize)),
	}
}

// Publish gives an event its id and its time and tells it to all subscribers.
// It never blocks. Publishing to a closed bus does nothing.
func (b *Bus) Publish(e Event) {
	e.Time = time.Now()
	bytes := weigh(&e)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	if b.last == uint64(len(b.ring)) && len(b.ring) < b.size {
		b.growLocked()
	}
	if b.last-b.gone == uint64(len(b.ring)) {
		b.dropLocked()
	}
	b.last++
	e.ID = b.idLocked(b.last)
	b.ring[b.last%uint64(len(b.ring))] = kept{e, bytes}
	for b.bytes += bytes; b.bytes > maxBytes && b.gone+1 < b.last; {
		b.dropLocked()
	}
	b.wakeLocked()
}

// dropLocked forgets the oldest event that is kept.
func (b *Bus) dropLocked() {
	b.gone++
	oldest := &b.ring[b.gone%uint64(len(b.ring))]
	b.bytes -= oldest.bytes
	*oldest = kept{}
}

// growLocked makes room for more events in a ring that is full for the first
// time. They move, since an event's place follows from its number.
func (b *Bus) growLocked() {
	ring := make([]kept, min(b.size, 4*len(b.ring)))
	for sequence := b.gone + 1; sequence <= b.last; sequence++ {
		ring[sequence%uint64(len(ring))] = b.ring[sequence%uint64(len(b.ring))]
	}
	b.ring = ring
}

// Close ends all subscriptions with ErrClosed. It may be called again.
func (b *Bus) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.wakeLocked()
}

// Subscribers counts the open subscriptions.
func (b *Bus) Subscribers() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.subscribers
}

// Subscribe starts after the event with this id; empty: from now on. When that
// event is not known (any more), the first event is a Reset. The subscription
// must be closed.
func (b *Bus) Subscribe(after string) *Subscription {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.subscribers++
	s := &Subscription{bus: b, position: b.last}
	if after == "" {
		return s
	}
	if sequence, ok := b.sequenceLocked(after); ok {
		s.position = sequence
	} else {
		s.lost = true
	}
	return s
}

func (b *Bus) wakeLocked() {
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}

func (b *Bus) idLocked(sequence uint64) string {
	return b.epoch + "-" + strconv.FormatUint(sequence, 10)
}

// sequenceLocked reads an id of this bus.
func (b *Bus) sequenceLocked(id string) (uint64, bool) {
	epoch, number, _ := strings.Cut(id, "-")
	sequence, err := strconv.ParseUint(number, 10, 64)
	return sequence, err == nil && epoch == b.epoch && sequence <= b.last
}

// Subscription is one reader's position. It is for one goroutine.
type Subscription struct {
	bus      *Bus
	position uint64 // of the last event that was told
	lost     bool   // the next event is a Reset
	closed   bool
}

// Next waits for the next event. Errors: ctx's, ErrClosed.
func (s *Subscription) Next(ctx context.Context) (Event, error) {
	for {
		e, changed, err := s.poll()
		if err != nil || changed == nil {
			return e, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

// poll answers the next event or, when there is none yet, a channel that is
// closed when it is worth another look.
func (s *Subscription) poll() (Event, <-chan struct{}, error) {
	b := s.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return Event{}, nil, ErrClosed
	}
	size := uint64(len(b.ring))
	if s.lost || s.position < b.gone {
		s.lost = false
		s.position = b.last
		return Event{ID: b.idLocked(b.last), Type: Reset, Time: time.Now()}, nil, nil
	}
	if s.position < b.last {
		s.position++
		return b.ring[s.position%size].Event, nil, nil
	}
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
	return Event{}, b.changed, nil
}

// Close ends the subscription. It may be called again.
func (s *Subscription) Close() {
	if s.closed {
		return
	}
	s.closed = true
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	s.bus.subscribers--
}
