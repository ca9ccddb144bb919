package api

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/streamconn"
)

const (
	// maxMessage bounds one gRPC message that comes in, and the body of a REST
	// request.
	maxMessage = 4 << 20
	// maxAnswer bounds one gRPC message that goes out. Node agents take as much:
	// the full set has all that a node holds in it.
	maxAnswer = 16 << 20
	// maxMetadata bounds the headers of one call.
	maxMetadata = 16 << 10
	// maxStreams bounds the concurrent calls of one connection. Node agents
	// carry all their gateway traffic and logs on one.
	maxStreams = 8192
	// readBuffer is what each connection keeps for what comes in, busy or not, in
	// bytes. What is larger is read past it.
	readBuffer = 8 << 10
	// headerTable is how much of the headers that came in each connection remembers,
	// for calls to refer to: nothing. Nodes make few calls, and there are many nodes.
	headerTable = 0
	// pingAfter is how long a connection is silent before it is probed, and
	// pingTimeout how long the answer may take. Together they bound how long
	// a client of the gateway waits for a machine that has vanished. The first
	// is longer than the time between heartbeats, so that a machine that is
	// there need not be probed.
	pingAfter   = 6 * time.Second
	pingTimeout = 4 * time.Second
	// minClientPing is how often clients may probe.
	minClientPing = 5 * time.Second
	// connectTimeout bounds the handshake of a new connection.
	connectTimeout = 10 * time.Second
)

func (s *Server) grpcOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(s.unary),
		grpc.ChainStreamInterceptor(s.stream),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxSendMsgSize(maxAnswer),
		grpc.MaxHeaderListSize(maxMetadata),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.ReadBufferSize(readBuffer),
		grpc.HeaderTableSize(headerTable),
		grpc.StaticStreamWindowSize(streamconn.StreamWindow),
		grpc.StaticConnWindowSize(streamconn.ConnWindow),
		grpc.ForceServerCodecV2(newCodec()),
		grpc.ConnectionTimeout(connectTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingAfter, Timeout: pingTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minClientPing, PermitWithoutStream: true}),
		// A call that is being carried out when the server stops is waited
		// for, so that nothing uses the store after it is closed.
		grpc.WaitForHandlers(true),
	}
}

// unary is around every unary call: it turns errors into statuses, survives
// panics and counts.
func (s *Server) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	began := time.Now()
	defer func() {
		if p := recover(); p != nil {
			err = newPanicError(p)
		}
		err = s.finish(ctx, info.FullMethod, began, err)
		if err != nil {
			resp = nil
		}
	}()
	return handler(ctx, req)
}

// stream is around every streaming call. All but tunnels end when the server
// closes.
func (s *Server) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	ctx := stream.Context()
	switch {
	// Tunnels carry requests that may finish; the tunnel server ends them.
	case strings.HasPrefix(info.FullMethod, "/"+orchionv1.Tunnel_ServiceDesc.ServiceName+"/"):
	// The handler of these sees to it itself, without a context more for each.
	case info.FullMethod == orchionv1.NodeSession_Connect_FullMethodName:
	default:
		var cancel context.CancelFunc
		ctx, cancel = s.untilClosing(ctx)
		defer cancel()
		stream = boundStream{stream, ctx}
	}
	began := time.Now()
	s.metrics.openStreams.WithLabelValues(info.FullMethod).Inc()
	defer func() {
		if p := recover(); p != nil {
			err = newPanicError(p)
		}
		s.metrics.openStreams.WithLabelValues(info.FullMethod).Dec()
		err = s.finish(ctx, info.FullMethod, began, err)
	}()
	return handler(srv, stream)
}

// boundStream is a stream with another context.
type boundStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (b boundStream) Context() context.Context { return b.ctx }

func (s *Server) finish(ctx context.Context, method string, began time.Time, err error) error {
	code := codes.OK
	if err != nil {
		st := s.statusOf(ctx, method, err)
		code, err = st.Code(), st.Err()
	}
	s.metrics.call(method, code, time.Since(began))
	return err
}

// panicError is a panic that ended one call instead of the process.
type panicError struct {
	value any
	stack []byte
}

func newPanicError(value any) *panicError { return &panicError{value, debug.Stack()} }

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.value, e.stack) }
