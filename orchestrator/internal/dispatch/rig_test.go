package dispatch

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/node"
	"github.com/orchion/orchion/orchestrator/internal/store/memory"
)

const (
	ttl      = 30 * time.Second
	lifetime = ttl + ttl/3 // of a lease, as the orchestrator sees it
	gib      = int64(1) << 30
)

// rig is a dispatcher on a store in memory, within a synctest bubble.
type rig struct {
	t     testing.TB
	store *faultyStore
	hub   *Hub
	d     *Dispatcher
	nodes map[string]*testNode
	// silent are the nodes whose leases are spared.
	silent sync.Map

	mu     sync.Mutex // guards what follows
	events []string
	queues []string
}

func newRig(tb testing.TB) *rig {
	tb.Helper()
	r := &rig{t: tb, store: &faultyStore{Store: memory.New()}, nodes: make(map[string]*testNode)}
	r.start()
	tb.Cleanup(r.stop)
	return r
}

// start begins a dispatcher, as after a restart: streams are gone.
func (r *rig) start() {
	r.t.Helper()
	r.hub = NewHub()
	d, err := New(Config{Store: r.store, Hub: r.hub, LeaseTTL: ttl, Events: r.event, QueueEvents: r.queueEvent, Spare: r.spare})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := d.Start(context.Background()); err != nil {
		r.t.Fatal(err)
	}
	r.d = d
}

func (r *rig) spare(nodeID string) bool {
	_, silent := r.silent.Load(nodeID)
	return silent
}

func (r *rig) stop() {
	r.hub.Close()
	r.d.Stop()
}

func (r *rig) ctx() context.Context { return context.Background() }

func (r *rig) event(j *job.Job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := j.Name + " " + j.State.String()
	if j.State.Active() && j.Reason != "" {
		text += ": " + j.Reason
	}
	r.events = append(r.events, text)
}

func (r *rig) queueEvent(q QueueStatus, gone bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := fmt.Sprintf("%s %d+%d", q.Name, q.Queued, q.Running)
	if gone {
		text += " gone"
	}
	r.queues = append(r.queues, text)
}

// takeQueues answers what was told of queues since the last call.
func (r *rig) takeQueues() string {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := strings.Join(r.queues, ", ")
	r.queues = nil
	return taken
}

// takeEvents answers the events since the last call.
func (r *rig) takeEvents() []string {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := r.events
	r.events = nil
	return taken
}

// submit queues a job; its name is also its image.
func (r *rig) submit(name string, change ...func(*job.Job)) job.Job {
	r.t.Helper()
	j := job.Job{Name: name, Spec: job.Spec{Container: &job.Container{Image: name}}}
	for _, f := range change {
		f(&j)
	}
	stored, err := r.d.Submit(context.Background(), j)
	if err != nil {
		r.t.Fatal(err)
	}
	synctest.Wait()
	return stored
}

