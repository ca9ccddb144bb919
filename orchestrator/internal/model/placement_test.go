package model_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/model"
	"github.com/orchion/orchion/orchestrator/internal/node"
)

func TestMemoryIsShared(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.node("a")
		r.create("one", needsMemory(6*gib))
		r.create("two", needsMemory(6*gib))
		r.want("two", "pending: - pending")
		r.wantReason("two", "waits for a node: 1 node fits but is full: needs 6 GiB of memory; 6 GiB of 8 GiB are taken")
		if err := r.m.Delete(t.Context(), "one"); err != nil {
			t.Fatal(err)
		}
		r.want("two", "pending: - pending") // it is not gone yet
		r.connect("a")
		time.Sleep(time.Second) // looking for room has its pace
		r.want("two", "pending: a pending")
	})
}

func TestReplicasOnOneNodeWithGPUsOfTheirOwn(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.node("a", gpus(2))
		r.create("d", replicas(3), func(s *model.Spec) { s.Engine, s.Resources = model.VLLM, job.Resources{GPUs: 1} })
		r.want("d", "pending: - pending, a pending, a pending")
		set := r.connect("a")
		if len(set) != 2 || len(set[0].GPUs) != 1 || len(set[1].GPUs) != 1 || set[0].GPUs[0] == set[1].GPUs[0] {
			t.Errorf("full set = %+v, want a GPU of its own for each", set)
		}
		r.restart()
		r.back("a")
		if again := r.connect("a"); !cmp.Equal(set, again) {
			t.Errorf("after a restart other GPUs:\n%s", cmp.Diff(set, again))
		}
	})
}

func TestNodeGoesOffline(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.node("a")
		r.create("d")
		r.ready("d", "a")
		first := r.on("d", "a").ID

		// Nowhere else to go: it stays, and is kept when its node is back.
		r.offline("a")
		r.want("d", "pending: a pending")
		r.wantReason("d", "pending on node a: its node is offline")
		if got := r.routes("qwen3:0.6b"); got != "" {
			t.Errorf("routes to an offline node: %s", got)
		}
		r.back("a")
		set := r.connect("a", model.ReplicaStatus{ReplicaID: first, State: model.Ready})
		if len(set) != 1 || set[0].ReplicaID != first || set[0].Spec.Model != "qwen3:0.6b" {
			t.Errorf("full set = %+v", set)
		}
		r.want("d", "ready: a ready")

		// Another node takes over, but is not ready when the first is back.
		r.node("b")
		r.offline("a")
		r.want("d", "pending: a pending, b pending")
		r.back("a")
		r.connect("a", model.ReplicaStatus{ReplicaID: first, State: model.Ready})
		r.want("d", "ready: a ready, b stopping")
		r.connect("b")
		r.want("d", "ready: a ready")

		// This time it is ready first.
		r.offline("a")
		time.Sleep(time.Second)
		r.ready("d", "b")
		r.want("d", "ready: b ready")
		r.told("a")
		r.back("a")
		if set := r.connect("a", model.ReplicaStatus{ReplicaID: first, State: model.Ready}); len(set) != 0 {
			t.Errorf("full set = %+v, want none", set)
		}
		if got := r.told("a"); !slices.Equal(got, []string{"remove " + first}) {
			t.Errorf("a was told %v", got)
		}
		if got := r.routes("qwen3:0.6b"); got != "b" {
			t.Errorf("routes = %q, want b", got)
		}
	})
}

func TestNodeLeaves(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.node("a")
		r.create("d")
		r.ready("d", "a")
		first := r.on("d", "a").ID
		r.offline("a")
		r.m.NodeLeft("a")
		r.want("d", "pending: - pending")
		r.back("a")
		r.connect("a")
		time.Sleep(time.Second)
		if again := r.on("d", "a"); again.ID == first {
			t.Error("a replica that its node has removed was kept")
		}
	})
}

func TestNodeStopsAReplicaByItself(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.node("a")
		r.create("d")
		id := r.on("d", "a").ID
		r.says("a", model.ReplicaStatus{ReplicaID: id, State: model.Ready})
		r.want("d", "ready: a ready")
		r.says("a", model.ReplicaStatus{ReplicaID: id, State: model.Stopping})
		if p := r.on("d", "a"); p.State != model.Stopping || p.Reason != "its node stops it" {
			t.Errorf("the replica is %s: %s", p.State, p.Reason)
		}
		if routes := r.m.Routes("qwen3:0.6b"); len(routes) != 0 {
			t.Errorf("requests still go to it: %v", routes)
		}
		// It was only restarted there.
		r.says("a", model.ReplicaStatus{ReplicaID: id, State: model.Ready})
		r.want("d", "ready: a ready")
	})
}

func TestDrainingMovesReplicas(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.node("a")
		r.create("d")
		r.ready("d", "a")
		r.change("a", func(n *node.Node) { n.State, n.Drain = node.Draining, &node.Drain{Mode: node.DrainFinish} })
		r.want("d", "ready: a ready") // it serves on as long as there is no other place
		r.node("b")
		time.Sleep(time.Second)
		r.want("d", "ready: a ready, b pending")
		if got := r.routes("qwen3:0.6b"); got != "a" {
			t.Errorf("routes = %q, want a", got)
		}
		r.ready("d", "b")
		r.want("d", "ready: a stopping, b ready")
		if got := r.routes("qwen3:0.6b"); got != "b" {
			t.Errorf("routes = %q, want b", got)
		}
	})
}

func TestReplicasStayWhilePaused(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.node("a")
		r.create("d")
		r.ready("d", "a")
		r.node("b")
		r.m.SetPaused(true)
		r.change("a", func(n *node.Node) { n.State = node.Offline })
		time.Sleep(10 * time.Minute)
		r.want("d", "pending: a pending")
		r.m.SetPaused(false)
		time.Sleep(time.Second)
		r.want("d", "pending: a pending, b pending")
	})
}

func TestFailedReplicaGoesElsewhere(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.node("a", gpus(4))
		r.node("b", gpus(1))
		r.create("load", needsMemory(7*gib), func(s *model.Spec) { s.Constraints = []string{"node=b"} })
		r.create("d", func(s *model.Spec) { s.Engine, s.Resources = model.VLLM, job.Resources{GPUs: 1} })
		r.want("d", "pending: a pending") // b is busier
		r.says("a", model.ReplicaStatus{ReplicaID: r.on("d", "a").ID, State: model.Failed, Reason: "bad GPU"})
		time.Sleep(11 * time.Second)
		r.want("d", "pending: a stopping, b pending")
		if p := r.on("d", "b"); p.Reason != "tried again after: bad GPU" {
			t.Errorf("reason = %q", p.Reason)
		}
		// With nowhere else to go it is the same node again.
		r.says("b", model.ReplicaStatus{ReplicaID: r.on("d", "b").ID, State: model.Failed, Reason: "bad GPU"})
		r.offline("a")
		r.connect("b")
		time.Sleep(21 * time.Second)
		if p := r.on("d", "b"); p.State != model.Pending {
			t.Errorf("the replica is %s, want it pending: %s", p.State, p.Reason)
		}
	})
}
