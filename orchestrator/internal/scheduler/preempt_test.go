package scheduler

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/node"
)

func TestRelieve(t *testing.T) {
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	type there struct {
		node     string
		cores    int64
		priority int
		age      int // hours
		ending   bool
	}
	for _, tt := range []struct {
		name  string
		there []there
		cores int64
		want  string // holders, by their place in the list
	}{
		{"the youngest", []there{{"a", 2, 0, 3, false}, {"a", 2, 0, 1, false}}, 2, "a 1"},
		{"the lowest priority", []there{{"a", 2, 1, 1, false}, {"a", 2, 0, 9, false}}, 2, "a 1"},
		{"one large instead of two, of a priority", []there{{"a", 1, 0, 1, false}, {"a", 1, 0, 1, false}, {"b", 2, 0, 9, false}, {"b", 2, 0, 9, false}}, 2, "b 2"},
		{"two of a low priority instead of one", []there{{"a", 2, 0, 1, false}, {"a", 2, 0, 2, false}, {"b", 4, 1, 1, false}}, 4, "a 0 1"},
		{"no more than it takes", []there{{"a", 1, 0, 1, false}, {"a", 3, 1, 1, false}}, 3, "a 1"},
		{"what ends anyway", []there{{"a", 4, 0, 1, false}, {"b", 2, 5, 1, true}, {"b", 2, 5, 1, false}}, 2, "b"},
		{"not enough", []there{{"a", 4, 0, 1, false}}, 5, "none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cl := NewCluster()
			for _, id := range []string{"a", "b"} {
				cl.NodeChanged(nil, plain(id, 4, 8*gib))
				cl.SetConnected(id, true)
			}
			var victims []Victim
			used := map[string]int64{}
			for i, v := range tt.there {
				holder := fmt.Sprint(i)
				cl.Hold(v.node, holder, &Work{TakesSlot: true, Resources: job.Resources{CPUMillis: v.cores * 1000}})
				used[v.node] += v.cores
				victims = append(victims, Victim{v.node, holder, v.priority, start.Add(-time.Duration(v.age) * time.Hour), v.ending})
			}
			for _, id := range []string{"a", "b"} { // what nobody may end
				cl.Hold(id, "firm "+id, &Work{Resources: job.Resources{CPUMillis: (4 - used[id]) * 1000}})
			}
			got := "none"
			if r := cl.Relieve(&Work{TakesSlot: true, Resources: job.Resources{CPUMillis: tt.cores * 1000}}, victims); r != nil {
				ends := []string{}
				for _, v := range r.End {
					ends = append(ends, v.Holder)
				}
				slices.Sort(ends)
				got = strings.TrimSpace(r.NodeID + " " + strings.Join(ends, " "))
			}
			if got != tt.want {
				t.Errorf("relief is %q, want %q", got, tt.want)
			}
		})
	}
}

// TestReliefIsEnoughAndNoMore: what is to be ended makes room, each part of it
// is needed, and ending only what has a lower priority would not do.
func TestReliefIsEnoughAndNoMore(t *testing.T) {
	draw := func(t *rapid.T) *Work {
		return &Work{TakesSlot: true, NeedsRuntime: true, Resources: job.Resources{
			CPUMillis:   int64(rapid.IntRange(0, 4).Draw(t, "cores")) * 1000,
			MemoryBytes: int64(rapid.IntRange(0, 4).Draw(t, "memory")) * gib,
			GPUs:        rapid.IntRange(0, 2).Draw(t, "gpus"),
		}}
	}
	rapid.Check(t, func(t *rapid.T) {
		cl := NewCluster()
		for _, id := range []string{"a", "b"} {
			n := withGPUs(id, 8, 8, 8)
			n.Capabilities.CPU.LogicalCores, n.Capabilities.MemoryBytes = 6, 6*gib
			cl.NodeChanged(nil, n)
			cl.SetConnected(id, true)
		}
		var victims []Victim
		for i := range rapid.IntRange(0, 16).Draw(t, "held") {
			nodeID, ok := cl.Place(draw(t), fmt.Sprint(i))
			if ok && rapid.Bool().Draw(t, "preemptible") {
				victims = append(victims, Victim{
					NodeID: nodeID, Holder: fmt.Sprint(i), Priority: rapid.IntRange(0, 2).Draw(t, "priority"),
					Since: time.Unix(int64(rapid.IntRange(0, 3).Draw(t, "since")), 0), Ending: rapid.IntRange(0, 4).Draw(t, "ending") == 0,
				})
			}
		}
		work := draw(t)
		fits := func(nodeID string, ended func(Victim) bool) bool {
			c := cl.places[nodeID].Candidate
			for _, v := range victims {
				if h := cl.holders[v.Holder]; v.NodeID == nodeID && (v.Ending || ended(v)) {
					c.Held.remove(h.resources, h.slots, h.gpus...)
				}
			}
			return passes(work, &c)
		}
		r := cl.Relieve(work, victims)
		if r == nil {
			for _, v := range victims {
				if fits(v.NodeID, func(Victim) bool { return true }) {
					t.Fatalf("found nothing, but ending all on %s makes room", v.NodeID)
				}
			}
			return
		}
		in := func(v Victim) bool { return slices.Contains(r.End, v) }
		if !fits(r.NodeID, in) {
			t.Fatalf("%+v does not make room", r)
		}
		for _, spared := range r.End {
			if fits(r.NodeID, func(v Victim) bool { return v != spared && in(v) }) {
				t.Fatalf("%+v need not be ended", spared)
			}
			if fits(r.NodeID, func(v Victim) bool { return v.Priority < spared.Priority }) {
				t.Fatalf("ending what has a lower priority than %+v makes room as well", spared)
			}
		}
	})
}

