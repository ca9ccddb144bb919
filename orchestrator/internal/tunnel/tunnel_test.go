package tunnel

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"

	"github.com/orchion/orchion/orchestrator/internal/dispatch"
	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/streamconn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a Server behind a real gRPC server, and the node's client of it.
type rig struct {
	server *Server
	asked  chan dispatch.OpenTunnel
	client orchionv1.TunnelClient
	// results are what Accept and Call answered to the api.
	results chan error
}

type apiStub struct {
	orchionv1.UnimplementedTunnelServer
	*rig
}

type serveFrames struct{ orchionv1.Tunnel_ServeServer }

func (s serveFrames) Release() {}
func (s serveFrames) Send(f []byte) error {
	return s.Tunnel_ServeServer.Send(&orchionv1.ServeResponse{Data: f})
}
func (s serveFrames) Recv() ([]byte, error) {
	m, err := s.Tunnel_ServeServer.Recv()
	return m.GetData(), err
}

type callFrames struct{ orchionv1.Tunnel_CallServer }

func (s callFrames) Release() {}
func (s callFrames) Send(f []byte) error {
	return s.Tunnel_CallServer.Send(&orchionv1.CallResponse{Data: f})
}
func (s callFrames) Recv() ([]byte, error) {
	m, err := s.Tunnel_CallServer.Recv()
	return m.GetData(), err
}

func (a apiStub) Serve(stream orchionv1.Tunnel_ServeServer) error {
	md, _ := metadata.FromIncomingContext(stream.Context())
	err := a.server.Accept(md.Get("orchion-node-id")[0], md.Get("orchion-tunnel-id")[0], serveFrames{stream})
	a.results <- err
	return err
}

func (a apiStub) Call(stream orchionv1.Tunnel_CallServer) error {
	md, _ := metadata.FromIncomingContext(stream.Context())
	caller := Caller{NodeID: md.Get("orchion-node-id")[0], Ref: job.Ref{JobID: md.Get("orchion-job-id")[0], Attempt: 1}}
	err := a.server.Call(caller, callFrames{stream})
	a.results <- err
	return err
}

