package model_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/model"
	"github.com/orchion/orchion/orchestrator/internal/node"
)

func TestDeploymentBecomesReady(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		d := r.create("")
		if d.Name != "qwen3-0-6b" {
			t.Errorf("name = %q, want qwen3-0-6b", d.Name)
		}
		r.want(d.Name, "pending: - pending")
		r.wantReason(d.Name, "waits for a node: no node is online: start a node agent, for example with: node-agent --orchestrator localhost:50051")
		if set := r.node("a"); len(set) != 0 {
			t.Errorf("a new node is to run %v", set)
		}
		r.want(d.Name, "pending: a pending")
		id := r.on(d.Name, "a").ID
		if got := r.told("a"); !slices.Equal(got, []string{"assign " + id}) {
			t.Errorf("the node was told %v", got)
		}
		r.says("a", model.ReplicaStatus{ReplicaID: id, State: model.Pulling, ProgressPercent: 42, CompletedBytes: 42, TotalBytes: 100})
		r.wantReason(d.Name, "pulling on node a, 42 %")
		r.says("a", model.ReplicaStatus{ReplicaID: id, State: model.Pulling, ProgressPercent: 7, CompletedBytes: 7, TotalBytes: 100})
		r.says("a", model.ReplicaStatus{ReplicaID: id, State: model.Pending})
		if got := r.on(d.Name, "a"); got.State != model.Pulling || got.ProgressPercent != 42 || got.CompletedBytes != 42 {
			t.Errorf("progress went back: %+v", got)
		}
		if got := r.routes("qwen3:0.6b"); got != "" {
			t.Errorf("routes before it is ready: %s", got)
		}
		r.says("a", model.ReplicaStatus{ReplicaID: id, State: model.Loading, Reason: "loading the model"})
		r.says("a", model.ReplicaStatus{ReplicaID: id, State: model.Ready, ServedModel: "qwen3"})
		r.want(d.Name, "ready: a ready")
		want := []model.Route{{Model: "qwen3:0.6b", ServedModel: "qwen3", NodeID: "a", ReplicaID: id, Deployment: d.Name, Engine: "ollama", MaxInFlight: 8, MaxQueued: 256}}
		if diff := cmp.Diff(want, r.m.Routes("qwen3:0.6b")); diff != "" {
			t.Errorf("routes (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]model.ModelInfo{{ID: "qwen3:0.6b", Created: d.CreatedAt, Routes: want}}, r.m.Models()); diff != "" {
			t.Errorf("models (-want +got):\n%s", diff)
		}
		if got := r.takeEvents(); got != "qwen3-0-6b pending, qwen3-0-6b ready" {
			t.Errorf("events = %s", got)
		}
		again := r.create("")
		if again.Replicas[0].ID != id {
			t.Error("an equal deployment was not answered as it is")
		}
		one, two := 1, 2
		if _, err := r.m.Update(t.Context(), d.Name, func(d *model.Deployment) error { return d.Spec.Limit(&one, &two) }); err != nil {
			t.Fatal(err)
		}
		if routes := r.m.Routes("qwen3:0.6b"); len(routes) != 1 || routes[0].MaxInFlight != 1 || routes[0].MaxQueued != 2 || routes[0].ReplicaID != id {
			t.Errorf("with other limits the routes are %+v", routes)
		}
		// The engine dies and is started again by its node.
		r.says("a", model.ReplicaStatus{ReplicaID: id, State: model.Loading, Reason: "the engine died"})
		if got := r.routes("qwen3:0.6b"); got != "" {
			t.Errorf("routes while it is loaded again: %s", got)
		}
	})
}

func TestNameOf(t *testing.T) {
	for _, tt := range []struct{ model, want string }{
		{"qwen3:0.6b", "qwen3-0-6b"},
		{"hf.co/Org/Model_X-GGUF:Q4_K_M", "hf-co-org-model-x-gguf-q4-k-m"},
		{"::", ""},
		{"ж", ""},
		{strings.Repeat("ab", 40), strings.Repeat("ab", 31) + "a"},
		{strings.Repeat("a", 62) + ":b", strings.Repeat("a", 62)},
	} {
		if got := model.NameOf(tt.model); got != tt.want {
			t.Errorf("NameOf(%q) = %q, want %q", tt.model, got, tt.want)
		}
	}
}

