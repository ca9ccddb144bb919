package tunnel

import (
	"net"
	"sync"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/shared/streamconn"
)

// Caller is the job behind a connection of [Server.Calls].
type Caller struct {
	NodeID string
	Ref    job.Ref
}

// CallConn is a connection from a job to the gateway, as the listener of
// [Server.Calls] accepts them.
type CallConn struct {
	*streamconn.Conn
	// Caller was checked by whoever called Server.Call.
	Caller Caller
}

// Calls gives the listener of the connections that jobs make. It is closed by
// the server's Close.
func (s *Server) Calls() net.Listener { return s.calls }

// Call makes a connection of a stream that a node opened for one of its jobs.
// The caller has checked that the node holds the attempt. Call blocks until the
// connection has ended. Exhausted past MaxPerNode.
func (s *Server) Call(caller Caller, stream FrameStream) error {
	if err := s.addCall(caller.NodeID); err != nil {
		return err
	}
	defer s.release(s.jobs, caller.NodeID)
	conn := &CallConn{
		Conn:   streamconn.New(stream, nil, "gateway", streamconn.Addr(caller.NodeID+"/"+caller.Ref.JobID)),
		Caller: caller,
	}
	defer conn.Close()
	if !s.track(conn.Conn) {
		return errShutdown
	}
	defer s.untrack(conn.Conn)
	select {
	case s.calls.conns <- conn:
	case <-s.calls.closed:
		return errShutdown
	case <-conn.Done():
		return nil
	}
	<-conn.Done()
	return nil
}

func (s *Server) addCall(nodeID string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errShutdown
	}
	if s.jobs[nodeID] >= s.cfg.MaxPerNode {
		return fault.New(fault.Exhausted, "the jobs of node %s have %d connections to the gateway open, the most allowed",
			nodeID, s.cfg.MaxPerNode)
	}
	s.jobs[nodeID]++
	return nil
}

// callListener is a listener that is fed with connections.
type callListener struct {
	conns  chan net.Conn
	closed chan struct{}
	close  func()
}

func newCallListener() *callListener {
	l := &callListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	l.close = sync.OnceFunc(func() { close(l.closed) })
	return l
}

// Accept waits for the next connection.
func (l *callListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept. It may be called twice.
func (l *callListener) Close() error {
	l.close()
	return nil
}

// Addr gives a name for logs.
func (l *callListener) Addr() net.Addr { return streamconn.Addr("jobs") }
