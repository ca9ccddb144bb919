package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// models is a ReplicaRunner whose models take a while to load.
type models struct {
	mu      sync.Mutex // guards what follows
	fail    error      // of Ensure
	sick    error      // of Check
	stuck   error      // of Remove
	serving map[string]bool
	ensured int
	kept    string
}

func (m *models) Ensure(ctx context.Context, r *orchionv1.ReplicaAssignment, report func(*orchionv1.ReplicaStatus)) (Served, error) {
	m.mu.Lock()
	m.ensured++
	fail := m.fail
	m.mu.Unlock()
	if fail != nil {
		return Served{}, fail
	}
	for percent := range 100 {
		report(&orchionv1.ReplicaStatus{State: orchionv1.ReplicaState_REPLICA_STATE_PULLING, ProgressPercent: float64(percent), Reason: "pulling"})
		if !pause(ctx, 10*time.Millisecond) {
			return Served{}, ctx.Err()
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.serving[r.GetReplicaId()] = true
	return Served{Addr: "127.0.0.1:1000", Model: r.GetSpec().GetModel() + ":latest"}, nil
}

func (m *models) Check(context.Context, *orchionv1.ReplicaAssignment) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sick
}

func (m *models) Remove(_ context.Context, r *orchionv1.ReplicaAssignment) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stuck == nil {
		delete(m.serving, r.GetReplicaId())
	}
	return m.stuck
}

func (m *models) RemoveOthers(_ context.Context, keep []*orchionv1.ReplicaAssignment) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept = ""
	for _, r := range keep {
		m.kept += r.GetReplicaId()
	}
	return nil
}

func (m *models) set(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

func replicaOf(id string) *orchionv1.ReplicaAssignment {
	return &orchionv1.ReplicaAssignment{ReplicaId: id, Deployment: "d", Spec: &orchionv1.DeploymentSpec{Model: "tiny"}}
}

func newModelBed(t *testing.T) (*bed, *models) {
	t.Helper()
	m := &models{serving: map[string]bool{}}
	return newBed(t, func(c *Config) { c.Replicas = m }), m
}

// states gives what was said of a replica, each change of state once.
func (o *orchestrator) replicaStates() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var states []string
	for _, s := range o.replicas {
		name := strings.TrimPrefix(s.GetState().String(), "REPLICA_STATE_")
		if s.GetRemoved() {
			name = "REMOVED"
		}
		if len(states) == 0 || states[len(states)-1] != name {
			states = append(states, name)
		}
	}
	return strings.Join(states, " ")
}

func TestServesAReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, m := newModelBed(t)
		defer b.close()
		b.AssignReplica(replicaOf("r"))
		b.AssignReplica(replicaOf("r"))
		if _, ok := b.ReplicaAddr("r"); ok {
			t.Error("a replica that is not ready has an address")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if addr, ok := b.ReplicaAddr("r"); !ok || addr != "127.0.0.1:1000" {
			t.Errorf("address = %q, %v", addr, ok)
		}
		if got := b.far.replicaStates(); got != "PULLING READY" {
			t.Errorf("states = %s", got)
		}
		if got := len(b.far.replicas); got > 6 {
			t.Errorf("%d reports in two seconds: progress is to be told now and then only", got)
		}
		ready := b.Held().GetReplicas()[0]
		if ready.GetServedModel() != "tiny:latest" || ready.GetReplicaId() != "r" || ready.GetProgressPercent() != 100 {
			t.Errorf("held = %v", ready)
		}
		if m.ensured != 1 {
			t.Errorf("brought about %d times, want once", m.ensured)
		}

		b.RemoveReplica("r")
		synctest.Wait()
		if got := b.far.replicaStates(); got != "PULLING READY STOPPING REMOVED" {
			t.Errorf("states = %s", got)
		}
		if len(m.serving) != 0 || len(b.Held().GetReplicas()) != 0 {
			t.Error("the replica is still there")
		}
		// What is not there is removed all the same: the orchestrator waits for the word.
		b.RemoveReplica("unknown")
		if last := b.far.replicas[len(b.far.replicas)-1]; last.GetReplicaId() != "unknown" || !last.GetRemoved() {
			t.Errorf("last report = %v", last)
		}
	})
}

func TestReplicaIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, m := newModelBed(t)
		defer b.close()
		m.fail = errors.New("ollama: pull model tiny: no such model; check its name")
		b.AssignReplica(replicaOf("r"))
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if s := b.Held().GetReplicas()[0]; s.GetState() != orchionv1.ReplicaState_REPLICA_STATE_FAILED || s.GetReason() != m.fail.Error() {
			t.Errorf("status = %v, want FAILED with the reason", s)
		}
		if m.ensured != 3 { // at 0, 5 and 15 s
			t.Errorf("tried %d times in 20 s, want 3", m.ensured)
		}
		m.set(func() { m.fail = nil })
		time.Sleep(maxReplicaPause)
		synctest.Wait()
		if _, ok := b.ReplicaAddr("r"); !ok {
			t.Error("the replica does not serve")
		}
	})
}

func TestSickReplicaIsRestarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, m := newModelBed(t)
		defer b.close()
		b.AssignReplica(replicaOf("r"))
		time.Sleep(3 * time.Second)
		m.set(func() { m.sick = errors.New("no answer") })
		time.Sleep(2 * checkPeriod)
		synctest.Wait()
		if got := b.far.replicaStates(); got != "PULLING READY" {
			t.Errorf("states after %d missed checks = %s", maxMissed-1, got)
		}
		time.Sleep(checkPeriod)
		m.set(func() { m.sick = nil })
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := b.far.replicaStates(); got != "PULLING READY LOADING PULLING READY" {
			t.Errorf("states = %s", got)
		}
	})
}

func TestRestartTakesReplicasOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, m := newModelBed(t)
		defer b.close()
		b.AssignReplica(replicaOf("r"))
		b.AssignReplica(replicaOf("s"))
		time.Sleep(3 * time.Second)
		b.restart()
		if len(m.serving) != 2 {
			t.Fatalf("%d replicas serve after the agent has ended, want both", len(m.serving))
		}
		b.Assign(&orchionv1.AssignmentSet{Replicas: []*orchionv1.ReplicaAssignment{replicaOf("r")}})
		synctest.Wait()
		if m.kept != "r" {
			t.Errorf("kept %q of what was left, want r", m.kept)
		}
		b.Assign(&orchionv1.AssignmentSet{})
		synctest.Wait()
		if m.serving["r"] {
			t.Error("a replica that is not in the full set still serves")
		}
	})
}

func TestReplicaAssignedWhileItIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, m := newModelBed(t)
		defer b.close()
		b.AssignReplica(replicaOf("r"))
		time.Sleep(3 * time.Second)
		m.set(func() { m.stuck = fmt.Errorf("engine restarts") })
		b.RemoveReplica("r")
		synctest.Wait()
		b.AssignReplica(replicaOf("r"))
		m.set(func() { m.stuck = nil })
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if _, ok := b.ReplicaAddr("r"); !ok {
			t.Errorf("the replica does not serve: %s", b.far.replicaStates())
		}
	})
}

func TestLeaveRemovesReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, m := newModelBed(t)
		defer b.close()
		b.AssignReplica(replicaOf("r"))
		time.Sleep(3 * time.Second)
		b.Leave(t.Context())
		if len(m.serving) != 0 {
			t.Error("the replica is still there")
		}
	})
}