func newRig(t *testing.T, cfg Config) *rig {
	t.Helper()
	r := &rig{asked: make(chan dispatch.OpenTunnel, 10), results: make(chan error, 10)}
	if cfg.Open == nil {
		cfg.Open = func(nodeID string, m dispatch.OpenTunnel) bool {
			if nodeID != "n1" {
				return false
			}
			r.asked <- m
			return true
		}
	}
	r.server = New(cfg)
	listener := bufconn.Listen(1 << 16)
	grpcServer := grpc.NewServer()
	orchionv1.RegisterTunnelServer(grpcServer, apiStub{rig: r})
	served := make(chan error, 1)
	go func() { served <- grpcServer.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:test",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	r.client = orchionv1.NewTunnelClient(conn)
	t.Cleanup(func() {
		r.server.Close()
		r.server.Close() // twice is fine
		conn.Close()
		grpcServer.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return r
}

type nodeServe struct{ orchionv1.Tunnel_ServeClient }

func (s nodeServe) Release() {}
func (s nodeServe) Send(f []byte) error {
	return s.Tunnel_ServeClient.Send(&orchionv1.ServeRequest{Data: f})
}
func (s nodeServe) Recv() ([]byte, error) {
	m, err := s.Tunnel_ServeClient.Recv()
	return m.GetData(), err
}

type nodeCall struct{ orchionv1.Tunnel_CallClient }

func (s nodeCall) Release() {}
func (s nodeCall) Send(f []byte) error {
	return s.Tunnel_CallClient.Send(&orchionv1.CallRequest{Data: f})
}
func (s nodeCall) Recv() ([]byte, error) {
	m, err := s.Tunnel_CallClient.Recv()
	return m.GetData(), err
}

// openAs answers a tunnel as a node would.
func (r *rig) openAs(t *testing.T, nodeID, tunnelID string) *streamconn.Conn {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	stream, err := r.client.Serve(metadata.AppendToOutgoingContext(ctx, "orchion-node-id", nodeID, "orchion-tunnel-id", tunnelID))
	if err != nil {
		t.Fatal(err)
	}
	conn := streamconn.New(nodeServe{stream}, cancel, "node", "orchestrator")
	t.Cleanup(func() { conn.Close() })
	return conn
}

func (r *rig) callAs(t *testing.T, nodeID, jobID string) *streamconn.Conn {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	stream, err := r.client.Call(metadata.AppendToOutgoingContext(ctx, "orchion-node-id", nodeID, "orchion-job-id", jobID))
	if err != nil {
		t.Fatal(err)
	}
	conn := streamconn.New(nodeCall{stream}, cancel, "job", "gateway")
	t.Cleanup(func() { conn.Close() })
	return conn
}

type dialResult struct {
	conn net.Conn
	err  error
}

func (r *rig) dial(ctx context.Context, nodeID string, target Target) <-chan dialResult {
	result := make(chan dialResult, 1)
	go func() {
		conn, err := r.server.Dial(ctx, nodeID, target)
		result <- dialResult{conn, err}
	}()
	return result
}

func checkFault(t *testing.T, err error, code fault.Code, message string) {
	t.Helper()
	if fault.CodeOf(err) != code || err == nil || err.Error() != message {
		t.Fatalf("error = %v (code %d), want %q (code %d)", err, fault.CodeOf(err), message, code)
	}
}

func TestDialGivesTheConnectionThatTheNodeOpens(t *testing.T) {
	r := newRig(t, Config{})
	result := r.dial(t.Context(), "n1", Target{ReplicaID: "r1"})
	ask := <-r.asked
	if ask.ReplicaID != "r1" || ask.EngineEndpoint != "" || ask.TunnelID == "" {
		t.Fatalf("the node was asked for %+v", ask)
	}
	node := r.openAs(t, "n1", ask.TunnelID)
	d := <-result
	if d.err != nil {
		t.Fatal(d.err)
	}
	if got := d.conn.RemoteAddr().String(); got != "n1/r1" {
		t.Errorf("remote address = %q", got)
	}
	go d.conn.Write([]byte("hello"))
	buf := make([]byte, 5)
	if _, err := io.ReadFull(node, buf); err != nil || string(buf) != "hello" {
		t.Fatalf("the node read %q, %v", buf, err)
	}

	// The gateway's Close ends the node's stream cleanly.
	d.conn.Close()
	if _, err := node.Read(buf); !errors.Is(err, io.EOF) {
		t.Errorf("the node read %v, want io.EOF", err)
	}
	if err := <-r.results; err != nil {
		t.Errorf("Accept = %v, want nil", err)
	}
}

func TestDialEndpoint(t *testing.T) {
	r := newRig(t, Config{})
	result := r.dial(t.Context(), "n1", Target{EngineEndpoint: "http://127.0.0.1:11434"})
	ask := <-r.asked
	if ask.EngineEndpoint != "http://127.0.0.1:11434" || ask.ReplicaID != "" {
		t.Fatalf("the node was asked for %+v", ask)
	}
	r.openAs(t, "n1", ask.TunnelID)
	d := <-result
	if d.err != nil {
		t.Fatal(d.err)
	}
	d.conn.Close()
}

func TestNodeThatLeavesBreaksTheConnection(t *testing.T) {
	r := newRig(t, Config{})
	result := r.dial(t.Context(), "n1", Target{ReplicaID: "r1"})
	node := r.openAs(t, "n1", (<-r.asked).TunnelID)
	d := <-result
	if d.err != nil {
		t.Fatal(d.err)
	}
	node.Close()
	if _, err := d.conn.Read(make([]byte, 1)); !errors.Is(err, streamconn.ErrReset) {
		t.Errorf("read = %v, want ErrReset", err)
	}
	if err := <-r.results; err != nil {
		t.Errorf("Accept = %v, want nil", err)
	}
}

func TestDialFailures(t *testing.T) {
	t.Run("node not connected", func(t *testing.T) {
		r := newRig(t, Config{})
		_, err := r.server.Dial(t.Context(), "n2", Target{ReplicaID: "r1"})
		checkFault(t, err, fault.Unavailable, "node n2 is not connected")
	})
	t.Run("refused", func(t *testing.T) {
		r := newRig(t, Config{})
		result := r.dial(t.Context(), "n1", Target{ReplicaID: "r1"})
		id := (<-r.asked).TunnelID
		r.server.Refused("n2", id, "not mine") // of another node: says nothing
		r.server.Refused("n1", id, "replica r1 is not ready on this node")
		checkFault(t, (<-result).err, fault.Unavailable, "node n1 could not reach its engine: replica r1 is not ready on this node")
		r.server.Refused("n1", id, "again")
	})
	t.Run("session lost", func(t *testing.T) {
		r := newRig(t, Config{})
		result := r.dial(t.Context(), "n1", Target{ReplicaID: "r1"})
		<-r.asked
		r.server.SessionLost("n2")
		r.server.SessionLost("n1")
		checkFault(t, (<-result).err, fault.Unavailable, "the connection to node n1 was lost")
	})
	t.Run("cancelled", func(t *testing.T) {
		r := newRig(t, Config{})
		ctx, cancel := context.WithCancel(t.Context())
		result := r.dial(ctx, "n1", Target{ReplicaID: "r1"})
		ask := <-r.asked
		cancel()
		if err := (<-result).err; !errors.Is(err, context.Canceled) {
			t.Fatalf("error = %v", err)
		}
		// The node's answer comes too late.
		r.openAs(t, "n1", ask.TunnelID)
		checkFault(t, <-r.results, fault.NotFound, fmt.Sprintf("no tunnel %q waits for node n1; it may have come too late", ask.TunnelID))
	})
	t.Run("shut down", func(t *testing.T) {
		r := newRig(t, Config{})
		result := r.dial(t.Context(), "n1", Target{ReplicaID: "r1"})
		<-r.asked
		r.server.Close()
		checkFault(t, (<-result).err, fault.Unavailable, "the orchestrator is shutting down")
		_, err := r.server.Dial(t.Context(), "n1", Target{ReplicaID: "r1"})
		checkFault(t, err, fault.Unavailable, "the orchestrator is shutting down")
	})
	t.Run("too many", func(t *testing.T) {
		r := newRig(t, Config{MaxPerNode: 1})
		ctx, cancel := context.WithCancel(t.Context())
		first := r.dial(ctx, "n1", Target{ReplicaID: "r1"})
		<-r.asked
		_, err := r.server.Dial(t.Context(), "n1", Target{ReplicaID: "r1"})
		checkFault(t, err, fault.Exhausted, "node n1 has 1 connections to its engines open, the most allowed")
		cancel()
		<-first
		third := r.dial(t.Context(), "n1", Target{ReplicaID: "r1"})
		r.server.Refused("n1", (<-r.asked).TunnelID, "no") // it got as far as being asked for
		<-third
	})
}

func TestDialTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := New(Config{Open: func(string, dispatch.OpenTunnel) bool { return true }})
		start := time.Now()
		_, err := server.Dial(t.Context(), "n1", Target{ReplicaID: "r1"})
		checkFault(t, err, fault.Unavailable, "node n1 did not open a connection to its engine within 10s")
		if waited := time.Since(start); waited != 10*time.Second {
			t.Errorf("waited %s", waited)
		}
	})
}

