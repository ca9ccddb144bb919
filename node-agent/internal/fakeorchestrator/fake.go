// Package fakeorchestrator is a scripted orchestrator for tests of the node agent: a real
// gRPC server in memory whose answers a test decides. It runs under testing/synctest.
package fakeorchestrator

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// Fake is the orchestrator. Its exported fields are set before Start.
type Fake struct {
	orchionv1.UnimplementedOrchestratorServer
	orchionv1.UnimplementedNodeSessionServer
	orchionv1.UnimplementedBlobsServer
	orchionv1.UnimplementedArtifactSessionServer

	// Interval and LeaseTTL are what a registration is answered.
	Interval, LeaseTTL time.Duration
	// Streams receives each Connect stream as it comes.
	Streams chan *Stream

	mu       sync.Mutex // guards what follows
	listener *bufconn.Listener
	server   *grpc.Server
	served   chan struct{}
	fail     map[string]error // by method; see Fail
	calls    []string
	nodes    []*orchionv1.RegisterNodeRequest
	usages   []*orchionv1.NodeUsage
	logs     map[string]*Log
	cutLogs  int // streams of logs to break
	cutAfter int // after so many entries
	blobs    map[string][]byte
	cutBlobs int // streams of blobs to break

	artifacts         map[string]*Artifacts // by job
	cutArtifacts      int                   // streams of artifacts to break
	cutArtifactsAfter int                   // after so many contents
	loseContents      bool
}

// Log is what was pushed of one attempt.
type Log struct {
	Stdout, Stderr []*orchionv1.LogEntry
	Closed         bool
	Streams        int // how many streams carried it
}

// New makes a Fake that beats every second and leases for 30 s.
func New() *Fake {
	return &Fake{
		Interval: time.Second, LeaseTTL: 30 * time.Second, Streams: make(chan *Stream, 16),
		fail: map[string]error{}, logs: map[string]*Log{},
	}
}

// Start begins to serve; Stop and Start again are a restart.
func (f *Fake) Start() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.listener = bufconn.Listen(1 << 20)
	f.server = grpc.NewServer()
	f.served = make(chan struct{})
	orchionv1.RegisterOrchestratorServer(f.server, f)
	orchionv1.RegisterNodeSessionServer(f.server, f)
	orchionv1.RegisterBlobsServer(f.server, f)
	orchionv1.RegisterArtifactSessionServer(f.server, f)
	server, listener, served := f.server, f.listener, f.served
	go func() {
		defer close(served)
		_ = server.Serve(listener) // ends with Stop
	}()
}

// Stop breaks all connections.
func (f *Fake) Stop() {
	f.mu.Lock()
	server, served := f.server, f.served
	f.server, f.listener = nil, nil
	f.mu.Unlock()
	if server != nil {
		server.Stop()
		<-served
	}
}

// DialOptions lead a client here.
func (f *Fake) DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			f.mu.Lock()
			listener := f.listener
			f.mu.Unlock()
			if listener == nil {
				return nil, errors.New("connection refused")
			}
			return listener.DialContext(ctx)
		}),
	}
}

// Fail makes the method (RegisterNode, Heartbeat, ...) fail; nil lets it work again.
func (f *Fake) Fail(method string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail[method] = err
}

// CutLogs breaks the next n log streams after so many entries each.
func (f *Fake) CutLogs(n, after int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cutLogs, f.cutAfter = n, after
}

// Calls lists the unary calls so far, by method.
func (f *Fake) Calls() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.calls...)
}

// Registered lists the registrations so far.
func (f *Fake) Registered() []*orchionv1.RegisterNodeRequest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*orchionv1.RegisterNodeRequest(nil), f.nodes...)
}

// Usages lists what the heartbeats so far carried.
func (f *Fake) Usages() []*orchionv1.NodeUsage {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*orchionv1.NodeUsage(nil), f.usages...)
}

// LogOf gives what was pushed of a job's log.
func (f *Fake) LogOf(jobID string) Log {
	f.mu.Lock()
	defer f.mu.Unlock()
	if l := f.logs[jobID]; l != nil {
		return *l
	}
	return Log{}
}

func (f *Fake) called(method string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, method)
	return f.fail[method]
}

