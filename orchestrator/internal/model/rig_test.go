package model_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/model"
	"github.com/orchion/orchion/orchestrator/internal/node"
	"github.com/orchion/orchion/orchestrator/internal/scheduler"
	"github.com/orchion/orchion/orchestrator/internal/store/memory"
)

const gib = int64(1) << 30

// rig is a manager on a store in memory, within a synctest bubble.
type rig struct {
	t       *testing.T
	store   *faultyStore
	cluster *scheduler.Cluster
	m       *model.Manager
	nodes   map[string]*node.Node

	mu     sync.Mutex // guards what follows
	sent   map[string][]string
	events []string
	busy   map[string]bool // nodes whose replicas answer requests; nil: none is asked

	fits *model.Suitability // what model.Config.Fits says; set before it starts
}

func bubble(t *testing.T, f func(t *testing.T, r *rig)) {
	t.Helper()
	bubbleWith(t, func(*rig) {}, f)
}

// bubbleWith is bubble with a rig that is prepared before it starts.
func bubbleWith(t *testing.T, prepare func(r *rig), f func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		prepare(r)
		r.start()
		t.Cleanup(func() { r.m.Stop() })
		f(t, r)
	})
}

func newRig(t *testing.T) *rig {
	return &rig{t: t, store: &faultyStore{Store: memory.New()}, nodes: make(map[string]*node.Node), sent: make(map[string][]string)}
}

// start begins a manager, as after a restart: no node is known.
func (r *rig) start() {
	r.t.Helper()
	r.cluster = scheduler.NewCluster()
	config := model.Config{
		Store: r.store, Link: r, Cluster: r.cluster,
		Events: func(d *model.Deployment) {
			state, _ := d.Summary()
			r.note(d.Name + " " + state.String())
		},
		Removed: func(name string) { r.note(name + " removed") },
	}
	if r.fits != nil {
		config.Fits = func(*model.Spec) model.Suitability { return *r.fits }
	}
	if r.busy != nil {
		config.Busy = r.isBusy
	}
	m, err := model.New(config)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := m.Start(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	r.m = m
}

func (r *rig) restart() {
	r.m.Stop()
	r.start()
}

func (r *rig) note(event string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.events) == 0 || r.events[len(r.events)-1] != event {
		r.events = append(r.events, event)
	}
}

func (r *rig) takeEvents() string {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := strings.Join(r.events, ", ")
	r.events = nil
	return taken
}

// AssignReplica notes what a node is told; it makes the rig a Link.
func (r *rig) AssignReplica(nodeID string, a model.Assignment) bool {
	return r.send(nodeID, "assign "+a.ReplicaID)
}

// RemoveReplica notes what a node is told.
func (r *rig) RemoveReplica(nodeID, replicaID string) bool {
	return r.send(nodeID, "remove "+replicaID)
}

func (r *rig) send(nodeID, text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent[nodeID] = append(r.sent[nodeID], text)
	return true
}

func (r *rig) isBusy(_, nodeID, _ string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.busy[nodeID]
}

func (r *rig) setBusy(nodeID string, busy bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.busy[nodeID] = busy
}

// told answers what a node was told since the last call.
func (r *rig) told(nodeID string) []string {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := r.sent[nodeID]
	delete(r.sent, nodeID)
	return taken
}

// node registers and connects a node with 8 GiB and answers what it is to run.
func (r *rig) node(id string, change ...func(*node.Node)) []model.Assignment {
	r.t.Helper()
	n := &node.Node{
		ID: id, Hostname: "host-" + id, State: node.Online,
		Capabilities: node.Capabilities{
			OS: "linux", CPU: node.CPU{LogicalCores: 4}, MemoryBytes: 8 * gib, Runtimes: []node.Runtime{{Name: "docker"}},
		},
	}
	for _, f := range change {
		f(n)
	}
	r.nodes[id] = n
	r.m.NodeChanged(nil, n)
	set := r.connect(id)
	settle()
	return set
}

// settle lets the manager look for room, which it does at a pace of its own.
func settle() {
	time.Sleep(300 * time.Millisecond)
	synctest.Wait()
}

func (r *rig) connect(id string, hello ...model.ReplicaStatus) []model.Assignment {
	r.t.Helper()
	r.cluster.SetConnected(id, true)
	set, err := r.m.Connected(r.t.Context(), id, hello)
	if err != nil {
		r.t.Fatal(err)
	}
	synctest.Wait()
	return set
}

// change gives a node a new value.
func (r *rig) change(id string, f func(*node.Node)) {
	old := r.nodes[id]
	n := *old
	f(&n)
	r.nodes[id] = &n
	if !n.State.Active() {
		r.cluster.SetConnected(id, false)
	}
	r.m.NodeChanged(old, &n)
	settle()
}

func (r *rig) offline(id string) { r.change(id, func(n *node.Node) { n.State = node.Offline }) }