func TestTunnelOfAnotherNodeIsRefused(t *testing.T) {
	r := newRig(t, Config{})
	result := r.dial(t.Context(), "n1", Target{ReplicaID: "r1"})
	ask := <-r.asked
	thief := r.openAs(t, "n2", ask.TunnelID)
	if _, err := thief.Read(make([]byte, 1)); !errors.Is(err, streamconn.ErrReset) {
		t.Errorf("the other node read %v", err)
	}
	checkFault(t, <-r.results, fault.NotFound, fmt.Sprintf("no tunnel %q waits for node n2; it may have come too late", ask.TunnelID))
	r.openAs(t, "n1", ask.TunnelID)
	d := <-result
	if d.err != nil {
		t.Fatalf("the thief spoilt it: %v", d.err)
	}
	d.conn.Close()
}

func TestCloseBreaksOpenTunnels(t *testing.T) {
	r := newRig(t, Config{})
	result := r.dial(t.Context(), "n1", Target{ReplicaID: "r1"})
	node := r.openAs(t, "n1", (<-r.asked).TunnelID)
	d := <-result
	r.server.Close()
	if _, err := d.conn.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read = %v", err)
	}
	<-node.Done()
}

// serveCalls serves HTTP on the listener of calls as the gateway does.
func serveCalls(t *testing.T, r *rig, handler http.HandlerFunc) {
	t.Helper()
	type callerKey struct{}
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			caller := req.Context().Value(callerKey{}).(Caller)
			w.Header().Set("Caller", caller.NodeID+" "+caller.Ref.JobID)
			handler(w, req)
		}),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, callerKey{}, c.(*CallConn).Caller)
		},
	}
	done := make(chan struct{})
	go func() { defer close(done); server.Serve(r.server.Calls()) }()
	t.Cleanup(func() { server.Close(); <-done })
}

func TestCallsReachTheGateway(t *testing.T) {
	r := newRig(t, Config{})
	begun, gone := make(chan struct{}), make(chan struct{})
	serveCalls(t, r, func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/wait" {
			close(begun)
			<-req.Context().Done()
			close(gone)
			return
		}
		io.WriteString(w, "answer")
	})
	conn := r.callAs(t, "n1", "j1")
	reader := bufio.NewReader(conn)
	for range 3 { // one connection carries one request after the other
		io.WriteString(conn, "GET /v1/models HTTP/1.1\r\nHost: gateway\r\n\r\n")
		res, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil || string(body) != "answer" || res.Header.Get("Caller") != "n1 j1" {
			t.Fatalf("answer %q to %q, %v", body, res.Header.Get("Caller"), err)
		}
	}

	// A job that leaves cancels its request.
	io.WriteString(conn, "GET /wait HTTP/1.1\r\nHost: gateway\r\n\r\n")
	<-begun
	conn.Close()
	<-gone
}

func TestCallLimitsAndShutdown(t *testing.T) {
	r := newRig(t, Config{MaxPerNode: 1})
	serveCalls(t, r, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })
	first := r.callAs(t, "n1", "j1")
	io.WriteString(first, "GET / HTTP/1.1\r\nHost: gateway\r\n\r\n")
	if _, err := http.ReadResponse(bufio.NewReader(first), nil); err != nil {
		t.Fatal(err)
	}
	second := r.callAs(t, "n1", "j1")
	if _, err := second.Read(make([]byte, 1)); err == nil ||
		!strings.Contains(err.Error(), "the jobs of node n1 have 1 connections to the gateway open, the most allowed") {
		t.Errorf("the connection beyond the limit read %v", err)
	}
	if err := <-r.results; fault.CodeOf(err) != fault.Exhausted {
		t.Errorf("Call = %v, want Exhausted", err)
	}
	r.server.Close()
	<-first.Done()
	late := r.callAs(t, "n1", "j1")
	if _, err := late.Read(make([]byte, 1)); err == nil {
		t.Error("a call after Close was taken")
	}
}