func (r *rig) get(id string) job.Job {
	r.t.Helper()
	synctest.Wait()
	j, err := r.store.GetJob(context.Background(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	return j
}

// want checks a job's state and its attempts: "queued [lost failed]".
func (r *rig) want(id, want string) {
	r.t.Helper()
	j := r.get(id)
	var attempts []string
	for _, a := range j.Attempts {
		attempts = append(attempts, a.NodeID+" "+a.State.String())
	}
	if got := fmt.Sprint(j.State, " ", attempts); got != want {
		r.t.Errorf("job %s is %s, want %s (reason %q)", j.Name, got, want, j.Reason)
	}
}

// testNode is a node as the orchestrator meets it.
type testNode struct {
	r       *rig
	n       *node.Node
	session *Session
}

// register makes a node known that has so many cores and 8 GiB of memory.
func (r *rig) register(id string, cores int) *testNode {
	n := &node.Node{
		ID: id, Hostname: "host-" + id, State: node.Online,
		Capabilities: node.Capabilities{
			OS: "linux", CPU: node.CPU{LogicalCores: cores}, MemoryBytes: 8 * gib,
			Runtimes: []node.Runtime{{Name: "docker"}},
		},
	}
	tn := &testNode{r: r, n: n}
	r.nodes[id] = tn
	r.d.NodeChanged(nil, n)
	return tn
}

// node is a node that is registered and connected.
func (r *rig) node(id string, cores int) *testNode {
	r.t.Helper()
	tn := r.register(id, cores)
	tn.connect() // what the node was given since it attached is sent as well
	return tn
}

// connect opens a stream and answers the full set.
func (n *testNode) connect(hello ...AttemptStatus) []JobAssignment {
	n.r.t.Helper()
	n.session = n.r.hub.Attach(n.n.ID)
	set, err := n.r.d.Connected(context.Background(), n.session, hello)
	if err != nil {
		n.r.t.Fatal(err)
	}
	n.session.Open(AssignmentSet{Jobs: set})
	synctest.Wait()
	return set
}

func (n *testNode) disconnect() {
	n.session.Close(nil)
	synctest.Wait()
}

// offline is what the reaper makes of a silent node.
func (n *testNode) offline() {
	n.disconnect()
	off := *n.n
	off.State = node.Offline
	n.r.d.NodeChanged(n.n, &off)
	synctest.Wait()
}

// received answers the messages that came, but for full sets.
func (n *testNode) received() []Message {
	synctest.Wait()
	var got []Message
	for _, m := range drain(n.session) {
		if _, full := m.(AssignmentSet); !full {
			got = append(got, m)
		}
	}
	return got
}

// assigned answers the one attempt that came, and fails when it is not so.
func (n *testNode) assigned() job.Ref {
	n.r.t.Helper()
	got := n.received()
	if len(got) == 1 {
		if a, ok := got[0].(JobAssignment); ok {
			return a.Ref
		}
	}
	n.r.t.Fatalf("node %s received %+v, want one assignment", n.n.ID, got)
	return job.Ref{}
}

// wantNothing checks that no message came.
func (n *testNode) wantNothing() {
	n.r.t.Helper()
	if got := n.received(); len(got) > 0 {
		n.r.t.Errorf("node %s received %+v, want nothing", n.n.ID, got)
	}
}

func (n *testNode) says(ref job.Ref, state job.AttemptState, reason string) {
	n.r.t.Helper()
	err := n.r.d.AttemptStatus(context.Background(), n.n.ID, AttemptStatus{Ref: ref, State: state, Reason: reason})
	if err != nil {
		n.r.t.Fatal(err)
	}
	synctest.Wait()
}

func (n *testNode) renew(refs ...job.Ref) LeasesRenewed {
	n.r.t.Helper()
	if err := n.r.d.RenewLeases(context.Background(), n.n.ID, 7, refs); err != nil {
		n.r.t.Fatal(err)
	}
	for _, m := range n.received() {
		if answer, ok := m.(LeasesRenewed); ok {
			return answer
		}
	}
	n.r.t.Fatalf("node %s got no answer to its renewal", n.n.ID)
	return LeasesRenewed{}
}

// faultyStore fails on demand.
type faultyStore struct {
	*memory.Store
	failing atomic.Bool
	// hold, when set, holds up claims until it is closed.
	hold atomic.Pointer[chan struct{}]
	// arrive holds up the answer to submissions that nodes are given at once.
	arrive atomic.Pointer[chan struct{}]
	// lose holds up losses.
	lose atomic.Pointer[chan struct{}]
	// missed holds up the answer of completions.
	missed atomic.Pointer[chan struct{}]
	// start holds up the answer of starts.
	start atomic.Pointer[chan struct{}]
	// expire holds up the answer of expirations.
	expire atomic.Pointer[chan struct{}]
}

func (s *faultyStore) fail() error {
	if s.failing.Load() {
		return fault.New(fault.Unavailable, "the disk is full")
	}
	return nil
}

func await(gate *atomic.Pointer[chan struct{}]) {
	if c := gate.Load(); c != nil {
		<-*c
	}
}

func (s *faultyStore) ClaimJob(ctx context.Context, id, nodeID string, now time.Time, gpus ...string) (job.Job, error) {
	if err := s.fail(); err != nil {
		return job.Job{}, err
	}
	j, err := s.Store.ClaimJob(ctx, id, nodeID, now, gpus...)
	await(&s.hold)
	return j, err
}

func (s *faultyStore) SubmitClaimed(ctx context.Context, j job.Job, nodeID string, now time.Time, gpus ...string) (job.Job, bool, error) {
	if err := s.fail(); err != nil {
		return job.Job{}, false, err
	}
	stored, created, err := s.Store.SubmitClaimed(ctx, j, nodeID, now, gpus...)
	await(&s.arrive)
	return stored, created, err
}

func (s *faultyStore) ExpireJob(ctx context.Context, id, met string, now time.Time) (job.Job, error) {
	if err := s.fail(); err != nil {
		return job.Job{}, err
	}
	j, err := s.Store.ExpireJob(ctx, id, met, now)
	await(&s.expire)
	return j, err
}

func (s *faultyStore) Outcome(ctx context.Context, id string) (job.Outcome, error) {
	if err := s.fail(); err != nil {
		return job.Outcome{}, err
	}
	return s.Store.Outcome(ctx, id)
}

func (s *faultyStore) ReleaseJob(ctx context.Context, id, unmet string, now time.Time) (job.Job, error) {
	if err := s.fail(); err != nil {
		return job.Job{}, err
	}
	return s.Store.ReleaseJob(ctx, id, unmet, now)
}

func (s *faultyStore) StartAttempt(ctx context.Context, ref job.Ref, at time.Time) (job.Job, error) {
	j, err := s.Store.StartAttempt(ctx, ref, at)
	await(&s.start)
	return j, err
}

func (s *faultyStore) CompleteAttempt(ctx context.Context, ref job.Ref, end job.End) (job.Job, error) {
	if err := s.fail(); err != nil {
		return job.Job{}, err
	}
	j, err := s.Store.CompleteAttempt(ctx, ref, end)
	await(&s.missed)
	return j, err
}

func (s *faultyStore) EvictAttempt(ctx context.Context, ref job.Ref, reason string) (job.Job, error) {
	if err := s.fail(); err != nil {
		return job.Job{}, err
	}
	return s.Store.EvictAttempt(ctx, ref, reason)
}

func (s *faultyStore) LoseAttempt(ctx context.Context, ref job.Ref, reason string, now time.Time) (job.Job, error) {
	await(&s.lose)
	return s.Store.LoseAttempt(ctx, ref, reason, now)
}
