package scheduler

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/node"
)

// TestSearchFindsWhatPickFinds does everything at random that changes what room
// there is, and holds the search that goes past blocks of nodes against the one
// that looks at all of them.
func TestSearchFindsWhatPickFinds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cl := NewCluster()
		nodes := make(map[string]*node.Node)
		id := func() string { return fmt.Sprintf("n%04d", rapid.IntRange(0, 4*blockSize).Draw(t, "node")) }
		register := func(id string) {
			n := plain(id, rapid.IntRange(1, 4).Draw(t, "cores"), int64(rapid.IntRange(1, 8).Draw(t, "memory"))*gib)
			n.Cordoned = rapid.IntRange(0, 9).Draw(t, "cordoned") == 0
			if rapid.IntRange(0, 9).Draw(t, "gpu") == 0 {
				n.Capabilities.GPUs = []node.GPU{{MemoryBytes: 8 * gib, Vendor: "nvidia", UUID: "GPU-" + id}}
			}
			cl.NodeChanged(nodes[id], n)
			nodes[id] = n
			cl.SetConnected(id, rapid.IntRange(0, 9).Draw(t, "connected") > 0)
		}
		for i := range 2*blockSize + 10 {
			register(fmt.Sprintf("n%04d", i))
		}
		work := func() *Work {
			w := &Work{TakesSlot: rapid.Bool().Draw(t, "slot"), NeedsRuntime: rapid.Bool().Draw(t, "runtime"), Resources: job.Resources{
				CPUMillis:   int64(rapid.IntRange(0, 4).Draw(t, "needs cores")) * 1000,
				MemoryBytes: int64(rapid.IntRange(0, 8).Draw(t, "needs memory")) * gib,
			}, Prefers: drawPreferences(t)}
			if rapid.IntRange(0, 4).Draw(t, "needs gpu") == 0 {
				w.Resources.GPUs = 1
			}
			return w
		}
		held := 0
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 6).Draw(t, "step") {
			case 0:
				register(id())
			case 1:
				at := id()
				cl.NodeChanged(nodes[at], nil)
				delete(nodes, at)
			case 2:
				if n := nodes[id()]; n != nil {
					next := *n
					next.Usage.MemoryOthersBytes = int64(rapid.IntRange(0, 8).Draw(t, "others")) * gib
					cl.UsageChanged(&next)
				}
			case 3:
				cl.SetConnected(id(), rapid.Bool().Draw(t, "connected"))
			case 4:
				for range rapid.IntRange(1, 100).Draw(t, "placements") {
					cl.Place(work(), fmt.Sprint(held))
					held++
				}
			case 5:
				for range rapid.IntRange(1, 50).Draw(t, "releases") {
					cl.Release(fmt.Sprint(rapid.IntRange(0, max(held, 1)).Draw(t, "holder")))
				}
			case 6:
				cl.Hold(id(), fmt.Sprint(held), work())
				held++
			}
			if len(cl.active) == 0 {
				continue
			}
			w, from := work(), rapid.IntRange(0, len(cl.active)-1).Draw(t, "from")
			if got, want := cl.searchLocked(w, from), Pick(w, cl.active, from); got != want {
				t.Fatalf("found %v, want %v", got, want)
			}
			var ids []string
			for range 3 {
				ids = append(ids, id())
			}
			if room := cl.Room(ids); cl.FitsOn(w, ids) && !room.MayFit(w) {
				t.Fatalf("room %+v leaves out work that fits: %+v", room, w.Resources)
			}
		}
	})
}
