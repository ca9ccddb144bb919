package session

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/orchion/orchion/node-agent/internal/fakeorchestrator"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// bench is a session against a fake orchestrator, all inside one synctest bubble.
type bench struct {
	t          *testing.T
	far        *fakeorchestrator.Fake
	membership *Membership
	stream     *Stream
	logs       *Logs
	worker     *recordingWorker
	logged     *lockedBuffer
	tunnels    chan *orchionv1.OpenTunnel

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	errs   chan error // what Run returned, of membership and stream
	conn   *grpc.ClientConn
}

func newBench(t *testing.T, far *fakeorchestrator.Fake) *bench {
	t.Helper()
	b := &bench{t: t, far: far, worker: &recordingWorker{}, logged: &lockedBuffer{}, errs: make(chan error, 2), tunnels: make(chan *orchionv1.OpenTunnel, 8)}
	logger := slog.New(slog.NewTextHandler(b.logged, nil))
	opts := append(far.DialOptions(), Identify("node-1", "run-1")...)
	opts = append(opts, grpc.WithConnectParams(grpc.ConnectParams{
		Backoff: backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, MaxDelay: time.Second},
	}))
	conn, err := grpc.NewClient("passthrough:///far", opts...)
	if err != nil {
		t.Fatal(err)
	}
	b.conn = conn
	reach := NewReach("localhost:50051", logger)
	b.membership = NewMembership(MembershipConfig{
		Client: orchionv1.NewOrchestratorClient(conn), NodeID: "node-1", InstanceID: "run-1",
		HeartbeatInterval: 2 * time.Second,
		Describe: func(context.Context) *orchionv1.Node {
			return &orchionv1.Node{Id: "node-1", Hostname: "host"}
		},
		Usage:  func(context.Context) *orchionv1.NodeUsage { return &orchionv1.NodeUsage{RunningJobs: 3} },
		Reach:  reach,
		Logger: logger,
	})
	client := orchionv1.NewNodeSessionClient(conn)
	b.stream = NewStream(StreamConfig{
		Client: client, Membership: b.membership, Reach: reach, Logger: logger,
		OpenTunnel: func(o *orchionv1.OpenTunnel) { b.tunnels <- o },
	})
	b.logs = NewLogs(client, reach, 0, logger)
	b.ctx, b.cancel = context.WithCancel(t.Context())
	return b
}

func (b *bench) run() {
	b.wg.Go(func() { b.errs <- b.membership.Run(b.ctx) })
	b.wg.Go(func() { b.errs <- b.stream.Run(b.ctx, b.worker) })
}

func (b *bench) close() {
	b.cancel()
	b.wg.Wait()
	b.conn.Close()
	b.far.Stop()
}

// count counts the calls of a method.
func (b *bench) count(method string) int {
	n := 0
	for _, m := range b.far.Calls() {
		if m == method {
			n++
		}
	}
	return n
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// recordingWorker notes what it is told.
type recordingWorker struct {
	mu     sync.Mutex // guards what follows
	hello  *orchionv1.Hello
	leases []*orchionv1.AttemptRef
	told   []string
	asked  []time.Time
}

func (w *recordingWorker) note(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told = append(w.told, what)
}

func (w *recordingWorker) all() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.told, " ")
}

func (w *recordingWorker) Held() *orchionv1.Hello {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hello
}

func (w *recordingWorker) Leases() []*orchionv1.AttemptRef {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.leases
}

func (w *recordingWorker) Assign(s *orchionv1.AssignmentSet) {
	text := "set"
	for _, j := range s.GetJobs() {
		text += ":" + j.GetRef().GetJobId()
	}
	w.note(text)
}
func (w *recordingWorker) AssignJob(a *orchionv1.JobAssignment) {
	w.note("job:" + a.GetRef().GetJobId())
}
func (w *recordingWorker) CancelAttempt(c *orchionv1.CancelAttempt) {
	w.note("cancel:" + c.GetRef().GetJobId())
}
func (w *recordingWorker) AssignReplica(a *orchionv1.ReplicaAssignment) {
	w.note("replica:" + a.GetReplicaId())
}
func (w *recordingWorker) RemoveReplica(id string) { w.note("remove:" + id) }
func (w *recordingWorker) LeasesRenewed(_ *orchionv1.LeasesRenewed, asked time.Time) {
	w.note("renewed")
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, asked)
}
func (w *recordingWorker) AttemptAcknowledged(a *orchionv1.AttemptAcknowledged) {
	w.note("ack:" + a.GetRef().GetJobId())
}

var emptySet = &orchionv1.ConnectResponse{Message: &orchionv1.ConnectResponse_Assignments{Assignments: &orchionv1.AssignmentSet{}}}

func set() *orchionv1.ConnectResponse {
	return &orchionv1.ConnectResponse{Message: emptySet.GetMessage()}
}

func ref(job string) *orchionv1.AttemptRef { return &orchionv1.AttemptRef{JobId: job, Attempt: 1} }