func TestCreateErrors(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.create("taken")
		r.create("going")
		r.node("a")
		if err := r.m.Delete(t.Context(), "going"); err != nil {
			t.Fatal(err)
		}
		good := model.Spec{Model: "m", Engine: model.Ollama, Replicas: 1}
		for _, tt := range []struct {
			name, deployment string
			change           func(*model.Spec)
			code             fault.Code
			want             string
		}{
			{"name", "Big", func(*model.Spec) {}, fault.Invalid, `name: "Big" is not 1 to 63 lower-case letters, digits and hyphens, beginning with a letter or digit`},
			{"no name to be made", "", func(s *model.Spec) { s.Model = "::" }, fault.Invalid, "name: is empty, and none can be made from the model's"},
			{"model", "x", func(s *model.Spec) { s.Model = "" }, fault.Invalid, "spec.model: is empty; name a model as its engine does"},
			{"engine", "x", func(s *model.Spec) { s.Engine = 9 }, fault.Invalid, "spec.engine: is not an engine; use ollama, vllm or external"},
			{"replicas", "x", func(s *model.Spec) { s.Replicas = 65 }, fault.Invalid, "spec.replicas: is 65; 0 to 64 are allowed"},
			{"external image", "x", func(s *model.Spec) { s.Engine, s.Image = model.External, "i" }, fault.Invalid, "spec.image: does not go with an external engine"},
			{"external args", "x", func(s *model.Spec) { s.Engine, s.Args = model.External, []string{"-x"} }, fault.Invalid, "spec.args: do not go with an external engine"},
			{"constraint", "x", func(s *model.Spec) { s.Constraints = []string{"os=linux", "ram>1"} }, fault.Invalid, `spec.constraints[1]: "ram" is not a key of constraints`},
			{"differs", "taken", func(*model.Spec) {}, fault.AlreadyExists, "deployment taken exists and differs; update or delete it, or choose another name"},
			{"being deleted", "going", func(*model.Spec) {}, fault.Precondition, "deployment going is being deleted; try again when it is gone"},
		} {
			spec := good
			tt.change(&spec)
			_, err := r.m.Create(t.Context(), model.Deployment{Name: tt.deployment, Spec: spec})
			if fault.CodeOf(err) != tt.code || err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("%s: error = %v (code %v), want %q (code %v)", tt.name, err, fault.CodeOf(err), tt.want, tt.code)
			}
		}
	})
}

func TestUpdateAndDeleteErrors(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.create("d")
		update := func(name string, f func(*model.Deployment)) error {
			_, err := r.m.Update(t.Context(), name, func(d *model.Deployment) error { f(d); return nil })
			return err
		}
		check := func(err error, code fault.Code, want string) {
			t.Helper()
			if fault.CodeOf(err) != code || err == nil || err.Error() != want {
				t.Errorf("error = %v (code %v), want %q", err, fault.CodeOf(err), want)
			}
		}
		check(update("none", nil), fault.NotFound, `there is no deployment "none"`)
		check(update("d", func(d *model.Deployment) { d.Spec.Model = "x" }), fault.Invalid, "spec.model: is fixed (qwen3:0.6b); create another deployment")
		check(update("d", func(d *model.Deployment) { d.Spec.Engine = model.VLLM }), fault.Invalid, "spec.engine: is fixed (ollama); create another deployment")
		check(update("d", func(d *model.Deployment) { d.Spec.Replicas = -1 }), fault.Invalid, "spec.replicas: is -1; 0 to 64 are allowed")
		check(r.m.Delete(t.Context(), "none"), fault.NotFound, `there is no deployment "none"`)
		_, err := r.m.Get("none")
		check(err, fault.NotFound, `there is no deployment "none"`)
		r.store.failing.Store(true)
		check(r.m.Delete(t.Context(), "d"), fault.Unavailable, "the disk is full")
		check(update("d", func(d *model.Deployment) { d.Spec.Replicas = 3 }), fault.Unavailable, "the disk is full")
		r.store.failing.Store(false)
		r.want("d", "pending: - pending") // as it was
	})
}