// RegisterNode implements orchionv1.OrchestratorServer.
func (f *Fake) RegisterNode(_ context.Context, req *orchionv1.RegisterNodeRequest) (*orchionv1.RegisterNodeResponse, error) {
	if err := f.called("RegisterNode"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nodes = append(f.nodes, req)
	return &orchionv1.RegisterNodeResponse{
		NodeId: req.GetNode().GetId(), Node: req.GetNode(),
		HeartbeatInterval: durationpb.New(f.Interval), LeaseTtl: durationpb.New(f.LeaseTTL),
	}, nil
}

// Heartbeat implements orchionv1.OrchestratorServer.
func (f *Fake) Heartbeat(_ context.Context, req *orchionv1.HeartbeatRequest) (*orchionv1.HeartbeatResponse, error) {
	if err := f.called("Heartbeat"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.usages = append(f.usages, req.GetUsage())
	return &orchionv1.HeartbeatResponse{HeartbeatInterval: durationpb.New(f.Interval)}, nil
}

// DeregisterNode implements orchionv1.OrchestratorServer.
func (f *Fake) DeregisterNode(context.Context, *orchionv1.DeregisterNodeRequest) (*emptypb.Empty, error) {
	if err := f.called("DeregisterNode"); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

// Stream is one Connect stream, as the orchestrator sees it.
type Stream struct {
	// NodeID and InstanceID are from the call's metadata.
	NodeID, InstanceID string
	Hello              *orchionv1.Hello
	// Said receives what the node says after its hello.
	Said chan *orchionv1.ConnectRequest

	out  chan *orchionv1.ConnectResponse
	end  chan error
	done chan struct{}
}

// Say sends a message; its sequence is filled in unless it has one.
func (s *Stream) Say(m *orchionv1.ConnectResponse) {
	select {
	case s.out <- m:
	case <-s.done:
	}
}

// End ends the stream with an error.
func (s *Stream) End(err error) {
	select {
	case s.end <- err:
	case <-s.done:
	}
}

// Done is closed when the stream has ended.
func (s *Stream) Done() <-chan struct{} { return s.done }

// Connect implements orchionv1.NodeSessionServer.
func (f *Fake) Connect(stream grpc.BidiStreamingServer[orchionv1.ConnectRequest, orchionv1.ConnectResponse]) error {
	if err := f.called("Connect"); err != nil {
		return err
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	if first.GetHello() == nil {
		return status.Error(codes.InvalidArgument, "hello: must be the first message of the stream")
	}
	md, _ := metadata.FromIncomingContext(stream.Context())
	value := func(key string) string {
		if v := md.Get(key); len(v) == 1 {
			return v[0]
		}
		return ""
	}
	s := &Stream{
		NodeID: value("orchion-node-id"), InstanceID: value("orchion-instance-id"), Hello: first.GetHello(),
		Said: make(chan *orchionv1.ConnectRequest, 4096),
		out:  make(chan *orchionv1.ConnectResponse), end: make(chan error), done: make(chan struct{}),
	}
	defer close(s.done)
	f.Streams <- s
	broken := make(chan error, 1)
	go func() {
		for {
			m, err := stream.Recv()
			if err != nil {
				broken <- err
				return
			}
			s.Said <- m
		}
	}()
	for sequence := uint64(1); ; sequence++ {
		select {
		case m := <-s.out:
			if m.GetSequence() == 0 {
				m.Sequence = sequence
			}
			if err := stream.Send(m); err != nil {
				return err
			}
		case err := <-s.end:
			return err
		case err := <-broken:
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// PushLogs implements orchionv1.NodeSessionServer.
func (f *Fake) PushLogs(stream grpc.BidiStreamingServer[orchionv1.PushLogsRequest, orchionv1.PushLogsResponse]) error {
	if err := f.called("PushLogs"); err != nil {
		return err
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	job := first.GetOpen().GetRef().GetJobId()
	cut := f.openLog(job)
	if err := stream.Send(f.held(job)); err != nil {
		return err
	}
	taken := 0
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			f.mu.Lock()
			f.logs[job].Closed = true
			f.mu.Unlock()
			return stream.Send(f.held(job))
		}
		if err != nil {
			return err
		}
		for _, e := range m.GetBatch().GetEntries() {
			if cut >= 0 && taken >= cut {
				return status.Error(codes.Unavailable, "the orchestrator is stopping")
			}
			taken++
			f.take(job, e)
		}
		if err := stream.Send(f.held(job)); err != nil {
			return err
		}
	}
}

// openLog notes a stream and says after how many entries to break it; -1: not.
func (f *Fake) openLog(job string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.logs[job] == nil {
		f.logs[job] = &Log{}
	}
	f.logs[job].Streams++
	if f.cutLogs == 0 {
		return -1
	}
	f.cutLogs--
	return f.cutAfter
}

// take stores an entry as it comes: a node that sends one twice, or leaves one out, shows.
func (f *Fake) take(job string, e *orchionv1.LogEntry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.logs[job]
	if e.GetStream() == "stderr" {
		l.Stderr = append(l.Stderr, e)
		return
	}
	l.Stdout = append(l.Stdout, e)
}

func (f *Fake) held(job string) *orchionv1.PushLogsResponse {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.logs[job]
	return &orchionv1.PushLogsResponse{StdoutLines: int64(len(l.Stdout)), StderrLines: int64(len(l.Stderr)), Closed: l.Closed}
}
