package scheduler

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/node"
)

func TestClusterPlacesAndReleases(t *testing.T) {
	cl := NewCluster()
	work := &Work{Resources: job.Resources{MemoryBytes: 3 * gib}, NeedsRuntime: true}
	if _, ok := cl.Place(work, "x"); ok {
		t.Fatal("placed without nodes")
	}
	a, b := plain("a", 4, 4*gib), plain("b", 4, 4*gib)
	cl.NodeChanged(nil, b)
	cl.NodeChanged(nil, a)
	if id, ok := cl.Place(work, "x"); ok {
		t.Fatalf("placed on %s, which is not connected", id)
	}
	cl.SetConnected("a", true)
	cl.SetConnected("b", true)
	for _, want := range []string{"a", "b"} {
		if id, ok := cl.Place(work, "job "+want); !ok || id != want {
			t.Fatalf("Place = %q, %v, want %q", id, ok, want)
		}
	}
	if id, ok := cl.Place(work, "x"); ok {
		t.Fatalf("placed a third on %s", id)
	}
	cl.Release("job b")
	cl.Release("job b") // again: nothing
	if id, ok := cl.PlaceOn(work, "x", []string{"a", "gone"}); ok {
		t.Fatalf("placed on %s, which is full", id)
	}
	if id, ok := cl.PlaceOn(work, "x", []string{"a", "b"}); !ok || id != "b" {
		t.Fatalf("PlaceOn = %q, %v, want b", id, ok)
	}
	// What a node holds outlives its absence.
	off := *a
	off.State = node.Offline
	cl.NodeChanged(a, &off)
	cl.SetConnected("a", false)
	if _, there := cl.Node("a"); there {
		t.Error("an offline node is there")
	}
	cl.NodeChanged(&off, a)
	cl.SetConnected("a", true)
	if got := cl.Held("a").MemoryBytes; got != 3*gib {
		t.Errorf("a holds %d after it came back, want 3 GiB", got)
	}
	cl.Release("job a")
	cl.NodeChanged(a, nil)
	cl.SetConnected("a", false)
	if len(cl.places) != 1 || len(cl.active) != 1 {
		t.Errorf("%d places and %d active nodes are left, want b only", len(cl.places), len(cl.active))
	}
}

// What a node measures counts when it is told, and wakes who waits for space.
func TestClusterMeasuresDisks(t *testing.T) {
	cl := NewCluster()
	watch := cl.Watch()
	defer watch.Stop()
	n := plain("a", 4, 4*gib)
	n.Capabilities.Disk.TotalBytes = 10 * gib
	cl.NodeChanged(nil, n)
	cl.SetConnected("a", true)
	measure := func(used int64) {
		next := *n
		next.Usage.DiskUsedBytes = used
		cl.UsageChanged(&next)
	}
	gained := func() int {
		nodes := make(map[string]struct{})
		watch.Take(nodes)
		return len(nodes)
	}
	gained()
	work := &Work{Resources: job.Resources{DiskBytes: 4 * gib}}
	measure(7 * gib)
	if id, ok := cl.Place(work, "x"); ok {
		t.Fatalf("placed on %s, whose disk has 3 GiB left", id)
	}
	if got := gained(); got != 0 {
		t.Error("a disk that fills is said to have gained room")
	}
	measure(5 * gib)
	if got := gained(); got != 1 {
		t.Error("a disk that was emptied is not looked at anew")
	}
	if _, ok := cl.Place(work, "x"); !ok {
		t.Fatal("not placed on a disk with 5 GiB left")
	}
	if id, ok := cl.Place(work, "y"); ok {
		t.Fatalf("placed a second on %s, where 1 GiB is left", id)
	}
	cl.UsageChanged(&node.Node{ID: "unknown", State: node.Online})
}

