package model_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/model"
	"github.com/orchion/orchion/orchestrator/internal/node"
)

func bounds(low, high int) func(*model.Spec) {
	return func(s *model.Spec) { s.Replicas, s.MinReplicas, s.MaxReplicas = low, low, high }
}

func TestToNoneAndBackOnDemand(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.node("a")
		r.create("d", bounds(0, 2), func(s *model.Spec) { s.IdleTimeout = time.Minute })
		r.want("d", "ready: ")
		r.wantReason("d", "idle: the next request starts a replica")
		ask := func(d model.Demand) {
			d.LastUsed = time.Now()
			r.m.Demand("qwen3:0.6b", d)
			settle()
		}
		ask(model.Demand{InFlight: 1})
		r.want("d", "pending: a pending")
		r.ready("d", "a")
		r.want("d", "ready: a ready")
		time.Sleep(time.Hour) // it is still being answered
		r.want("d", "ready: a ready")
		ask(model.Demand{})
		id := r.on("d", "a").ID
		time.Sleep(time.Minute)
		r.want("d", "ready: a stopping")
		if got := r.told("a"); got[len(got)-1] != "remove "+id {
			t.Errorf("the node was told %v", got)
		}
		r.says("a", model.ReplicaStatus{ReplicaID: id, Removed: true})
		r.want("d", "ready: ")

		// After a restart, what serves is kept until it proves idle.
		ask(model.Demand{})
		r.ready("d", "a")
		id = r.on("d", "a").ID
		r.restart()
		if got := r.get("d"); got.Wanted != 1 {
			t.Errorf("%d are wanted, want 1", got.Wanted)
		}
		r.back("a")
		r.connect("a", model.ReplicaStatus{ReplicaID: id, State: model.Ready})
		r.want("d", "ready: a ready")
		time.Sleep(61 * time.Second)
		r.want("d", "ready: a stopping")
	})
}

func TestDemandScales(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for _, id := range []string{"a", "b", "c"} {
			r.node(id)
		}
		r.create("d", bounds(1, 3), func(s *model.Spec) { s.TargetInFlight, s.IdleTimeout = 2, time.Minute })
		r.create("fixed", func(s *model.Spec) { s.Model, s.Nodes = "other", []string{"a"} })
		r.ready("d", r.get("d").Replicas[0].NodeID)
		r.m.Demand("other", model.Demand{InFlight: 100}) // of no matter: it does not scale
		r.m.Demand("qwen3:0.6b", model.Demand{InFlight: 5})
		time.Sleep(1900 * time.Millisecond)
		if got := r.get("d"); got.Wanted != 1 {
			t.Errorf("%d are wanted at once", got.Wanted)
		}
		time.Sleep(time.Second)
		r.want("d", "degraded: a ready, b pending, c pending")
		r.ready("d", "b")
		r.ready("d", "c")
		time.Sleep(time.Hour)
		r.want("d", "ready: a ready, b ready, c ready")
		r.m.Demand("qwen3:0.6b", model.Demand{InFlight: 3})
		time.Sleep(61 * time.Second)
		if got := r.get("d"); got.Wanted != 2 {
			t.Errorf("%d are wanted for 3 requests, want 2", got.Wanted)
		}
		// A number of its own ends that.
		r.update("d", func(s *model.Spec) {
			if err := s.Size(model.Sizing{Replicas: ptr(1)}); err != nil {
				t.Error(err)
			}
		})
		if got := r.get("d"); got.Wanted != 1 {
			t.Errorf("%d are wanted, want 1", got.Wanted)
		}
	})
}

func TestModelsShareDemand(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.node("a")
		r.node("b")
		r.create("one", bounds(0, 1))
		r.create("two", bounds(0, 1))
		r.m.Demand("qwen3:0.6b", model.Demand{InFlight: 1, LastUsed: time.Now()})
		settle()
		if one, two := r.get("one"), r.get("two"); one.Wanted != 1 || two.Wanted != 0 {
			t.Errorf("%d and %d are wanted for one request", one.Wanted, two.Wanted)
		}
		r.m.Demand("qwen3:0.6b", model.Demand{InFlight: 5})
		settle()
		if two := r.get("two"); two.Wanted != 1 {
			t.Errorf("%d of the second are wanted for 5 requests", two.Wanted)
		}
	})
}

