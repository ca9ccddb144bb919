// Package tunnel is the node's end of the connections that carry gateway
// traffic. All of them are streams on the connection that the node opened to
// the orchestrator: [Server] answers the orchestrator's wish to reach one of
// this machine's engines, [Dialer] makes connections from this machine's jobs
// to the gateway.
package tunnel

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/loopback"
	"github.com/orchion/orchion/shared/streamconn"
)

// metadataTunnelID names the tunnel that a stream answers.
const metadataTunnelID = "orchion-tunnel-id"

// asFrames makes no messages of what streams carry.
var asFrames = grpc.ForceCodecV2(streamconn.NewCodec())

// Config says how a Server works. Client, ReplicaAddr, EngineAllowed and Refuse
// are required.
type Config struct {
	// Client speaks over a connection whose interceptors name this node.
	Client orchionv1.TunnelClient
	// ReplicaAddr gives the host:port at which a replica's engine listens on
	// this machine; false: there is no such replica here.
	ReplicaAddr func(replicaID string) (addr string, ok bool)
	// EngineAllowed says whether the endpoint is one of an engine that this node
	// adopted and told the orchestrator of. Nothing else is dialled, whatever
	// the orchestrator asks for.
	EngineAllowed func(endpoint string) bool
	// Place is where this program runs. The zero value: it is not known.
	Place loopback.Place
	// Direct tells the orchestrator an address at which it reaches an engine itself;
	// it is needed with Place. It must not block.
	Direct func(tunnelID, address string)
	// ServeModels serves the files of this machine's models on a connection, and
	// returns at once. Default: there are none.
	ServeModels func(net.Conn)
	// OpenLog finds the log of the container of an engine. Default: there are none.
	OpenLog func(ctx context.Context, ask *orchionv1.EngineLog) (Log, error)
	// Refuse tells the orchestrator that a tunnel will not come. It must not
	// block.
	Refuse func(tunnelID, reason string)
	// DialTimeout is how long an engine may take to accept. Default: 5 s.
	DialTimeout time.Duration
	// MaxOpen bounds the tunnels open at once. Default: 2048.
	MaxOpen int
	// Logger defaults to one that discards.
	Logger *slog.Logger
}

func (c *Config) applyDefaults() {
	if c.DialTimeout <= 0 {
		c.DialTimeout = 5 * time.Second
	}
	if c.MaxOpen <= 0 {
		c.MaxOpen = 2048
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// Server opens the tunnels that the orchestrator asks for.
type Server struct {
	cfg    Config
	ctx    context.Context // ends in Stop
	cancel context.CancelFunc

	mu      sync.Mutex // guards what follows
	open    map[string]struct{}
	stopped bool
	wg      sync.WaitGroup // one for each of open; Add only while not stopped
}

// NewServer makes a Server; it serves until Stop.
func NewServer(cfg Config) *Server {
	cfg.applyDefaults()
	ctx, cancel := context.WithCancel(context.Background())
	return &Server{cfg: cfg, ctx: ctx, cancel: cancel, open: make(map[string]struct{})}
}

// Open begins to open a tunnel and returns at once. What goes wrong before the
// engine is reached is told through Refuse. An id that is open already is
// ignored.
func (s *Server) Open(ask *orchionv1.OpenTunnel) {
	id := ask.GetTunnelId()
	s.mu.Lock()
	_, again := s.open[id]
	switch {
	case again:
		s.mu.Unlock()
		return
	case s.stopped:
		s.mu.Unlock()
		s.cfg.Refuse(id, "the node agent is stopping")
		return
	case len(s.open) >= s.cfg.MaxOpen:
		s.mu.Unlock()
		s.cfg.Refuse(id, fmt.Sprintf("%d tunnels are open, the most allowed", s.cfg.MaxOpen))
		return
	}
	s.open[id] = struct{}{}
	s.wg.Add(1)
	s.mu.Unlock()
	go func() {
		defer s.wg.Done()
		defer func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.open, id)
		}()
		s.serve(ask)
	}()
}

// Stop breaks off all tunnels and waits for their end. It may be called twice.
func (s *Server) Stop() {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.cancel()
	s.wg.Wait()
}

