// Package tunnel is the orchestrator's end of the connections that carry
// gateway traffic. No node is ever dialled: [Server.Dial] asks a node on its
// assignment stream to open a stream of its own to one of its engines, and the
// frames of that stream become a [net.Conn]. A node on the orchestrator's own
// machine may name the engine's address instead. The other way round, a job's
// connection to the gateway comes in as a stream and leaves [Server.Calls] as a
// connection for an http.Server.
//
// The package knows no wire types: package api hands it streams of frames.
package tunnel

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/orchion/orchion/orchestrator/internal/dispatch"
	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/shared/loopback"
	"github.com/orchion/orchion/shared/streamconn"
)

// FrameStream is a stream of frames as package streamconn defines them: an
// empty frame is the end of one direction.
type FrameStream = streamconn.Stream

// Config says how a Server works. Open is required.
type Config struct {
	// Place is where this program runs. A node there may name the address of an
	// engine instead of opening a stream to it. The zero value: none may.
	Place loopback.Place
	// OwnPorts are those that this program listens on. No engine is there.
	OwnPorts []uint16
	// Open sends the message on the node's assignment stream; false means that
	// the node has none. It must not block.
	Open func(nodeID string, m dispatch.OpenTunnel) bool
	// OpenTimeout is how long a node may take to open a tunnel. Default: 10 s.
	OpenTimeout time.Duration
	// MaxPerNode bounds the tunnels of one node, those being opened included,
	// and apart from them the connections of its jobs. Default: 2048.
	MaxPerNode int
}

func (c *Config) applyDefaults() {
	if c.OpenTimeout <= 0 {
		c.OpenTimeout = 10 * time.Second
	}
	if c.MaxPerNode <= 0 {
		c.MaxPerNode = 2048
	}
}

// Target is what a tunnel leads to on its node: exactly one field is set.
type Target struct {
	ReplicaID string
	// EngineEndpoint is of an adopted engine, as the node named it.
	EngineEndpoint string
	// ModelFiles leads to the files of the models that the node serves.
	ModelFiles bool
	// Log leads to the log of an engine's container.
	Log *dispatch.EngineLog
}

// String names the target, for logs.
func (t Target) String() string {
	switch {
	case t.ModelFiles:
		return "model files"
	case t.Log != nil:
		return "log of " + t.Log.ReplicaID
	}
	return cmp.Or(t.ReplicaID, t.EngineEndpoint)
}

// Server makes connections of the streams that nodes open. It runs no
// goroutine but one for each connection, which ends with it.
type Server struct {
	cfg   Config
	calls *callListener

	mu      sync.Mutex            // guards what follows
	pending map[string]*pending   // by tunnel id
	conns   map[net.Conn]struct{} // all that are open
	tunnels map[string]int        // by node: pending and open
	jobs    map[string]int        // by node: connections of jobs
	closed  bool
}

// pending is a Dial that waits for its node.
type pending struct {
	nodeID string
	target Target
	// mayBeDirect says that the node may name an address.
	mayBeDirect bool
	result      chan dialled // has room for the one answer
}

// dialled is the answer to a Dial: one of its fields.
type dialled struct {
	conn   net.Conn
	direct netip.AddrPort // where to connect to
	err    error
}

var errShutdown = fault.New(fault.Unavailable, "the orchestrator is shutting down")

// New makes a server.
func New(cfg Config) *Server {
	cfg.applyDefaults()
	return &Server{
		cfg:     cfg,
		calls:   newCallListener(),
		pending: make(map[string]*pending),
		conns:   make(map[net.Conn]struct{}),
		tunnels: make(map[string]int),
		jobs:    make(map[string]int),
	}
}

// Dial opens a connection to an engine of a node. Errors: Unavailable when the
// node is not connected, is lost meanwhile, refuses or takes too long;
// Exhausted past MaxPerNode; the context's error.
func (s *Server) Dial(ctx context.Context, nodeID string, target Target) (net.Conn, error) {
	place := s.cfg.Place
	if target.ModelFiles || target.Log != nil { // which the agent itself serves, and only on a stream
		place = loopback.Place{}
	}
	conn, err := s.dial(ctx, nodeID, target, place)
	if errors.Is(err, errNotDirect) {
		return s.dial(ctx, nodeID, target, loopback.Place{})
	}
	return conn, err
}

