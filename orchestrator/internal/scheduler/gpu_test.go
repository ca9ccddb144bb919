package scheduler

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/node"
)

func TestPackGPUs(t *testing.T) {
	gpus := []node.GPU{{MemoryBytes: 24 * gib}, {MemoryBytes: 8 * gib, Vendor: "nvidia"}}
	whole := func(size int64) gpuClaim { return gpuClaim{whole: true, memory: size * gib} }
	share := func(size int64) gpuClaim { return gpuClaim{memory: size * gib} }
	for _, tt := range []struct {
		name   string
		claims []gpuClaim
		want   bool
	}{
		{"nothing", nil, true},
		{"both", []gpuClaim{whole(0), whole(0)}, true},
		{"three", []gpuClaim{whole(0), whole(0), whole(0)}, false},
		{"the hungry one gets the large one", []gpuClaim{whole(0), whole(16)}, true},
		{"two hungry ones", []gpuClaim{whole(16), whole(16)}, false},
		{"shares fill one", []gpuClaim{share(12), share(12), whole(0)}, true},
		{"a share does not go onto a whole one", []gpuClaim{whole(0), whole(0), share(1)}, false},
		{"shares over both", []gpuClaim{share(8), share(12), share(12)}, true},
		{"the one that cares for the vendor gets it", []gpuClaim{whole(0), {whole: true, vendor: "nvidia"}}, true},
		{"two that care for it", []gpuClaim{{whole: true, vendor: "nvidia"}, {whole: true, vendor: "nvidia"}}, false},
		{"shares of a vendor's", []gpuClaim{{memory: 4 * gib, vendor: "nvidia"}, {memory: 4 * gib, vendor: "nvidia"}}, true},
		{"a share too many of a vendor's", []gpuClaim{{memory: 4 * gib, vendor: "nvidia"}, {memory: 5 * gib, vendor: "nvidia"}}, false},
		{"shares too many", []gpuClaim{share(9), share(12), share(12)}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, got := packGPUs(gpus, nil, nil, tt.claims); got != tt.want {
				t.Errorf("packGPUs = %v, want %v", got, tt.want)
			}
			// What was given out before names were kept counts as well.
			held := make([]gpuGrant, 0, len(tt.claims))
			for _, claim := range tt.claims {
				held = append(held, gpuGrant{gpuClaim: claim})
			}
			if _, got := packGPUs(gpus, nil, held, []gpuClaim{{}}); got && !tt.want {
				t.Errorf("packGPUs finds room for a share beside claims that do not fit")
			}
		})
	}
}

// withGPUs is a connected node with GPUs of so many GiB each, "g0" and so on.
func withGPUs(id string, sizes ...int64) *node.Node {
	n := plain(id, 64, 256*gib)
	for i, size := range sizes {
		n.Capabilities.GPUs = append(n.Capabilities.GPUs, node.GPU{
			UUID: fmt.Sprintf("g%d", i), Vendor: containerVendor, MemoryBytes: size * gib,
		})
	}
	return n
}

func TestWhichGPUs(t *testing.T) {
	cl := NewCluster()
	n := withGPUs("a", 24, 8, 16, 8)
	cl.NodeChanged(nil, n)
	cl.SetConnected("a", true)
	for _, step := range []struct {
		holder string
		r      job.Resources
		want   []string // nil: does not fit
	}{
		{"the smallest", job.Resources{GPUs: 1}, []string{"g1"}},
		{"a share", job.Resources{GPUMemoryBytes: 3 * gib}, []string{"g3"}},
		{"a share of the same", job.Resources{GPUMemoryBytes: 4 * gib}, []string{"g3"}},
		{"a larger share", job.Resources{GPUMemoryBytes: 2 * gib}, []string{"g2"}},
		{"no shared one", job.Resources{GPUs: 2}, nil},
		{"a large one", job.Resources{GPUs: 1, GPUMemoryBytes: 20 * gib}, []string{"g0"}},
		{"none is left", job.Resources{GPUs: 1}, nil},
		{"needs none", job.Resources{CPUMillis: 1}, []string{}},
	} {
		_, ok := cl.Place(&Work{Resources: step.r, NeedsRuntime: true}, step.holder)
		if got := cl.GPUs(step.holder); ok != (step.want != nil) || !slices.Equal(got, step.want) {
			t.Errorf("%s: placed %v on %v, want %v", step.holder, ok, got, step.want)
		}
	}
	cl.Release("the smallest")
	// A restart: what was given is taken again, whatever would be chosen now.
	cl.Hold("a", "again", &Work{Resources: job.Resources{GPUs: 1}}, "g1")
	if got := cl.GPUs("again"); !slices.Equal(got, []string{"g1"}) {
		t.Errorf("holds %v, want g1 again", got)
	}
	if _, ok := cl.Place(&Work{Resources: job.Resources{GPUs: 1}}, "x"); ok {
		t.Errorf("was given %v, which is held", cl.GPUs("x"))
	}
}