// back has an offline node register again, not yet connect.
func (r *rig) back(id string) { r.change(id, func(n *node.Node) { n.State = node.Online }) }

func (r *rig) says(nodeID string, s model.ReplicaStatus) {
	r.m.ReplicaStatus(context.Background(), nodeID, s)
	synctest.Wait()
}

// ready has a deployment's replica on a node say that it serves.
func (r *rig) ready(name, nodeID string) {
	r.t.Helper()
	r.says(nodeID, model.ReplicaStatus{ReplicaID: r.on(name, nodeID).ID, State: model.Ready})
}

func (r *rig) create(name string, change ...func(*model.Spec)) model.Deployment {
	r.t.Helper()
	d := model.Deployment{Name: name, Spec: model.Spec{Model: "qwen3:0.6b", Engine: model.Ollama, Replicas: 1}}
	for _, f := range change {
		f(&d.Spec)
	}
	created, err := r.m.Create(r.t.Context(), d)
	if err != nil {
		r.t.Fatal(err)
	}
	settle()
	return created
}

func (r *rig) update(name string, f func(*model.Spec)) {
	r.t.Helper()
	_, err := r.m.Update(r.t.Context(), name, func(d *model.Deployment) error {
		f(&d.Spec)
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	synctest.Wait()
}

func (r *rig) get(name string) model.Deployment {
	r.t.Helper()
	synctest.Wait()
	d, err := r.m.Get(name)
	if err != nil {
		r.t.Fatal(err)
	}
	return d
}

// on answers the replica of a deployment on a node that is not to go away.
func (r *rig) on(name, nodeID string) model.Replica {
	r.t.Helper()
	d := r.get(name)
	i := slices.IndexFunc(d.Replicas, func(p model.Replica) bool { return p.NodeID == nodeID && !p.Remove })
	if i < 0 {
		r.t.Fatalf("no replica of %s on %s: %+v", name, nodeID, d.Replicas)
	}
	return d.Replicas[i]
}

// want checks a deployment: "degraded: a ready, b pulling, - pending".
func (r *rig) want(name, want string) {
	r.t.Helper()
	d := r.get(name)
	state, _ := d.Summary()
	var parts []string
	for _, p := range d.Replicas {
		nodeID := p.NodeID
		if nodeID == "" {
			nodeID = "-"
		}
		parts = append(parts, nodeID+" "+p.State.String())
	}
	slices.Sort(parts)
	if got := fmt.Sprintf("%s: %s", state, strings.Join(parts, ", ")); got != want {
		r.t.Errorf("%s is %s, want %s", name, got, want)
	}
}

func (r *rig) wantReason(name, want string) {
	r.t.Helper()
	d := r.get(name)
	if _, reason := d.Summary(); reason != want {
		r.t.Errorf("reason of %s = %q, want %q", name, reason, want)
	}
}

// routes answers where a model is reached: "a b".
func (r *rig) routes(name string) string {
	synctest.Wait()
	var ids []string
	for _, route := range r.m.Routes(name) {
		ids = append(ids, route.NodeID)
	}
	return strings.Join(ids, " ")
}

// faultyStore fails on demand.
type faultyStore struct {
	*memory.Store
	failing atomic.Bool
	deletes atomic.Int64 // of replicas, asked for while failing
}

func (s *faultyStore) fail() error {
	if s.failing.Load() {
		return fault.New(fault.Unavailable, "the disk is full")
	}
	return nil
}

func (s *faultyStore) PutDeployment(ctx context.Context, d model.Deployment) error {
	if err := s.fail(); err != nil {
		return err
	}
	return s.Store.PutDeployment(ctx, d)
}

func (s *faultyStore) PutReplica(ctx context.Context, p model.Replica) error {
	if err := s.fail(); err != nil {
		return err
	}
	return s.Store.PutReplica(ctx, p)
}

// maxFailedDeletes ends a storm of tries, in which a bubble's time stands still.
const maxFailedDeletes = 1000

func (s *faultyStore) DeleteReplica(ctx context.Context, id string) error {
	if err := s.fail(); err != nil {
		if s.deletes.Add(1) == maxFailedDeletes {
			s.failing.Store(false)
		}
		return err
	}
	return s.Store.DeleteReplica(ctx, id)
}

func (s *faultyStore) DeleteDeployment(ctx context.Context, name string) error {
	if err := s.fail(); err != nil {
		return err
	}
	return s.Store.DeleteDeployment(ctx, name)
}

func gpus(count int) func(*node.Node) {
	return func(n *node.Node) {
		n.Capabilities.GPUs = slices.Repeat([]node.GPU{{Vendor: "nvidia", MemoryBytes: 24 * gib}}, count)
	}
}

func replicas(n int) func(*model.Spec) { return func(s *model.Spec) { s.Replicas = n } }

func needsMemory(bytes int64) func(*model.Spec) {
	return func(s *model.Spec) { s.Resources = job.Resources{MemoryBytes: bytes} }
}
