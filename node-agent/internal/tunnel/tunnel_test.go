package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/streamconn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// orchestrator is the far side: it takes the tunnels that the node opens.
type orchestrator struct {
	orchionv1.UnimplementedTunnelServer

	tunnels chan opened
	gateway http.Handler
	refuse  error // of calls
}

type opened struct {
	id   string
	conn *streamconn.Conn
}

type frames[Req, Res any] struct {
	grpc.BidiStreamingServer[Req, Res]

	wrap   func([]byte) *Res
	unwrap func(*Req) []byte
}

func (f frames[Req, Res]) Release()            {}
func (f frames[Req, Res]) Send(b []byte) error { return f.BidiStreamingServer.Send(f.wrap(b)) }
func (f frames[Req, Res]) Recv() ([]byte, error) {
	m, err := f.BidiStreamingServer.Recv()
	if err != nil {
		return nil, err
	}
	return f.unwrap(m), nil
}

func (o *orchestrator) Serve(stream orchionv1.Tunnel_ServeServer) error {
	md, _ := metadata.FromIncomingContext(stream.Context())
	conn := streamconn.New(frames[orchionv1.ServeRequest, orchionv1.ServeResponse]{
		stream, func(b []byte) *orchionv1.ServeResponse { return &orchionv1.ServeResponse{Data: b} },
		(*orchionv1.ServeRequest).GetData,
	}, nil, "orchestrator", "node")
	o.tunnels <- opened{md.Get("orchion-tunnel-id")[0], conn}
	<-conn.Done()
	return nil
}

func (o *orchestrator) Call(stream orchionv1.Tunnel_CallServer) error {
	if o.refuse != nil {
		return o.refuse
	}
	md, _ := metadata.FromIncomingContext(stream.Context())
	conn := streamconn.New(frames[orchionv1.CallRequest, orchionv1.CallResponse]{
		stream, func(b []byte) *orchionv1.CallResponse { return &orchionv1.CallResponse{Data: b} },
		(*orchionv1.CallRequest).GetData,
	}, nil, "gateway", "job")
	listener := &oneConn{conn: make(chan net.Conn, 1), done: conn.Done()}
	listener.conn <- conn
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Caller", md.Get("orchion-job-id")[0]+"/"+md.Get("orchion-attempt")[0])
		o.gateway.ServeHTTP(w, r)
	})}
	server.Serve(listener)
	return nil
}

type oneConn struct {
	conn chan net.Conn
	done <-chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l *oneConn) Close() error   { return nil }
func (l *oneConn) Addr() net.Addr { return streamconn.Addr("one") }

func startOrchestrator(t *testing.T, o *orchestrator) orchionv1.TunnelClient {
	t.Helper()
	o.tunnels = make(chan opened)
	listener := bufconn.Listen(1 << 16)
	server := grpc.NewServer()
	orchionv1.RegisterTunnelServer(server, o)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:test",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		server.Stop()
		// A test that opens no tunnel may be over before the server has begun.
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Error(err)
		}
	})
	return orchionv1.NewTunnelClient(conn)
}

type refusal struct{ id, reason string }

func startServer(t *testing.T, o *orchestrator, cfg Config) (*Server, <-chan refusal) {
	t.Helper()
	refused := make(chan refusal, 10)
	cfg.Client = startOrchestrator(t, o)
	cfg.Refuse = func(id, reason string) { refused <- refusal{id, reason} }
	if cfg.ReplicaAddr == nil {
		cfg.ReplicaAddr = func(string) (string, bool) { return "", false }
	}
	if cfg.EngineAllowed == nil {
		cfg.EngineAllowed = func(string) bool { return false }
	}
	s := NewServer(cfg)
	t.Cleanup(func() { s.Stop(); s.Stop() })
	return s, refused
}

func replica(id, replicaID string) *orchionv1.OpenTunnel {
	return &orchionv1.OpenTunnel{TunnelId: id, Target: &orchionv1.OpenTunnel_ReplicaId{ReplicaId: replicaID}}
}

func endpoint(id, url string) *orchionv1.OpenTunnel {
	return &orchionv1.OpenTunnel{TunnelId: id, Target: &orchionv1.OpenTunnel_EngineEndpoint{EngineEndpoint: url}}
}

// overConn is an HTTP client whose one connection is conn.
func overConn(t *testing.T, conn net.Conn) *http.Client {
	t.Helper()
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func checkBody(t *testing.T, client *http.Client, url, want string) {
	t.Helper()
	res, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || string(body) != want {
		t.Fatalf("answer %q, %v, want %q", body, err, want)
	}
}

func TestServerReachesReplicasAndAdoptedEngines(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "engine ", r.URL.Path) })
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	o := &orchestrator{}
	server, refused := startServer(t, o, Config{
		ReplicaAddr:   func(id string) (string, bool) { return plain.Listener.Addr().String(), id == "r1" },
		EngineAllowed: func(url string) bool { return url == plain.URL || url == secure.URL },
	})

	server.Open(replica("t1", "r1"))
	server.Open(replica("t1", "r1")) // said twice, opened once
	got := <-o.tunnels
	if got.id != "t1" {
		t.Fatalf("tunnel %q", got.id)
	}
	client := overConn(t, got.conn)
	checkBody(t, client, "http://engine/a", "engine /a")
	checkBody(t, client, "http://engine/b", "engine /b")

	server.Open(endpoint("t2", plain.URL))
	checkBody(t, overConn(t, (<-o.tunnels).conn), "http://engine/c", "engine /c")

	// An engine behind TLS with a certificate that nobody signed is refused.
	server.Open(endpoint("t3", secure.URL))
	if r := <-refused; r.id != "t3" || !strings.HasPrefix(r.reason, "TLS with the engine: ") {
		t.Errorf("refused %+v", r)
	}
}

