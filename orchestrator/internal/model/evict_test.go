package model_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/model"
)

// serves creates a deployment of a model of its own whose replica is ready on a
// node.
func (r *rig) serves(name, nodeID string, change ...func(*model.Spec)) {
	r.t.Helper()
	r.create(name, slices.Concat([]func(*model.Spec){func(s *model.Spec) { s.Model = name }}, change)...)
	r.ready(name, nodeID)
}

func (r *rig) used(name string) {
	r.m.Demand(name, model.Demand{LastUsed: time.Now()})
	settle()
}

// gone has a node say that it has stopped the replicas that it was told to.
func (r *rig) gone(nodeID string) {
	for _, text := range r.told(nodeID) {
		if id, removed := strings.CutPrefix(text, "remove "); removed {
			r.says(nodeID, model.ReplicaStatus{ReplicaID: id, Removed: true})
		}
	}
	settle()
}

func upToOne(s *model.Spec) { s.Replicas, s.MaxReplicas = 1, 1 }

func TestIdleModelsMakeRoom(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.node("a") // 8 GiB
		r.serves("old", "a", upToOne, needsMemory(3*gib))
		r.serves("new", "a", upToOne, needsMemory(3*gib))
		r.serves("kept", "a", needsMemory(gib))
		time.Sleep(10 * time.Second)
		r.used("old")
		time.Sleep(time.Second)
		r.used("new")
		time.Sleep(10 * time.Second)
		r.takeEvents()

		r.create("d", needsMemory(4*gib))
		r.want("old", "ready: a stopping")
		r.want("new", "ready: a ready")
		r.want("kept", "ready: a ready")
		r.wantReason("d", "waits for a node: idle replicas make room on node a: of old")
		r.wantReason("old", "made room for deployment d: the next request starts a replica")
		if got := r.get("old").Replicas[0].Reason; got != "makes room for deployment d" {
			t.Errorf("the replica says %q", got)
		}
		if events := r.takeEvents(); !strings.Contains(events, "old ready") {
			t.Errorf("the events are %s", events)
		}
		r.gone("a")
		r.want("d", "pending: a pending")
		r.ready("d", "a")
		time.Sleep(time.Minute) // nobody asks: it stays as it is
		r.want("old", "ready: ")
		r.want("new", "ready: a ready")

		// Who asks for it has it back, from the one that is idle now.
		r.used("old")
		r.want("new", "ready: a stopping")
		r.gone("a")
		r.want("old", "pending: a pending")
		r.ready("old", "a")
		r.wantReason("old", "")
	})
}

func TestWhatMakesNoRoom(t *testing.T) {
	for _, tt := range []struct {
		name string
		size func(*model.Spec)
		do   func(r *rig)
		need int64
		want string
	}{
		{"at least one is wanted", bounds(1, 2), nil, 4 * gib, "ready: a ready"},
		{"a fixed number", replicas(1), nil, 4 * gib, "ready: a ready"},
		{"it answers", upToOne, func(r *rig) { r.setBusy("a", true) }, 4 * gib, "ready: a ready"},
		{"requests wait for it", upToOne, func(r *rig) { r.m.Demand("idle", model.Demand{Queued: 1}) }, 4 * gib, "ready: a ready"},
		{"it was used just now", upToOne, func(r *rig) { r.used("idle") }, 4 * gib, "ready: a ready"},
		{"it would not help", upToOne, nil, 9 * gib, "ready: a ready"},
		{"there is room without", upToOne, nil, 2 * gib, "ready: a ready"},
		{"nothing of it", upToOne, nil, 4 * gib, "ready: a stopping"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubbleWith(t, func(r *rig) { r.busy = map[string]bool{} }, func(_ *testing.T, r *rig) {
				r.node("a")
				r.serves("idle", "a", tt.size, needsMemory(6*gib))
				time.Sleep(time.Minute)
				if tt.do != nil {
					tt.do(r)
				}
				r.create("d", needsMemory(tt.need))
				r.want("idle", tt.want)
			})
		})
	}
}

// What was used or busy a moment ago makes room as soon as it is idle.
func TestRoomIsMadeWhenIdle(t *testing.T) {
	bubbleWith(t, func(r *rig) { r.busy = map[string]bool{"a": true} }, func(_ *testing.T, r *rig) {
		r.node("a")
		r.serves("idle", "a", upToOne, needsMemory(6*gib))
		r.create("d", needsMemory(4*gib))
		time.Sleep(20 * time.Second)
		r.want("idle", "ready: a ready")
		r.setBusy("a", false)
		r.used("idle") // as the gateway says when a request has ended
		time.Sleep(4 * time.Second)
		r.want("idle", "ready: a ready")
		time.Sleep(time.Second)
		settle()
		r.want("idle", "ready: a stopping")
	})
}