func TestScaleAndDelete(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.node("a")
		r.node("b")
		r.create("d", replicas(3))
		r.want("d", "pending: - pending, a pending, b pending")
		// Replicas do not share a node.
		if p := r.get("d").Replicas[2]; p.Reason != "none of the 2 nodes can take it: already runs a replica of this deployment (2 nodes)" {
			t.Errorf("reason = %q", p.Reason)
		}
		r.ready("d", "b")
		r.wantReason("d", "1 of 3 replicas serve: pending on node a")
		r.node("c")
		r.want("d", "degraded: a pending, b ready, c pending")
		r.told("a")
		r.update("d", replicas(1))
		// The one that serves stays.
		r.want("d", "ready: a stopping, b ready, c stopping")
		goingA, goingC := r.told("a"), r.told("c")
		if len(goingA) != 1 || !strings.HasPrefix(goingA[0], "remove d-") {
			t.Fatalf("a was told %v", goingA)
		}
		idA, idC := strings.TrimPrefix(goingA[0], "remove "), strings.TrimPrefix(goingC[len(goingC)-1], "remove ")
		r.says("a", model.ReplicaStatus{ReplicaID: idA, State: model.Loading}) // late
		if got := r.told("a"); !slices.Equal(got, goingA) {
			t.Errorf("a was told %v, want it again to remove", got)
		}
		r.says("a", model.ReplicaStatus{ReplicaID: idA, Removed: true})
		r.says("c", model.ReplicaStatus{ReplicaID: idC, Removed: true})
		r.want("d", "ready: b ready")

		r.update("d", replicas(0))
		r.wantReason("d", "scaled to no replicas")
		r.update("d", replicas(1))
		r.want("d", "pending: a pending, b stopping")
		r.takeEvents()
		if err := r.m.Delete(t.Context(), "d"); err != nil {
			t.Fatal(err)
		}
		r.want("d", "deleting: a stopping, b stopping")
		r.wantReason("d", "waits for 2 replicas to stop")
		if err := r.m.Delete(t.Context(), "d"); err != nil {
			t.Errorf("deleting again: %v", err)
		}
		// An offline node does not hold it up, an online one does until it
		// connects without the replica.
		r.offline("a")
		r.want("d", "deleting: b stopping")
		r.connect("b")
		synctest.Wait()
		if _, err := r.m.Get("d"); fault.CodeOf(err) != fault.NotFound {
			t.Errorf("Get after deleting = %v, want NotFound", err)
		}
		if got := r.takeEvents(); got != "d deleting, d removed" {
			t.Errorf("events = %s", got)
		}
		if list, err := r.store.ListDeployments(t.Context()); err != nil || len(list) != 0 {
			t.Errorf("the store still has %v (%v)", list, err)
		}
		if held := r.cluster.Held("b"); held.MemoryBytes != 0 {
			t.Errorf("b still holds %+v", held)
		}
		r.create("d") // its name is free
	})
}

func TestStoppingIsNotWaitedForForEver(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.node("a")
		r.create("d")
		if err := r.m.Delete(t.Context(), "d"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2*time.Minute - time.Nanosecond)
		r.want("d", "deleting: a stopping")
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if got := r.m.List(); len(got) != 0 {
			t.Errorf("still there: %+v", got)
		}
	})
}

// TestForgettingWaitsForTheStore has the store fail while replicas are to be
// forgotten: it is asked again now and then, and not without a pause.
func TestForgettingWaitsForTheStore(t *testing.T) {
	for name, gone := range map[string]func(*rig){
		"its node does not say that it is gone": func(*rig) { time.Sleep(2 * time.Minute) },
		"its node is gone":                      func(r *rig) { r.offline("a") },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				r.node("a")
				r.create("d")
				if err := r.m.Delete(t.Context(), "d"); err != nil {
					t.Fatal(err)
				}
				r.store.failing.Store(true)
				gone(r)
				time.Sleep(10 * time.Second)
				synctest.Wait()
				if tries := r.store.deletes.Load(); tries < 5 || tries > 25 {
					t.Errorf("the store was asked %d times in ten seconds", tries)
				}
				r.store.failing.Store(false)
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if got := r.m.List(); len(got) != 0 {
					t.Errorf("still there: %+v", got)
				}
			})
		})
	}
}

// TestRemovingIsTriedAgain has the store fail when a replica becomes too much,
// and nothing else happen that would have the manager look again.
func TestRemovingIsTriedAgain(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.node("a")
		r.create("d")
		r.ready("d", "a")
		r.node("b")
		r.offline("a")
		r.want("d", "pending: a pending, b pending")
		r.store.failing.Store(true)
		r.ready("d", "b")
		r.want("d", "ready: a pending, b ready")
		time.Sleep(time.Minute)
		r.store.failing.Store(false)
		time.Sleep(2 * time.Second)
		r.want("d", "ready: b ready")
	})
}

