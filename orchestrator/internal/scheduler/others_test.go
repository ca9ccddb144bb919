package scheduler

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/node"
)

// TestStepUp: what counts is never less than what was measured, at most a step
// and a half more than it, and ups and downs within half a step change nothing.
func TestStepUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		step := rapid.Int64Range(2, 1000).Draw(t, "step")
		counts := int64(0)
		for range rapid.IntRange(1, 20).Draw(t, "beats") {
			now := rapid.Int64Range(0, 20*step).Draw(t, "now")
			counts = stepUp(counts, now, step)
			if counts < now || counts >= now+step+(step+1)/2+1 || counts%step != 0 {
				t.Fatalf("%d in steps of %d counts as %d", now, step, counts)
			}
			noise := rapid.Int64Range(-step/2, counts-now).Draw(t, "noise")
			if again := stepUp(counts, max(now+noise, 0), step); again > counts || again < counts-step {
				t.Fatalf("%d changed to %d by noise of %d", counts, again, noise)
			}
		}
		settled := stepUp(counts, max(counts-step-step/2+1, 0), step)
		if settled != counts {
			t.Fatalf("%d fell to %d for less than half a step", counts, settled)
		}
	})
}

// What others use counts as taken, and who waits hears when it is given back.
func TestClusterMeasuresMemory(t *testing.T) {
	cl := NewCluster()
	watch := cl.Watch()
	defer watch.Stop()
	n := plain("a", 4, 16*gib)
	cl.NodeChanged(nil, n)
	cl.SetConnected("a", true)
	cl.Hold("a", "held", &Work{Resources: job.Resources{MemoryBytes: 5 * gib}})
	measure := func(others int64) int {
		nodes := make(map[string]struct{})
		watch.Take(nodes)
		clear(nodes)
		next := *n
		next.Usage.MemoryOthersBytes = others
		cl.UsageChanged(&next)
		watch.Take(nodes)
		return len(nodes)
	}
	work := &Work{Resources: job.Resources{MemoryBytes: 10 * gib}}
	if !cl.FitsOn(work, []string{"a"}) {
		t.Fatal("a node that has never measured has no room")
	}
	if measure(3*gib-gib/10) != 0 {
		t.Error("a machine that fills is said to have gained room")
	}
	want := []string{"needs 10 GiB of memory; 8 GiB of 16 GiB are free: 5 GiB are promised to jobs and models, 3 GiB used by other programs"}
	if diff := cmp.Diff(want, cl.Explain(work)[0].Reasons); diff != "" || cl.FitsOn(work, []string{"a"}) {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
	if measure(3*gib-gib/2) != 0 {
		t.Error("noise is said to be room")
	}
	if measure(gib) != 1 || !cl.FitsOn(work, []string{"a"}) {
		t.Error("what others gave back is not looked at anew")
	}
	// A node that registers anew is what it says then.
	cl.NodeChanged(n, plain("a", 4, 16*gib))
	if got := cl.places["a"].others.memory; got > gib {
		t.Errorf("%d bytes of others are left over", got)
	}
}

func TestGPUsInUseByOthers(t *testing.T) {
	gpus := []node.GPU{{UUID: "A", MemoryBytes: 24 * gib}, {UUID: "B", MemoryBytes: 24 * gib}}
	share := func(size int64) gpuClaim { return gpuClaim{memory: size * gib} }
	held := func(gpu string, size int64) gpuGrant { return gpuGrant{share(size), gpu} }
	for _, tt := range []struct {
		name  string
		used  []int64
		held  []gpuGrant
		claim gpuClaim
		want  string
	}{
		{"nothing measured", nil, nil, gpuClaim{whole: true}, "A"},
		{"the idle one first", []int64{gib, 0}, nil, gpuClaim{whole: true}, "B"},
		{"a busy one rather than none", []int64{gib, gib}, nil, gpuClaim{whole: true}, "A"},
		{"what is used is not there", []int64{20 * gib, 0}, []gpuGrant{held("B", 20)}, share(5), ""},
		{"what was promised is used by whom it was promised", []int64{20 * gib, 24 * gib}, []gpuGrant{held("A", 20)}, share(4), "A"},
		{"the larger of used and promised", []int64{6 * gib, 24 * gib}, []gpuGrant{held("A", 4)}, share(19), ""},
		{"a share where it fits", []int64{6 * gib, 24 * gib}, []gpuGrant{held("A", 4)}, share(18), "A"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			grants, ok := packGPUs(gpus, tt.used, tt.held, []gpuClaim{tt.claim})
			got := ""
			if ok {
				got = grants[0].gpu
			}
			if got != tt.want {
				t.Errorf("got GPU %q, want %q", got, tt.want)
			}
		})
	}

	n := plain("a", 4, 16*gib)
	n.Capabilities.GPUs = gpus
	cl := NewCluster()
	cl.NodeChanged(nil, n)
	cl.SetConnected("a", true)
	measure := func(a, b int64) {
		next := *n
		next.Usage.GPUs = []node.GPUUsage{{UUID: "B", MemoryUsedBytes: b}, {UUID: "A", MemoryUsedBytes: a}}
		cl.UsageChanged(&next)
	}
	work := &Work{Resources: job.Resources{GPUs: 1, GPUMemoryBytes: 24 * gib}}
	measure(gib/2, gib/2) // the driver, a desktop
	if !cl.FitsOn(work, []string{"a"}) {
		t.Error("a GPU that idles is not whole")
	}
	measure(4*gib, 4*gib)
	want := []string{"needs 24 GiB of GPU memory; other programs use too much of its GPUs' memory"}
	if diff := cmp.Diff(want, cl.Explain(work)[0].Reasons); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
	measure(4*gib, 0)
	if !cl.FitsOn(work, []string{"a"}) {
		t.Error("the GPU that others gave back is not there")
	}
}
