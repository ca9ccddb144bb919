package scheduler

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/orchion/orchion/orchestrator/internal/job"
)

func TestKeepRoomWhereTheLeastIsMissing(t *testing.T) {
	cl := NewCluster()
	for id, taken := range map[string]int64{"a": 4000, "b": 3000, "c": 2000, "small": 0} {
		n := plain(id, 4, 8*gib)
		if id == "small" {
			n = plain(id, 2, 8*gib)
		}
		cl.NodeChanged(nil, n)
		cl.SetConnected(id, true)
		cl.Hold(id, "job/"+id, &Work{TakesSlot: true, Resources: job.Resources{CPUMillis: taken}})
	}
	cl.SetConnected("c", false)
	large := &Work{TakesSlot: true, Resources: job.Resources{CPUMillis: 4000}}
	first, lacks := cl.KeepRoom(large, "j1", KeepOn{})
	if first == nil || first.NodeID != "b" || lacks != 0.75 {
		t.Fatalf("kept %+v, which lacks %v; want b, which lacks 3 of 4 cores", first, lacks)
	}
	second, _ := cl.KeepRoom(large, "j2", KeepOn{})
	if second == nil || second.NodeID != "a" {
		t.Fatalf("kept %+v, want a, where none is kept", second)
	}
	if third, _ := cl.KeepRoom(large, "j3", KeepOn{}); third != nil {
		t.Errorf("kept %+v, on a node where room is kept", third)
	}
	if third, _ := cl.KeepRoom(large, "j3", KeepOn{Instead: second}); third == nil || third.NodeID != "a" {
		t.Errorf("kept %+v, want a instead of the second", third)
	}
	if _, suitable := cl.Lacks(second); suitable {
		t.Error("the second is still kept")
	}
	next := plain("b", 4, 8*gib)
	next.Cordoned = true
	cl.NodeChanged(nil, next)
	if _, suitable := cl.Lacks(first); suitable {
		t.Error("room is kept on a node that takes nothing")
	}
	changes := cl.Watch()
	defer changes.Stop()
	cl.StopKeeping(first)
	got := map[string]struct{}{}
	if changes.Take(got); len(got) != 1 {
		t.Errorf("gained room: %v, want b", got)
	}
}

// TestKeptRoomOnlyGrows: whatever is placed beside it, no less room is left than
// before, or still enough.
func TestKeptRoomOnlyGrows(t *testing.T) {
	draw := func(t *rapid.T) *Work {
		return &Work{TakesSlot: true, Resources: job.Resources{
			CPUMillis:   int64(rapid.IntRange(0, 4).Draw(t, "cores")) * 1000,
			MemoryBytes: int64(rapid.IntRange(0, 4).Draw(t, "memory")) * gib,
			GPUs:        rapid.IntRange(0, 2).Draw(t, "gpus"),
		}}
	}
	rapid.Check(t, func(t *rapid.T) {
		cl := NewCluster()
		n := withGPUs("a", 8, 8, 8)
		n.Capabilities.CPU.LogicalCores, n.Capabilities.MemoryBytes = 6, 6*gib
		cl.NodeChanged(nil, n)
		cl.SetConnected("a", true)
		held := 0
		for range rapid.IntRange(0, 12).Draw(t, "held") {
			held++
			cl.Place(draw(t), fmt.Sprint(held))
		}
		wanted := draw(t)
		k, lacks := cl.KeepRoom(wanted, "wanted", KeepOn{})
		if k == nil {
			t.Skip()
		}
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "release") {
				cl.Release(fmt.Sprint(rapid.IntRange(1, held+1).Draw(t, "which")))
				lacks, _ = cl.Lacks(k)
				continue
			}
			held++
			cl.Place(draw(t), fmt.Sprint(held))
			now, _ := cl.Lacks(k)
			if now > lacks {
				t.Fatalf("lacks %v after %v was placed, and before %v", now, held, lacks)
			}
		}
		mine := *wanted
		mine.Mine = k
		for i := range held {
			cl.Release(fmt.Sprint(i + 1))
		}
		if _, ok := cl.Place(&mine, "wanted"); !ok {
			t.Fatal("does not fit on the empty node")
		}
	})
}

// TestKeepRoomBesideJobsThatAreAvoided: they are what a node lacks, not what
// makes it unsuitable, and no more of them come while room is kept.
func TestKeepRoomBesideJobsThatAreAvoided(t *testing.T) {
	cl := NewCluster()
	for _, id := range []string{"a", "b"} {
		cl.NodeChanged(nil, plain(id, 4, 8*gib))
		cl.SetConnected(id, true)
	}
	labelled := func(id, app string) *Work {
		return &Work{TakesSlot: true, Job: &Job{ID: id, Labels: map[string]string{"app": app}}}
	}
	for holder, nodeID := range map[string]string{"1": "a", "2": "a", "3": "b"} {
		cl.Hold(nodeID, holder, labelled(holder, "db"))
	}
	avoids := &Work{TakesSlot: true, AvoidJobs: selector("app=db"), Job: &Job{ID: "j"}}
	k, lacks := cl.KeepRoom(avoids, "j", KeepOn{})
	if k == nil || k.NodeID != "b" || lacks != 1 {
		t.Fatalf("kept %+v, which lacks %v; want b, which holds one job that is avoided", k, lacks)
	}
	if k, _ := cl.KeepRoom(avoids, "j", KeepOn{Below: lacks, Instead: k}); k != nil {
		t.Errorf("kept %+v, where no less is missing", k)
	}
	for _, tt := range []struct {
		what string
		work *Work
		want bool
	}{
		{"of a job that is avoided", labelled("4", "db"), false},
		{"of a job that is not", labelled("5", "web"), true},
		{"of one that has no labels", &Work{TakesSlot: true, Job: &Job{ID: "6"}}, true},
		{"of one whose labels are not known", &Work{TakesSlot: true}, false},
	} {
		if got := cl.FitsOn(tt.work, []string{"b"}); !got {
			t.Errorf("the work %s does not fit on b", tt.what)
		}
		_, got := cl.PlaceOn(tt.work, "new", []string{"b"})
		if got != tt.want {
			t.Errorf("placing the work %s beside the room that is kept: %v, want %v", tt.what, got, tt.want)
		}
		cl.Release("new")
	}
	cl.Release("3")
	if lacks, suitable := cl.Lacks(k); lacks != 0 || !suitable {
		t.Errorf("lacks %v when the last one has ended", lacks)
	}
}
