package dispatch

import (
	"sync"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/model"
)

// maxOutbox is how many messages may wait for one node. A node that reads so
// slowly loses nothing by being cut: it connects again and gets the full set.
const maxOutbox = 4096

// Hub holds the assignment streams of the nodes, at most one for each. It is
// safe for concurrent use and never blocks.
type Hub struct {
	mu       sync.Mutex // guards what follows; taken before a session's
	sessions map[string]*Session
	closed   error
	// watch is called with mu held, so that the last call tells the truth.
	watch func(nodeID string, connected bool)
	// changed is closed when a node comes or goes; nil: nobody waits for that.
	changed chan struct{}
}

// NewHub makes a hub without streams.
func NewHub() *Hub {
	return &Hub{sessions: make(map[string]*Session)}
}

// Attach begins a node's stream and ends the one that it had before. Its owner
// calls Deliver and Open once each, and Close in the end.
func (h *Hub) Attach(nodeID string) *Session {
	s := &Session{hub: h, nodeID: nodeID, since: time.Now()}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed != nil {
		s.end(h.closed)
		return s
	}
	if old := h.sessions[nodeID]; old != nil {
		old.end(fault.New(fault.Unavailable, "this stream was replaced by a newer one of the same node"))
	}
	h.sessions[nodeID] = s
	h.tellLocked(nodeID, true)
	return s
}

// tellLocked tells whoever wants to know that a node has come or gone.
func (h *Hub) tellLocked(nodeID string, connected bool) {
	if h.watch != nil {
		h.watch(nodeID, connected)
	}
	if h.changed != nil {
		close(h.changed)
		h.changed = nil
	}
}

// Changed gives a channel that is closed when a node gets or loses its stream after
// Changed was called.
func (h *Hub) Changed() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.changed == nil {
		h.changed = make(chan struct{})
	}
	return h.changed
}

// ConnectedSince says since when a node has its stream; false: it has none.
func (h *Hub) ConnectedSince(nodeID string) (time.Time, bool) {
	s := h.session(nodeID)
	if s == nil {
		return time.Time{}, false
	}
	return s.since, true
}

// Send puts a message into a node's stream. False: the node has no stream, or
// was too slow and has none any more.
func (h *Hub) Send(nodeID string, m Message) bool {
	s := h.session(nodeID)
	return s != nil && s.put(m)
}

// session answers a node's stream; nil: it has none.
func (h *Hub) session(nodeID string) *Session {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sessions[nodeID]
}

// Connected says whether a node has a stream.
func (h *Hub) Connected(nodeID string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sessions[nodeID] != nil
}

// Len says how many nodes have a stream.
func (h *Hub) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.sessions)
}

// Disconnect ends a node's stream for a reason, if it has one.
func (h *Hub) Disconnect(nodeID string, reason error) {
	if s := h.session(nodeID); s != nil {
		s.Close(reason)
	}
}

// AssignReplica sends a replica to its node; it makes the hub a model.Link.
func (h *Hub) AssignReplica(nodeID string, a model.Assignment) bool {
	return h.Send(nodeID, ReplicaAssignment(a))
}

// RemoveReplica tells a node to remove a replica; it makes the hub a
// model.Link.
func (h *Hub) RemoveReplica(nodeID, replicaID string) bool {
	return h.Send(nodeID, RemoveReplica{ReplicaID: replicaID})
}

// Close ends all streams, and at once those that still come.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed != nil {
		return
	}
	h.closed = fault.New(fault.Unavailable, "the orchestrator is shutting down")
	for id, s := range h.sessions {
		s.end(h.closed)
		delete(h.sessions, id)
		h.tellLocked(id, false)
	}
}

// observe has f told of every node that comes and goes, beginning with those
// that are there. f must not block nor call the hub.
func (h *Hub) observe(f func(nodeID string, connected bool)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watch = f
	for id := range h.sessions {
		f(id, true)
	}
}

// drop forgets a session unless a newer one has taken its place.
func (h *Hub) drop(s *Session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sessions[s.nodeID] != s {
		return
	}
	delete(h.sessions, s.nodeID)
	h.tellLocked(s.nodeID, false)
}

// Session is one node's stream, as the orchestrator writes to it. While nothing is
// to be sent it costs no goroutine: there are thousands of sessions, and nearly all
// of them rest.
type Session struct {
	hub    *Hub
	nodeID string
	since  time.Time
	// delivering is the goroutine that sends while messages wait.
	delivering sync.WaitGroup

	mu     sync.Mutex // guards what follows
	opened bool
	busy   bool // delivering has a goroutine
	queue  []Message
	send   func(Message) error
	ended  func(error)
	err    error
}

// NodeID names the session's node.
func (s *Session) NodeID() string { return s.nodeID }

// Open puts the full set before everything sent so far and lets the messages
// out. A second call changes nothing.
func (s *Session) Open(set AssignmentSet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opened || s.err != nil {
		return
	}
	s.opened = true
	s.queue = append([]Message{set}, s.queue...)
	s.wakeLocked()
}

// Deliver has send called with the messages from now on, one at a time and as they
// were put; an error of it ends the session. Once the session has ended, ended is
// told why; it must neither block nor call the hub.
func (s *Session) Deliver(send func(Message) error, ended func(reason error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		ended(s.err)
		return
	}
	s.send, s.ended = send, ended
	s.wakeLocked()
}

// wakeLocked has what waits sent.
func (s *Session) wakeLocked() {
	if s.busy || s.send == nil || !s.opened || len(s.queue) == 0 {
		return
	}
	s.busy = true
	s.delivering.Go(s.deliver)
}

// deliver sends until nothing waits any more.
func (s *Session) deliver() {
	for {
		m := s.take()
		if m == nil {
			return
		}
		if err := s.send(m); err != nil {
			s.Close(err)
		}
	}
}

// take answers the next message for deliver; nil: there is none, and what is put from
// now on wakes another one.
func (s *Session) take() Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		s.busy = false
		s.queue = nil
		return nil
	}
	m := s.queue[0]
	s.queue[0] = nil
	s.queue = s.queue[1:]
	return m
}

// Wait waits, once the session has ended, until nothing is being sent any more.
func (s *Session) Wait() { s.delivering.Wait() }

// Err says why the session ended; nil while it has not.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Close ends the session for a reason, which Err then answers, unless it has ended
// before.
func (s *Session) Close(reason error) {
	if reason == nil {
		reason = fault.New(fault.Unavailable, "the stream was closed")
	}
	s.end(reason)
	s.hub.drop(s)
}

// put appends a message; a full outbox ends the session.
func (s *Session) put(m Message) bool {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return false
	}
	if len(s.queue) >= maxOutbox {
		s.mu.Unlock()
		s.Close(fault.New(fault.Unavailable,
			"the node read too slowly: %d messages waited for it; connect again for the full set", maxOutbox))
		return false
	}
	s.queue = append(s.queue, m)
	s.wakeLocked()
	s.mu.Unlock()
	return true
}

// end marks the session as ended; what waits is dropped.
func (s *Session) end(reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return
	}
	s.err = reason
	s.queue = nil
	if s.ended != nil {
		s.ended(reason)
	}
}