// TestGPUsThatNobodyNamed: attempts of an earlier version do not say which GPUs
// they have, and still count.
func TestGPUsThatNobodyNamed(t *testing.T) {
	cl := NewCluster()
	cl.NodeChanged(nil, withGPUs("a", 8, 8))
	cl.SetConnected("a", true)
	one := &Work{Resources: job.Resources{GPUs: 1}}
	cl.Hold("a", "old", one)
	if _, ok := cl.Place(one, "x"); !ok {
		t.Fatal("there is room beside the one that is not named")
	}
	if _, ok := cl.Place(one, "y"); ok {
		t.Error("a third was placed on two GPUs")
	}
}

func TestOnlyGPUsThatContainersCanHave(t *testing.T) {
	n := withGPUs("a", 8)
	n.Capabilities.GPUs = append([]node.GPU{{UUID: "amd", Vendor: "amd", MemoryBytes: 4 * gib}}, n.Capabilities.GPUs...)
	cl := NewCluster()
	cl.NodeChanged(nil, n)
	cl.SetConnected("a", true)
	work := &Work{NeedsRuntime: true, Resources: job.Resources{GPUs: 1}}
	if _, ok := cl.Place(work, "x"); !ok || !slices.Equal(cl.GPUs("x"), []string{"g0"}) {
		t.Errorf("was given %v, want the one of nvidia", cl.GPUs("x"))
	}
	if _, ok := cl.Place(work, "y"); ok {
		t.Errorf("was given %v, which no container can have", cl.GPUs("y"))
	}
	if _, ok := cl.Place(&Work{Resources: job.Resources{GPUs: 1}}, "z"); !ok || !slices.Equal(cl.GPUs("z"), []string{"amd"}) {
		t.Errorf("was given %v, want the one that is left", cl.GPUs("z"))
	}
}

func TestGPUNames(t *testing.T) {
	got := gpuNames([]node.GPU{{UUID: "a"}, {}, {UUID: "a"}, {UUID: "b"}})
	if diff := cmp.Diff([]string{"a", "1", "2", "b"}, got); diff != "" {
		t.Error(diff)
	}
}

// TestNoGPUTwice: whatever is placed, released and taken over again, no GPU is
// in two hands, and no share is larger than what there is.
func TestNoGPUTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cl := NewCluster()
		nodes := []*node.Node{withGPUs("a", 8, 16, 24), withGPUs("b", 8, 8), withGPUs("c")}
		for _, n := range nodes {
			cl.NodeChanged(nil, n)
			cl.SetConnected(n.ID, true)
		}
		type held struct {
			node string
			work *Work
		}
		holders := map[string]held{}
		made := 0
		t.Repeat(map[string]func(*rapid.T){
			"place": func(t *rapid.T) {
				made++
				name := fmt.Sprint("h", made)
				work := &Work{NeedsRuntime: rapid.Bool().Draw(t, "container"), Resources: job.Resources{
					GPUs:           rapid.IntRange(0, 2).Draw(t, "gpus"),
					GPUMemoryBytes: int64(rapid.IntRange(0, 12).Draw(t, "memory")) * gib,
				}}
				if nodeID, ok := cl.Place(work, name); ok {
					holders[name] = held{nodeID, work}
				}
			},
			"release": func(t *rapid.T) {
				if len(holders) == 0 {
					t.Skip()
				}
				name := rapid.SampledFrom(sorted(holders)).Draw(t, "holder")
				cl.Release(name)
				delete(holders, name)
			},
			"restart": func(*rapid.T) {
				next := NewCluster()
				for name, h := range holders {
					next.Hold(h.node, name, h.work, cl.GPUs(name)...)
				}
				for _, n := range nodes {
					next.NodeChanged(nil, n)
					next.SetConnected(n.ID, true)
				}
				cl = next
			},
			"": func(t *rapid.T) {
				whole, shared := map[string]string{}, map[string]int64{}
				for _, name := range sorted(holders) {
					h := holders[name]
					gpus := cl.GPUs(name)
					if want := len(gpuClaims(h.work)); len(gpus) != want {
						t.Fatalf("%s holds %v, want %d GPUs", name, gpus, want)
					}
					for _, gpu := range gpus {
						key := h.node + "/" + gpu
						if other := whole[key]; other != "" {
							t.Fatalf("%s and %s both have %s", name, other, key)
						}
						if h.work.Resources.GPUs > 0 {
							whole[key] = name
							if shared[key] > 0 {
								t.Fatalf("%s has all of %s, of which others have a share", name, key)
							}
							continue
						}
						shared[key] += h.work.Resources.GPUMemoryBytes
						if shared[key] > memoryOf(nodes, h.node, gpu) {
							t.Fatalf("%s holds more of %s than there is", name, key)
						}
					}
				}
			},
		})
	})
}

func memoryOf(nodes []*node.Node, id, uuid string) int64 {
	for _, n := range nodes {
		for _, gpu := range n.Capabilities.GPUs {
			if n.ID == id && gpu.UUID == uuid {
				return gpu.MemoryBytes
			}
		}
	}
	return 0
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// gpusFit says whether GPUs can be held so.
func gpusFit(gpus []node.GPU, held []gpuGrant) bool {
	for i, grant := range held {
		if _, fit := packGPUs(gpus, nil, slices.Delete(slices.Clone(held), i, i+1), []gpuClaim{grant.gpuClaim}); !fit {
			return false
		}
	}
	return true
}
