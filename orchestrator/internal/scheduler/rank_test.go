package scheduler

import (
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/node"
)

// scored is a candidate's score as Explain gives it.
func scored(w Work, c Candidate) string {
	fit := Explain(&w, []Candidate{c})[0]
	text := fmt.Sprintf("%.1f:", fit.Score)
	for _, part := range fit.ScoreParts {
		text += fmt.Sprintf(" %s %+.1f", part.Name, part.Points)
	}
	return text
}

func TestScoreParts(t *testing.T) {
	half := connected(plain("a", 4, 8*gib))
	half.Held.add(job.Resources{CPUMillis: 2000, MemoryBytes: 4 * gib}, 4)
	gpus := connected(workstation())
	gpus.Held.add(job.Resources{GPUs: 1}, 0)
	needs := job.Resources{CPUMillis: 1000, MemoryBytes: 2 * gib}
	for _, tt := range []struct {
		name string
		work Work
		on   Candidate
		want string
	}{
		{"spread is the default", Work{Resources: needs}, half, "50.0: room left +50.0"},
		{"spread", Work{Resources: needs, Prefers: Preferences{Placement: job.Spread}}, half, "50.0: room left +50.0"},
		{"binpack counts the work itself", Work{Resources: needs, Prefers: Preferences{Placement: job.BinPack}}, half, "66.7: room used +66.7"},
		{"GPUs are left alone", Work{}, gpus, "90.0: room left +100.0 GPUs kept for others -10.0"},
		{"and not packed", Work{Prefers: Preferences{Placement: job.BinPack}}, gpus, "-50.0: room used +0.0 GPUs kept for others -50.0"},
		{"by who needs none", Work{Resources: job.Resources{GPUs: 1}}, gpus, "87.5: room left +87.5"},
		{"nothing for who does not fit", Work{Resources: job.Resources{MemoryBytes: 9 * gib}}, half, "0.0:"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := scored(tt.work, tt.on); got != tt.want {
				t.Errorf("score %s, want %s", got, tt.want)
			}
		})
	}
}

// TestScoreIsTheSumOfItsParts holds the score that decides against the one that
// explains: the best by Explain is the one that Pick takes.
func TestScoreIsTheSumOfItsParts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var candidates []Candidate
		var pointers []*Candidate
		for i := range rapid.IntRange(1, 6).Draw(t, "nodes") {
			n := plain(fmt.Sprint("n", i), rapid.IntRange(1, 8).Draw(t, "cores"), int64(rapid.IntRange(1, 8).Draw(t, "memory"))*gib)
			if rapid.Bool().Draw(t, "gpu") {
				n.Capabilities.GPUs = []node.GPU{{MemoryBytes: 8 * gib}}
			}
			c := connected(n)
			c.Held.add(job.Resources{
				CPUMillis: int64(rapid.IntRange(0, 8000).Draw(t, "held cores")), MemoryBytes: int64(rapid.IntRange(0, 8).Draw(t, "held memory")) * gib,
			}, rapid.IntRange(0, 8).Draw(t, "slots"))
			candidates = append(candidates, c)
			pointers = append(pointers, &c)
		}
		work := Work{
			TakesSlot: true,
			Resources: job.Resources{CPUMillis: int64(rapid.IntRange(0, 2000).Draw(t, "needs"))},
			Prefers:   drawPreferences(t),
		}
		fits := Explain(&work, candidates)
		for _, fit := range fits {
			sum := 0.0
			for _, part := range fit.ScoreParts {
				sum += part.Points
			}
			if math.Abs(sum-fit.Score) > 1e-9 || !fit.Fits && fit.Score != 0 {
				t.Fatalf("score %v of parts %v", fit.Score, fit.ScoreParts)
			}
		}
		best := Pick(&work, pointers, rapid.IntRange(0, len(pointers)-1).Draw(t, "from"))
		if (best != nil) != fits[0].Fits || best != nil && best.Node.ID != fits[0].NodeID {
			t.Fatalf("picked %v, but explained %v as the best", best, fits[0])
		}
	})
}

func drawPreferences(t *rapid.T) Preferences {
	return Preferences{Placement: job.Placement(rapid.IntRange(0, len(job.Placements())).Draw(t, "placement"))}
}

// TestClusterPacks fills one node after the other when it is to pack, also
// where there are more nodes than are looked at for one placement.
func TestClusterPacks(t *testing.T) {
	for _, tt := range []struct {
		name    string
		cluster job.Placement
		work    job.Placement
		nodes   int
		want    int // nodes in use after as many placements as four nodes hold
	}{
		{"by the cluster's setting", job.BinPack, 0, 3 * enough, 4},
		{"by the work's own", job.Spread, job.BinPack, 3 * enough, 4},
		{"spread by default", 0, 0, 3 * enough, 16},
		{"spread by the work's own", job.BinPack, job.Spread, 3 * enough, 16},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cl := NewCluster()
			cl.SetPlacement(tt.cluster)
			for i := range tt.nodes {
				id := fmt.Sprintf("n%04d", i)
				cl.NodeChanged(nil, plain(id, 4, 8*gib))
				cl.SetConnected(id, true)
			}
			work := &Work{Resources: job.Resources{CPUMillis: 1000}, Prefers: Preferences{Placement: tt.work}}
			used := make(map[string]int)
			for i := range 16 {
				id, ok := cl.Place(work, fmt.Sprint("job", i))
				if !ok {
					t.Fatalf("placement %d found no node", i)
				}
				used[id]++
			}
			if len(used) != tt.want {
				t.Errorf("%d nodes in use, want %d: %v", len(used), tt.want, used)
			}
		})
	}
}