func TestFailedReplicaIsTriedAgain(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.node("a")
		r.create("d")
		fail := func(nodeID string) string {
			t.Helper()
			id := r.on("d", nodeID).ID
			for range 2 { // saying it twice does not make it worse
				r.says(nodeID, model.ReplicaStatus{ReplicaID: id, State: model.Failed, Reason: "no space left"})
			}
			return id
		}
		// gone has a node do what it is told.
		gone := func(nodeID, id string) {
			t.Helper()
			r.says(nodeID, model.ReplicaStatus{ReplicaID: id, Removed: true})
			time.Sleep(time.Second)
		}
		first := fail("a")
		r.want("d", "failed: a failed")
		r.wantReason("d", "failed on node a: no space left (to be tried again at "+time.Now().Add(10*time.Second).UTC().Format(time.TimeOnly)+" UTC)")
		time.Sleep(10*time.Second - time.Nanosecond)
		r.want("d", "failed: a failed")
		time.Sleep(time.Nanosecond)
		time.Sleep(250 * time.Millisecond)
		r.want("d", "pending: - pending, a stopping")
		r.wantReason("d", "waits for a node: the only node cannot take it: still stops a replica of this deployment (tried again after: no space left)")
		gone("a", first)
		r.want("d", "pending: a pending")
		r.wantReason("d", "pending on node a: the only node cannot take it: still stops a replica of this deployment (tried again after: no space left)")
		second := fail("a")
		r.node("b")
		time.Sleep(15 * time.Second)
		r.want("d", "failed: a failed") // twice as long this time
		time.Sleep(6 * time.Second)
		r.want("d", "pending: a stopping, b pending") // another node is better
		gone("a", second)
		third := fail("b")
		time.Sleep(41 * time.Second)
		gone("b", third)
		r.want("d", "pending: a pending")
		r.ready("d", "a")
		fourth := fail("a") // the count begins anew
		time.Sleep(11 * time.Second)
		r.want("d", "pending: a stopping, b pending")
		gone("a", fourth)

		// One that comes back by itself is left alone.
		id := fail("b")
		r.says("b", model.ReplicaStatus{ReplicaID: id, State: model.Ready})
		time.Sleep(time.Hour)
		r.want("d", "ready: b ready")
		// One that disappears is as good as failed.
		r.says("b", model.ReplicaStatus{ReplicaID: id, Removed: true})
		r.wantReason("d", "failed on node b: it was removed on its node (to be tried again at "+time.Now().Add(10*time.Second).UTC().Format(time.TimeOnly)+" UTC)")
	})
}

func TestRestartKeepsReplicas(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.node("a")
		r.node("b")
		r.create("d", replicas(2), needsMemory(gib))
		r.ready("d", "a")
		r.ready("d", "b")
		onA, onB := r.on("d", "a").ID, r.on("d", "b").ID
		r.restart()
		r.want("d", "pending: a pending, b pending")
		r.node("c")
		r.back("a")
		if held := r.cluster.Held("a"); held.MemoryBytes != gib {
			t.Errorf("a holds %+v, want 1 GiB", held)
		}
		set := r.connect("a", model.ReplicaStatus{ReplicaID: onA, State: model.Ready},
			model.ReplicaStatus{ReplicaID: "unknown", State: model.Ready})
		if len(set) != 1 || set[0].ReplicaID != onA {
			t.Errorf("full set = %+v", set)
		}
		if got := r.told("a"); got[len(got)-1] != "remove unknown" {
			t.Errorf("a was told %v", got)
		}
		// b gets its time to come back, then it is given up.
		time.Sleep(44 * time.Second)
		r.want("d", "degraded: a ready, b pending")
		time.Sleep(2 * time.Second)
		r.want("d", "degraded: a ready, b pending, c pending")
		r.ready("d", "c")
		r.want("d", "ready: a ready, c ready")
		if _, err := r.store.ListDeployments(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.nodes["b"].State = node.Online
		r.back("b")
		if set := r.connect("b", model.ReplicaStatus{ReplicaID: onB, State: model.Ready}); len(set) != 0 {
			t.Errorf("full set = %+v, want none", set)
		}
	})
}