func TestClusterWatch(t *testing.T) {
	cl := NewCluster()
	watch := cl.Watch()
	defer watch.Stop()
	take := func() string {
		got := make(map[string]struct{})
		watch.Take(got)
		return fmt.Sprint(slices.Sorted(maps.Keys(got)))
	}
	a := plain("a", 1, gib)
	cl.NodeChanged(nil, a)
	cl.SetConnected("b", true)
	if got := take(); got != "[a b]" {
		t.Errorf("gained room: %s, want [a b]", got)
	}
	cl.NodeChanged(a, a)
	cl.SetConnected("a", false)
	cl.Hold("a", "x", &Work{TakesSlot: true})
	if got := take(); got != "[]" {
		t.Errorf("gained room: %s, want none", got)
	}
	cl.Release("x")
	select {
	case <-watch.Ready():
	default:
		t.Error("the watcher was not woken")
	}
	if got := take(); got != "[a]" {
		t.Errorf("gained room: %s, want [a]", got)
	}
	watch.Stop()
	cl.NodeChanged(nil, plain("c", 1, gib))
	if got := take(); got != "[]" {
		t.Errorf("gained room after Stop: %s, want none", got)
	}
}

// TestClusterNeverOvercommits places and releases at random: what is placed
// always fits, and in the end nothing is held.
func TestClusterNeverOvercommits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cl := NewCluster()
		for i := range rapid.IntRange(1, 4).Draw(t, "nodes") {
			n := plain(fmt.Sprint("n", i), rapid.IntRange(1, 4).Draw(t, "cores"), int64(rapid.IntRange(1, 4).Draw(t, "memory"))*gib)
			for range rapid.IntRange(0, 2).Draw(t, "gpus") {
				n.Capabilities.GPUs = append(n.Capabilities.GPUs, node.GPU{MemoryBytes: 8 * gib})
			}
			cl.NodeChanged(nil, n)
			cl.SetConnected(n.ID, true)
		}
		var holders []string
		for i := range rapid.IntRange(1, 40).Draw(t, "steps") {
			if len(holders) > 0 && rapid.Bool().Draw(t, "release") {
				at := rapid.IntRange(0, len(holders)-1).Draw(t, "which")
				cl.Release(holders[at])
				holders = slices.Delete(holders, at, at+1)
				continue
			}
			work := &Work{TakesSlot: true, Resources: job.Resources{
				CPUMillis:      int64(rapid.IntRange(0, 2000).Draw(t, "cpu")),
				MemoryBytes:    int64(rapid.IntRange(0, 2048).Draw(t, "mib")) * mib,
				GPUs:           rapid.IntRange(0, 1).Draw(t, "gpus"),
				GPUMemoryBytes: int64(rapid.IntRange(0, 8).Draw(t, "gpu gib")) * gib,
			}}
			holder := fmt.Sprint("h", i)
			if _, ok := cl.Place(work, holder); ok {
				holders = append(holders, holder)
			}
			for _, c := range cl.active {
				h := c.Held
				if h.CPUMillis > cpuMillis(c.Node) || h.MemoryBytes > c.Node.Capabilities.MemoryBytes ||
					h.Slots > Slots(c.Node) || !gpusFit(c.Node.Capabilities.GPUs, h.gpus) {
					t.Fatalf("%s is overcommitted: %+v", c.Node.ID, h)
				}
			}
		}
		for _, holder := range holders {
			cl.Release(holder)
		}
		for _, c := range cl.active {
			if h := c.Held; h.CPUMillis != 0 || h.MemoryBytes != 0 || h.Slots != 0 || len(h.gpus) != 0 {
				t.Fatalf("%s still holds %+v", c.Node.ID, h)
			}
		}
	})
}

func TestClusterConcurrentUse(t *testing.T) {
	cl := NewCluster()
	watch := cl.Watch()
	for i := range 8 {
		id := fmt.Sprint("n", i)
		cl.NodeChanged(nil, plain(id, 2, gib))
		cl.SetConnected(id, true)
	}
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			work := &Work{TakesSlot: true}
			for i := range 200 {
				holder := fmt.Sprint(worker, "/", i)
				if _, ok := cl.Place(work, holder); ok {
					cl.Explain(work)
					cl.Release(holder)
				}
				watch.Take(map[string]struct{}{})
			}
		})
	}
	wg.Wait()
	for i := range 8 {
		if got := cl.Held(fmt.Sprint("n", i)).Slots; got != 0 {
			t.Errorf("n%d still holds %d slots", i, got)
		}
	}
}