func TestServerRefusals(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	o := &orchestrator{}
	server, refused := startServer(t, o, Config{
		ReplicaAddr:   func(id string) (string, bool) { return gone.Listener.Addr().String(), id == "dead" },
		EngineAllowed: func(url string) bool { return strings.Contains(url, "allowed") },
	})
	cases := []struct {
		ask  *orchionv1.OpenTunnel
		want string // prefix of the reason
	}{
		{replica("t1", "other"), "replica other is not ready on this node"},
		{replica("t2", "dead"), "the engine does not answer: "},
		{endpoint("t3", "http://10.0.0.1:22"), "engine http://10.0.0.1:22 is not adopted by this node"},
		{endpoint("t4", "file:///allowed"), `engine endpoint "file:///allowed" is not an http:// or https:// URL`},
		{&orchionv1.OpenTunnel{TunnelId: "t5"}, "the tunnel names no target"},
	}
	for _, c := range cases {
		server.Open(c.ask)
		if r := <-refused; r.id != c.ask.GetTunnelId() || !strings.HasPrefix(r.reason, c.want) {
			t.Errorf("refused %+v, want %s: %s", r, c.ask.GetTunnelId(), c.want)
		}
	}
	server.Stop()
	server.Open(replica("t6", "dead"))
	if r := <-refused; r != (refusal{"t6", "the node agent is stopping"}) {
		t.Errorf("refused %+v", r)
	}
}

func TestServerLimit(t *testing.T) {
	engine := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(engine.Close)
	o := &orchestrator{}
	server, refused := startServer(t, o, Config{
		MaxOpen:     1,
		ReplicaAddr: func(string) (string, bool) { return engine.Listener.Addr().String(), true },
	})
	server.Open(replica("t1", "r1"))
	first := <-o.tunnels
	server.Open(replica("t2", "r1"))
	if r := <-refused; r != (refusal{"t2", "1 tunnels are open, the most allowed"}) {
		t.Errorf("refused %+v", r)
	}
	server.Stop()
	<-first.conn.Done() // Stop broke it off
}

// The engine learns that the client has left while it is still thinking.
func TestEngineIsCancelledWhenTheGatewayLeaves(t *testing.T) {
	begun, cancelled := make(chan struct{}), make(chan struct{})
	engine := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		close(begun)
		<-r.Context().Done()
		close(cancelled)
	}))
	t.Cleanup(engine.Close)
	o := &orchestrator{}
	server, _ := startServer(t, o, Config{ReplicaAddr: func(string) (string, bool) { return engine.Listener.Addr().String(), true }})
	server.Open(replica("t1", "r1"))
	client := overConn(t, (<-o.tunnels).conn)
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://engine/v1/chat/completions", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error)
	go func() {
		_, err := client.Do(req)
		failed <- err
	}()
	<-begun
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("the request ended with %v", err)
	}
	<-cancelled
}

func TestDialer(t *testing.T) {
	o := &orchestrator{gateway: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "gateway ", r.URL.Path) })}
	dialer := NewDialer(startOrchestrator(t, o))
	client := dialer.HTTPClient("j1", 2)
	defer client.CloseIdleConnections()
	res, err := client.Get("http://gateway/v1/models")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || string(body) != "gateway /v1/models" || res.Header.Get("Caller") != "j1/2" {
		t.Errorf("answer %q to %q, %v", body, res.Header.Get("Caller"), err)
	}
}

func TestDialerConnectionOutlivesTheDialContext(t *testing.T) {
	o := &orchestrator{gateway: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })}
	dialer := NewDialer(startOrchestrator(t, o))
	ctx, cancel := context.WithCancel(t.Context())
	conn, err := dialer.DialGateway(ctx, "j1", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cancel()
	checkBody(t, overConn(t, conn), "http://gateway/", "ok")
	if _, err := dialer.DialGateway(ctx, "j1", 1); !errors.Is(err, context.Canceled) && status.Code(errors.Unwrap(err)) != codes.Canceled {
		t.Errorf("dial with an ended context: %v", err)
	}
}

func TestDialerRefused(t *testing.T) {
	o := &orchestrator{refuse: status.Error(codes.PermissionDenied, "attempt 1 of job j1 is not this node's")}
	dialer := NewDialer(startOrchestrator(t, o))
	conn, err := dialer.DialGateway(t.Context(), "j1", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = conn.Read(make([]byte, 1))
	if status.Code(err) != codes.PermissionDenied || !errors.Is(err, streamconn.ErrReset) {
		t.Errorf("read = %v", err)
	}
}