func TestUpdateReplacesOneByOne(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.node("a")
		r.node("b")
		r.create("d", replicas(2))
		r.ready("d", "a")
		r.ready("d", "b")
		oldA, oldB := r.on("d", "a").ID, r.on("d", "b").ID
		r.update("d", func(s *model.Spec) { s.Constraints = []string{"os=linux"} })
		r.want("d", "ready: a ready, b ready") // goes for later placements only
		r.update("d", func(s *model.Spec) { s.Args = []string{"--flag"} })
		r.want("d", "degraded: - pending, a ready, b stopping")
		time.Sleep(time.Minute)
		r.want("d", "degraded: - pending, a ready, b stopping") // the other waits for its turn
		r.says("b", model.ReplicaStatus{ReplicaID: oldB, Removed: true})
		time.Sleep(time.Second)
		r.want("d", "degraded: a ready, b pending")
		r.ready("d", "b")
		r.want("d", "degraded: - pending, a stopping, b ready")
		r.says("a", model.ReplicaStatus{ReplicaID: oldA, Removed: true})
		time.Sleep(time.Second)
		r.ready("d", "a")
		r.want("d", "ready: a ready, b ready")
		time.Sleep(time.Minute)
		r.want("d", "ready: a ready, b ready")
	})
}

func engines(models ...string) func(*node.Node) {
	return func(n *node.Node) {
		n.Capabilities.Engines = []node.LocalEngine{{Name: "lmstudio", Endpoint: "http://127.0.0.1:1234", Models: models}}
		n.Capabilities.Runtimes = nil
	}
}

func TestAdoptedEngines(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.node("plain")
		r.create("ext", func(s *model.Spec) { s.Model, s.Engine = "gemma", model.External })
		r.wantReason("ext", "waits for a node: the only node cannot take it: has no running engine to adopt: start one there, or name it to its node agent with --adopt URL")
		r.node("a", engines("gemma", "phi"))
		adopted := func(name string) model.Route {
			return model.Route{Model: name, ServedModel: name, NodeID: "a", EngineEndpoint: "http://127.0.0.1:1234", Engine: "lmstudio"}
		}
		if diff := cmp.Diff([]model.Route{adopted("gemma")}, r.m.Routes("gemma")); diff != "" {
			t.Errorf("routes (-want +got):\n%s", diff)
		}
		time.Sleep(time.Second)
		r.ready("ext", "a")
		// The deployment's way replaces the other to the same engine.
		want := []model.Route{{Model: "gemma", ServedModel: "gemma", NodeID: "a", ReplicaID: r.on("ext", "a").ID, Deployment: "ext", Engine: "external"}}
		if diff := cmp.Diff(want, r.m.Routes("gemma")); diff != "" {
			t.Errorf("routes (-want +got):\n%s", diff)
		}
		var ids []string
		for _, info := range r.m.Models() {
			ids = append(ids, info.ID)
		}
		if !slices.Equal(ids, []string{"gemma", "phi"}) {
			t.Errorf("models = %v", ids)
		}
		r.change("a", engines("new"))
		if got := r.routes("phi") + r.routes("new"); got != "a" {
			t.Errorf("routes after the engine changed: %q", got)
		}
		r.offline("a")
		if got := r.m.Models(); len(got) != 0 {
			t.Errorf("models of an offline node: %v", got)
		}
	})
}

func TestStoreFailsWhilePlacing(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.create("d")
		r.store.failing.Store(true)
		r.node("a")
		time.Sleep(10 * time.Second)
		r.wantReason("d", "waits for a node: its place could not be stored; see the orchestrator's log")
		if got := r.told("a"); got != nil {
			t.Errorf("the node was told %v of what is not durable", got)
		}
		r.store.failing.Store(false)
		time.Sleep(2 * time.Second)
		r.want("d", "pending: a pending")
	})
}

func TestStop(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.create("d")
		if err := r.m.Start(t.Context()); err == nil {
			t.Error("started twice")
		}
		r.m.Stop()
		r.m.Stop()
		_, err := r.m.Create(t.Context(), model.Deployment{Spec: model.Spec{Model: "m", Engine: model.Ollama}})
		if fault.CodeOf(err) != fault.Unavailable || err.Error() != "the orchestrator is shutting down" {
			t.Errorf("Create after Stop = %v, want Unavailable", err)
		}
		r.m.NodeChanged(nil, nil)
		r.m.NodeLeft("a")
		if got := r.m.List(); len(got) != 1 {
			t.Errorf("List after Stop = %v, want what was last known", got)
		}
	})
}