// BenchmarkRelieve is one search for what to end, and one for a node to keep
// room on, on 10,000 nodes that are full.
func BenchmarkRelieve(b *testing.B) {
	cl := NewCluster()
	var victims []Victim
	for i := range 10_000 {
		id := fmt.Sprintf("node-%05d", i)
		cl.NodeChanged(nil, plain(id, 16, 64*gib))
		cl.SetConnected(id, true)
		for part := range 4 {
			holder := fmt.Sprint(id, "/", part)
			cl.Hold(id, holder, &Work{TakesSlot: true, Resources: job.Resources{CPUMillis: 4000}})
			if len(victims) < 1024 {
				victims = append(victims, Victim{NodeID: id, Holder: holder, Priority: i % 7, Since: time.Unix(int64(i), 0)})
			}
		}
	}
	work := &Work{NeedsRuntime: true, TakesSlot: true, Resources: job.Resources{CPUMillis: 8000}}
	b.Run("end", func(b *testing.B) {
		for b.Loop() {
			if cl.Relieve(work, victims) == nil {
				b.Fatal("found nothing")
			}
		}
	})
	b.Run("keep", func(b *testing.B) {
		for b.Loop() {
			k, _ := cl.KeepRoom(work, "j", KeepOn{})
			if k == nil {
				b.Fatal("found nothing")
			}
			cl.StopKeeping(k)
		}
	})
}

// TestReliefOfGPUs: what a job uses of a GPU's memory goes with it, and what
// stays there and what other programs use does not.
func TestReliefOfGPUs(t *testing.T) {
	half := job.Resources{GPUMemoryBytes: 12 * gib}
	for _, tt := range []struct {
		name  string
		firm  bool // another share of the same GPU stays
		grant []string
		used  []int64 // GiB
		want  string
	}{
		{"the job's own", false, []string{"g0"}, []int64{20, 20}, "a 1"},
		{"beside one that stays", true, []string{"g0"}, []int64{20, 20}, "none"},
		{"another program's", false, nil, []int64{20, 20}, "none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cl := NewCluster()
			n := withGPUs("a", 24, 24)
			for i, used := range tt.used {
				n.Usage.GPUs = append(n.Usage.GPUs, node.GPUUsage{UUID: fmt.Sprint("g", i), MemoryUsedBytes: used * gib})
			}
			cl.NodeChanged(nil, n)
			cl.SetConnected("a", true)
			w := &Work{TakesSlot: true, NeedsRuntime: true}
			if tt.grant != nil {
				w.Resources = half
			}
			cl.Hold("a", "low", w, tt.grant...)
			if tt.firm {
				cl.Hold("a", "firm", &Work{NeedsRuntime: true, Resources: job.Resources{GPUMemoryBytes: gib}}, "g0")
			}
			got := "none"
			wants := &Work{TakesSlot: true, NeedsRuntime: true, Resources: job.Resources{GPUMemoryBytes: 16 * gib}}
			if r := cl.Relieve(wants, []Victim{{NodeID: "a", Holder: "low"}}); r != nil {
				got = fmt.Sprint(r.NodeID, " ", len(r.End))
			}
			if got != tt.want {
				t.Errorf("relief is %q, want %q", got, tt.want)
			}
		})
	}
}
