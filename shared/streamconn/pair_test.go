package streamconn_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/streamconn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A maker makes the two ends of one connection: the one that opened the stream
// and the one that serves it.
type maker func(t *testing.T) (opener, server *streamconn.Conn)

func makers() map[string]maker {
	return map[string]maker{
		"memory":       memoryPair,
		"grpc bufconn": func(t *testing.T) (_, _ *streamconn.Conn) { t.Helper(); return grpcPair(t, bufconnListener) },
		"grpc tcp":     func(t *testing.T) (_, _ *streamconn.Conn) { t.Helper(); return grpcPair(t, tcpListener) },
		"grpc without deadlines": func(t *testing.T) (_, _ *streamconn.Conn) {
			t.Helper()
			return grpcLink(t, tcpListener, streamconn.NewWithoutDeadlines)()
		},
	}
}

// forEachWithDeadlines runs a test over every kind of stream with deadlines, which
// an http.Server needs.
func forEachWithDeadlines(t *testing.T, test func(t *testing.T, opener, server *streamconn.Conn)) {
	t.Helper()
	forEach(t, func(t *testing.T, opener, server *streamconn.Conn) {
		if server.SetReadDeadline(time.Time{}) == nil {
			test(t, opener, server)
		}
	})
}

// forEach runs a test over every kind of stream.
func forEach(t *testing.T, test func(t *testing.T, opener, server *streamconn.Conn)) {
	t.Helper()
	for name, make := range makers() {
		t.Run(name, func(t *testing.T) {
			opener, server := make(t)
			test(t, opener, server)
		})
	}
}

// memoryStream is one end of a stream made of channels: it works in a synctest
// bubble, and blocks a Send until the peer receives.
type memoryStream struct {
	ctx  context.Context
	in   <-chan []byte
	out  chan<- []byte
	over <-chan struct{} // the serving end has ended the stream cleanly
}

func (m memoryStream) Context() context.Context { return m.ctx }

func (m memoryStream) Release() {}

func (m memoryStream) Send(frame []byte) error {
	select {
	case m.out <- append([]byte{}, frame...):
		return nil
	case <-m.over:
		return io.EOF
	case <-m.ctx.Done():
		return context.Cause(m.ctx)
	}
}

func (m memoryStream) Recv() ([]byte, error) {
	select {
	case frame := <-m.in:
		return frame, nil
	case <-m.over:
		return nil, io.EOF
	case <-m.ctx.Done():
		return nil, context.Cause(m.ctx)
	}
}

func memoryPair(t *testing.T) (opener, server *streamconn.Conn) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(context.Background())
	up, down := make(chan []byte), make(chan []byte)
	over := make(chan struct{})
	endCleanly := sync.OnceFunc(func() { close(over) })
	opener = streamconn.New(memoryStream{ctx, down, up, over}, func() { cancel(errors.New("cancelled by the opener")) }, "a", "b")
	server = streamconn.New(memoryStream{ctx, up, down, over}, endCleanly, "b", "a")
	t.Cleanup(func() { opener.Close(); server.Close() })
	return opener, server
}

func bufconnListener(t *testing.T) (net.Listener, func(context.Context, string) (net.Conn, error)) {
	t.Helper()
	l := bufconn.Listen(1 << 20)
	return l, func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }
}

func tcpListener(t *testing.T) (net.Listener, func(context.Context, string) (net.Conn, error)) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l, func(ctx context.Context, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
	}
}

// tunnelService hands each Serve stream to the test as a connection.
type tunnelService struct {
	orchionv1.UnimplementedTunnelServer

	conns chan *streamconn.Conn
	of    constructor
}

type constructor func(stream streamconn.Stream, end func(), local, remote streamconn.Addr) *streamconn.Conn

func newTunnelService(of constructor) *tunnelService {
	return &tunnelService{conns: make(chan *streamconn.Conn), of: of}
}

func (s *tunnelService) Serve(stream orchionv1.Tunnel_ServeServer) error {
	conn := s.of(streamconn.OverGRPC(stream), nil, "server", "opener")
	s.conns <- conn
	<-conn.Done()
	return nil
}

func grpcPair(t *testing.T, listen func(*testing.T) (net.Listener, func(context.Context, string) (net.Conn, error))) (opener, server *streamconn.Conn) {
	t.Helper()
	return grpcLink(t, listen, streamconn.New)()
}

// grpcLink makes a connection of gRPC with the windows that both programs set, and
// gives what makes pairs whose streams share it.
func grpcLink(t *testing.T, listen func(*testing.T) (net.Listener, func(context.Context, string) (net.Conn, error)), of constructor) (pair func() (opener, server *streamconn.Conn)) {
	t.Helper()
	listener, dial := listen(t)
	service := newTunnelService(of)
	grpcServer := grpc.NewServer(grpc.ForceServerCodecV2(streamconn.NewCodec()), grpc.StaticStreamWindowSize(streamconn.StreamWindow), grpc.StaticConnWindowSize(streamconn.ConnWindow))
	orchionv1.RegisterTunnelServer(grpcServer, service)
	served := make(chan error, 1)
	go func() { served <- grpcServer.Serve(listener) }()
	client, err := grpc.NewClient("passthrough:test", grpc.WithContextDialer(dial),
		grpc.WithStaticStreamWindowSize(streamconn.StreamWindow), grpc.WithStaticConnWindowSize(streamconn.ConnWindow),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(streamconn.NewCodec())), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		grpcServer.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return func() (opener, server *streamconn.Conn) {
		ctx, cancel := context.WithCancel(context.Background())
		stream, err := orchionv1.NewTunnelClient(client).Serve(ctx)
		if err != nil {
			t.Fatal(err)
		}
		opener = of(streamconn.OverGRPC(stream), cancel, "opener", "server")
		server = <-service.conns
		t.Cleanup(func() {
			opener.Close()
			server.Close()
		})
		return opener, server
	}
}