// dial asks the node for a connection. errNotDirect: the way it named leads nowhere.
func (s *Server) dial(ctx context.Context, nodeID string, target Target, place loopback.Place) (net.Conn, error) {
	id := uuid.NewString()
	p := &pending{nodeID: nodeID, target: target, mayBeDirect: place != loopback.Place{}, result: make(chan dialled, 1)}
	if err := s.addPending(id, p); err != nil {
		return nil, err
	}
	ask := dispatch.OpenTunnel{TunnelID: id, Place: place, ReplicaID: target.ReplicaID, EngineEndpoint: target.EngineEndpoint, ModelFiles: target.ModelFiles, Log: target.Log}
	if !s.cfg.Open(nodeID, ask) {
		return s.giveUp(id, p, fault.New(fault.Unavailable, "node %s is not connected", nodeID))
	}
	timer := time.NewTimer(s.cfg.OpenTimeout)
	defer timer.Stop()
	select {
	case d := <-p.result:
		if d.direct.IsValid() {
			return s.connect(ctx, p, d.direct)
		}
		return d.conn, d.err
	case <-timer.C:
		return s.giveUp(id, p, fault.New(fault.Unavailable,
			"node %s did not open a connection to its engine within %s", nodeID, s.cfg.OpenTimeout))
	case <-ctx.Done():
		return s.giveUp(id, p, ctx.Err())
	}
}

func (s *Server) addPending(id string, p *pending) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errShutdown
	}
	if s.tunnels[p.nodeID] >= s.cfg.MaxPerNode {
		return fault.New(fault.Exhausted, "node %s has %d connections to its engines open, the most allowed",
			p.nodeID, s.cfg.MaxPerNode)
	}
	s.tunnels[p.nodeID]++
	s.pending[id] = p
	return nil
}

// giveUp takes a Dial back; the node may have answered in the same moment.
func (s *Server) giveUp(id string, p *pending, err error) (net.Conn, error) {
	if s.take(id, p.nodeID) != nil {
		s.release(s.tunnels, p.nodeID)
		return nil, err
	}
	switch d := <-p.result; {
	case d.conn != nil:
		d.conn.Close()
	case d.direct.IsValid():
		s.release(s.tunnels, p.nodeID)
	}
	return nil, err
}

// take removes the Dial that waits for this tunnel of this node; nil when
// there is none.
func (s *Server) take(id, nodeID string) *pending {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pending[id]
	if p == nil || p.nodeID != nodeID {
		return nil
	}
	delete(s.pending, id)
	return p
}

// release gives a node's place in one of the counts back.
func (s *Server) release(counts map[string]int, nodeID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if counts[nodeID]--; counts[nodeID] <= 0 {
		delete(counts, nodeID)
	}
}

// Accept takes the stream that a node opened for a tunnel it was asked for. It
// blocks until the connection has ended; the caller then ends the stream,
// without an error when Accept returns none. A tunnel that this node was not
// asked for, or no longer is, is NotFound.
func (s *Server) Accept(nodeID, tunnelID string, stream FrameStream) error {
	p := s.take(tunnelID, nodeID)
	if p == nil {
		return fault.New(fault.NotFound, "no tunnel %q waits for node %s; it may have come too late", tunnelID, nodeID)
	}
	defer s.release(s.tunnels, nodeID)
	// Who reads of it bounds its time by closing it.
	conn := streamconn.NewWithoutDeadlines(stream, nil, "orchestrator", streamconn.Addr(nodeID+"/"+p.target.String()))
	if !s.track(conn) {
		conn.Close()
		p.result <- dialled{err: errShutdown}
		return errShutdown
	}
	defer s.untrack(conn)
	p.result <- dialled{conn: conn}
	<-conn.Done()
	return nil
}

// Refused tells that a node will not open a tunnel, and why.
func (s *Server) Refused(nodeID, tunnelID, reason string) {
	if p := s.take(tunnelID, nodeID); p != nil {
		s.fail(p, fault.New(fault.Unavailable, "node %s could not reach its engine: %s", nodeID, reason))
	}
}

// SessionLost fails what waits for a node whose assignment stream has ended,
// since the request may have been lost with it. Open tunnels stay.
func (s *Server) SessionLost(nodeID string) {
	for _, p := range s.takeAll(func(p *pending) bool { return p.nodeID == nodeID }) {
		s.fail(p, fault.New(fault.Unavailable, "the connection to node %s was lost", nodeID))
	}
}

func (s *Server) takeAll(match func(*pending) bool) []*pending {
	s.mu.Lock()
	defer s.mu.Unlock()
	var taken []*pending
	for id, p := range s.pending {
		if match(p) {
			delete(s.pending, id)
			taken = append(taken, p)
		}
	}
	return taken
}

func (s *Server) fail(p *pending, err error) {
	s.release(s.tunnels, p.nodeID)
	p.result <- dialled{err: err}
}

func (s *Server) track(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.conns[conn] = struct{}{}
	return true
}

func (s *Server) untrack(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
}

// Close fails what waits, closes every connection and the listener of Calls.
// It may be called twice.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	conns := make([]net.Conn, 0, len(s.conns))
	for conn := range s.conns {
		conns = append(conns, conn)
	}
	s.mu.Unlock()
	for _, p := range s.takeAll(func(*pending) bool { return true }) {
		s.fail(p, errShutdown)
	}
	for _, conn := range conns {
		conn.Close()
	}
	return s.calls.Close()
}
