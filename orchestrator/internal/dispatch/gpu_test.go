package dispatch

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/node"
	"github.com/orchion/orchion/orchestrator/internal/scheduler"
)

// gpuNode is a connected node with GPUs of 8 GiB.
func (r *rig) gpuNode(id string, uuids ...string) *testNode {
	n := r.node(id, 32)
	next := *n.n
	for _, uuid := range uuids {
		next.Capabilities.GPUs = append(next.Capabilities.GPUs, node.GPU{UUID: uuid, Vendor: "nvidia", MemoryBytes: 8 * gib})
	}
	r.d.NodeChanged(n.n, &next)
	n.n = &next
	return n
}

func needsGPUs(count int, memory int64) func(*job.Job) {
	return func(j *job.Job) { j.Spec.Resources.GPUs, j.Spec.Resources.GPUMemoryBytes = count, memory }
}

// TestWhichGPU: each attempt is told its GPUs, they are the replica's or
// another's no more, and a restart changes nothing of that.
func TestWhichGPU(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.gpuNode("a", "g0", "g1", "g2", "g3")
		replica := &scheduler.Work{NeedsRuntime: true, Resources: job.Resources{GPUs: 1}}
		if _, ok := r.d.Cluster().Place(replica, "replica/r"); !ok {
			t.Fatal("the replica has no room")
		}
		for name, needs := range map[string]func(*job.Job){
			"one": needsGPUs(1, 0), "two": needsGPUs(1, 0), "share": needsGPUs(0, 3*gib), "part": needsGPUs(0, 4*gib), "none": needsGPUs(0, 0),
		} {
			r.submit(name, needs)
		}
		given := map[string][]string{}
		var one job.Ref
		var held []AttemptStatus
		for _, m := range a.received() {
			got := m.(JobAssignment) //nolint:forcetypeassert // nothing else was sent
			given[got.Name] = got.GPUs
			held = append(held, AttemptStatus{Ref: got.Ref, State: job.AttemptAssigned})
			if got.Name == "one" {
				one = got.Ref
			}
			current, _ := new(r.get(got.Ref.JobID)).Current()
			if diff := cmp.Diff(got.GPUs, current.GPUs); diff != "" {
				t.Errorf("%s is stored otherwise:\n%s", got.Name, diff)
			}
		}
		taken := slices.Concat(r.d.Cluster().GPUs("replica/r"), given["one"], given["two"], given["share"])
		slices.Sort(taken)
		if diff := cmp.Diff([]string{"g0", "g1", "g2", "g3"}, taken); diff != "" {
			t.Errorf("the GPUs are not told apart: %v\n%s", given, diff)
		}
		if !slices.Equal(given["share"], given["part"]) || given["none"] != nil {
			t.Errorf("given %v, want one GPU for both shares and none for who asks for none", given)
		}

		r.stop()
		r.start()
		r.d.NodeChanged(nil, a.n)
		r.d.Cluster().Hold("a", "replica/r", replica, "g0")
		for _, got := range a.connect(held...) {
			if diff := cmp.Diff(given[got.Name], got.GPUs); diff != "" {
				t.Errorf("%s is told otherwise after a restart:\n%s", got.Name, diff)
			}
		}
		waits := r.submit("waits", needsGPUs(1, 0))
		r.want(waits.ID, "queued []")
		a.received()
		a.says(one, job.AttemptSucceeded, "")
		current, _ := new(r.get(waits.ID)).Current()
		if diff := cmp.Diff(given["one"], current.GPUs); diff != "" {
			t.Errorf("the next one has:\n%s", diff)
		}
	})
}