func TestEverywhere(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.create("d", func(s *model.Spec) { s.Replicas, s.Everywhere = 0, true }, needsMemory(6*gib))
		r.want("d", "pending: - pending")
		r.node("a")
		r.node("b")
		r.node("small", func(n *node.Node) { n.Capabilities.MemoryBytes = gib })
		r.want("d", "pending: a pending, b pending")
		r.ready("d", "a")
		r.ready("d", "b")
		r.want("d", "ready: a ready, b ready")
		r.takeEvents()
		r.node("c")
		r.want("d", "degraded: a ready, b ready, c pending")
		r.ready("d", "c")
		r.takeEvents()
		// Looking for room on nodes that have none changes nothing.
		r.change("small", func(n *node.Node) { n.Labels = map[string]string{"x": "y"} })
		if got := r.takeEvents(); got != "" {
			t.Errorf("events = %s", got)
		}
		r.offline("c")
		r.want("d", "ready: a ready, b ready")
		if got := r.get("d"); got.Wanted != 2 {
			t.Errorf("%d are wanted, want 2", got.Wanted)
		}
		r.back("c")
		r.connect("c")
		settle()
		r.want("d", "degraded: a ready, b ready, c pending")
		r.update("d", func(s *model.Spec) { s.Everywhere, s.Replicas = false, 1 })
		r.connect("b")
		r.connect("c")
		settle()
		r.want("d", "ready: a ready")
	})
}

func TestNodesArePinned(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.node("a")
		r.node("b-1.x_y")
		r.create("d", func(s *model.Spec) { s.Nodes = []string{"b-1.x_y", "away"} })
		r.want("d", "pending: b-1.x_y pending")
		r.ready("d", "b-1.x_y")
		r.update("d", func(s *model.Spec) { s.Nodes = []string{"away"} })
		settle()
		r.want("d", "ready: b-1.x_y ready") // serves on until the other does
		r.update("d", func(s *model.Spec) { s.Nodes = []string{"a"} })
		settle()
		r.want("d", "ready: a pending, b-1.x_y ready")
		r.ready("d", "a")
		r.want("d", "ready: a ready, b-1.x_y stopping")
		_, err := r.m.Update(t.Context(), "d", func(d *model.Deployment) error { d.Spec.Nodes = []string{"a", "b)"}; return nil })
		if err == nil || err.Error() != `spec.nodes[1]: is "b)", which is not the id of a node` {
			t.Errorf("error = %v", err)
		}
	})
}

func TestRollOutBesideTheOld(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for _, id := range []string{"a", "b", "c"} {
			r.node(id)
		}
		r.create("d", replicas(2))
		r.ready("d", "a")
		r.ready("d", "b")
		r.update("d", func(s *model.Spec) { s.Image = "new" })
		r.want("d", "ready: a ready, b ready, c pending")
		r.wantReason("d", "2 replicas of the older spec to be replaced")
		// As long as the new one fails, the old ones serve.
		for range 3 {
			id := r.on("d", "c").ID
			r.says("c", model.ReplicaStatus{ReplicaID: id, State: model.Failed, Reason: "no such image"})
			if d := r.get("d"); d.Wanted != 2 {
				t.Errorf("%d are wanted", d.Wanted)
			}
			r.want("d", "ready: a ready, b ready, c failed")
			time.Sleep(time.Minute)
			r.says("c", model.ReplicaStatus{ReplicaID: id, Removed: true})
			settle()
			r.want("d", "ready: a ready, b ready, c pending")
		}
		r.ready("d", "c")
		r.want("d", "ready: a ready, b stopping, c ready")
		r.connect("b")
		settle()
		r.want("d", "ready: a ready, b pending, c ready")
		r.ready("d", "b")
		r.want("d", "ready: a stopping, b ready, c ready")
		r.connect("a")
		settle()
		r.want("d", "ready: b ready, c ready")
		r.wantReason("d", "")
	})
}

func TestRequestsAreFinished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.busy = map[string]bool{"a": true}
		r.start()
		t.Cleanup(func() { r.m.Stop() })
		r.node("a")
		r.create("d")
		r.ready("d", "a")
		id := r.on("d", "a").ID
		r.told("a")
		r.update("d", func(s *model.Spec) { s.Replicas = 0 })
		r.want("d", "ready: a stopping")
		if got := r.routes("qwen3:0.6b"); got != "" {
			t.Errorf("requests still go to %s", got)
		}
		time.Sleep(time.Minute)
		r.says("a", model.ReplicaStatus{ReplicaID: id, State: model.Ready})
		if got := r.told("a"); got != nil {
			t.Errorf("the node was told %v while it answers requests", got)
		}
		r.setBusy("a", false)
		time.Sleep(300 * time.Millisecond)
		if got := r.told("a"); !slices.Equal(got, []string{"remove " + id}) {
			t.Errorf("the node was told %v", got)
		}
		r.connect("a")
		// There is an end to waiting.
		r.setBusy("a", true)
		r.update("d", func(s *model.Spec) { s.Replicas = 1 })
		settle()
		r.ready("d", "a")
		r.told("a")
		if err := r.m.Delete(t.Context(), "d"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(29 * time.Second)
		if got := r.told("a"); got != nil {
			t.Errorf("the node was told %v", got)
		}
		time.Sleep(2 * time.Second)
		if got := r.told("a"); len(got) != 1 {
			t.Errorf("the node was told %v", got)
		}
	})
}
