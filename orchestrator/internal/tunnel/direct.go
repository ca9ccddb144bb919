package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/shared/loopback"
)

// errNotDirect says that an address which a node named could not be reached.
var errNotDirect = errors.New("the engine is not reached directly")

// directTimeout bounds connecting to an address of this machine, which answers at
// once or not at all.
const directTimeout = 2 * time.Second

// Direct takes the address that a node named instead of opening a tunnel. The caller
// has checked that the node's connection comes from this machine. It does not block.
func (s *Server) Direct(nodeID, tunnelID, address string) {
	p := s.take(tunnelID, nodeID)
	if p == nil {
		return // it came too late
	}
	to, ok := loopback.Parse(address)
	switch {
	case !p.mayBeDirect:
		s.fail(p, fault.New(fault.Unavailable, "node %s named an address and was not asked for one", nodeID))
	case !ok:
		s.fail(p, fault.New(fault.Unavailable, "node %s named an address that is not one of loopback", nodeID))
	case slices.Contains(s.cfg.OwnPorts, to.Port()):
		s.fail(p, fault.New(fault.Unavailable, "node %s named a port of the orchestrator as its engine's", nodeID))
	default:
		p.result <- dialled{direct: to}
	}
}

// connect connects to the address that a node named. The place in the node's count
// is the connection's from then on.
func (s *Server) connect(ctx context.Context, p *pending, to netip.AddrPort) (net.Conn, error) {
	dialer := net.Dialer{Timeout: directTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", to.String())
	if err != nil {
		s.release(s.tunnels, p.nodeID)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w: %w", errNotDirect, err)
	}
	socket, ok := conn.(*net.TCPConn)
	if !ok { // "tcp" gives nothing else
		conn.Close()
		s.release(s.tunnels, p.nodeID)
		return nil, errNotDirect
	}
	direct := &directConn{TCPConn: socket}
	direct.ended = sync.OnceFunc(func() {
		s.untrack(direct)
		s.release(s.tunnels, p.nodeID)
	})
	if !s.track(direct) {
		direct.Close()
		return nil, errShutdown
	}
	return direct, nil
}

// directConn is a connection to an engine on this machine, which counts as one of
// the node's until it is closed.
type directConn struct {
	*net.TCPConn

	ended func()
}

// Close implements net.Conn.
func (c *directConn) Close() error {
	defer c.ended()
	return c.TCPConn.Close()
}