func (s *Server) serve(ask *orchionv1.OpenTunnel) {
	if ask.GetModelFiles() {
		s.serveModels(ask)
		return
	}
	if ask.GetEngineLog() != nil {
		s.serveLog(ask)
		return
	}
	id := ask.GetTunnelId()
	if address, ok := s.direct(ask); ok {
		s.cfg.Direct(id, address)
		return
	}
	engine, err := s.dialEngine(ask)
	if err != nil {
		s.cfg.Refuse(id, err.Error())
		return
	}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	stream, err := s.cfg.Client.Serve(metadata.AppendToOutgoingContext(ctx, metadataTunnelID, id), asFrames)
	if err != nil {
		engine.Close()
		s.cfg.Refuse(id, "the tunnel could not be opened")
		s.cfg.Logger.Warn("tunnel could not be opened", "tunnel_id", id, "error", err)
		return
	}
	conn := streamconn.NewWithoutDeadlines(streamconn.OverGRPC(stream), cancel, "node", streamconn.Addr("tunnel/"+id))
	if err := streamconn.Join(ctx, conn, engine); err != nil && !streamconn.IsGone(err) {
		s.cfg.Logger.Warn("tunnel broke", "tunnel_id", id, "replica_id", ask.GetReplicaId(),
			"endpoint", ask.GetEngineEndpoint(), "error", err)
	}
}

// serveModels gives a tunnel to whoever has the files of this machine's models.
func (s *Server) serveModels(ask *orchionv1.OpenTunnel) {
	id := ask.GetTunnelId()
	if s.cfg.ServeModels == nil {
		s.cfg.Refuse(id, "this node does not share its models")
		return
	}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	stream, err := s.cfg.Client.Serve(metadata.AppendToOutgoingContext(ctx, metadataTunnelID, id), asFrames)
	if err != nil {
		s.cfg.Refuse(id, "the tunnel could not be opened")
		return
	}
	conn := streamconn.New(streamconn.OverGRPC(stream), cancel, "node", streamconn.Addr("tunnel/"+id))
	conn.SendBulk()
	closed := make(chan struct{})
	s.cfg.ServeModels(&servedConn{Conn: conn, closed: sync.OnceFunc(func() { close(closed) })})
	select {
	case <-closed:
		linger(conn)
	case <-conn.Done():
	}
}

// dialEngine connects to what the orchestrator may reach here. Its errors are
// for the orchestrator.
func (s *Server) dialEngine(ask *orchionv1.OpenTunnel) (streamconn.HalfCloser, error) {
	addr, secure, err := s.resolve(ask)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.DialTimeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("the engine does not answer: %w", err)
	}
	plain, ok := conn.(*net.TCPConn)
	if !ok { // "tcp" gives nothing else
		conn.Close()
		return nil, errors.New("the engine is not reached over TCP")
	}
	if !secure {
		return plain, nil
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("the engine's address: %w", err)
	}
	wrapped := tls.Client(conn, &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}})
	if err := wrapped.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("TLS with the engine: %w", err)
	}
	return wrapped, nil
}

func (s *Server) resolve(ask *orchionv1.OpenTunnel) (addr string, secure bool, err error) {
	switch target := ask.GetTarget().(type) {
	case *orchionv1.OpenTunnel_ReplicaId:
		addr, ok := s.cfg.ReplicaAddr(target.ReplicaId)
		if !ok {
			return "", false, fmt.Errorf("replica %s is not ready on this node", target.ReplicaId)
		}
		return addr, false, nil
	case *orchionv1.OpenTunnel_EngineEndpoint:
		if !s.cfg.EngineAllowed(target.EngineEndpoint) {
			return "", false, fmt.Errorf("engine %s is not adopted by this node", target.EngineEndpoint)
		}
		return endpointAddr(target.EngineEndpoint)
	}
	return "", false, errors.New("the tunnel names no target")
}

// endpointAddr gives the host:port of an engine's URL and whether it takes TLS.
func endpointAddr(endpoint string) (addr string, secure bool, err error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Hostname() == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return "", false, fmt.Errorf("engine endpoint %q is not an http:// or https:// URL", endpoint)
	}
	secure = u.Scheme == "https"
	port := u.Port()
	switch {
	case port == "" && secure:
		port = "443"
	case port == "":
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port), secure, nil
}
