package scheduler

import (
	"fmt"
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/label"
)

func selector(text string) label.Selector {
	s, err := label.Parse(text)
	if err != nil {
		panic(err)
	}
	return s
}

// TestTenantsAreFound holds the counts of labels against looking at each job.
func TestTenantsAreFound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.MapOfN(rapid.SampledFrom([]string{"app", "tier", "x"}), rapid.SampledFrom([]string{"a", "b"}), 0, 3)
		var there tenants
		jobs := make(map[string]map[string]string)
		for i := range rapid.IntRange(0, 30).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "end") {
				for id, labels := range jobs {
					there.remove(&Job{ID: id, Labels: labels})
					delete(jobs, id)
					break
				}
				continue
			}
			id, labels := fmt.Sprintf("j%02d", i), values.Draw(t, "labels")
			there.add(&Job{ID: id, Labels: labels})
			jobs[id] = labels
		}
		work := &Work{Job: &Job{ID: "j03"}}
		work.AvoidJobs = selector(rapid.SampledFrom([]string{"app=a", "app", "app=a,tier=b", "tier,x!=a", "nobody"}).Draw(t, "selector"))
		want := ""
		for id, labels := range jobs {
			if id != "j03" && work.AvoidJobs.Matches(labels) && (want == "" || id < want) {
				want = id
			}
		}
		if got := there.avoided(work); got != want {
			t.Fatalf("avoided %q among %v, want %q", got, jobs, want)
		}
		snapshot := there.snapshot(work)
		if got := snapshot.avoided(work); got != want {
			t.Fatalf("avoided %q in the snapshot, want %q", got, want)
		}
		for id, labels := range maps.Clone(jobs) {
			there.remove(&Job{ID: id, Labels: labels})
		}
		if len(there.labels)+len(there.having) != 0 {
			t.Fatalf("left behind: %v, %v", there.labels, there.having)
		}
	})
}

// A job whose labels are not known yet is not shared with, and who waited for
// that is told when they are.
func TestClusterWaitsForLabels(t *testing.T) {
	cl := NewCluster()
	cl.NodeChanged(nil, plain("a", 4, 8*gib))
	cl.SetConnected("a", true)
	watch := cl.Watch()
	defer watch.Stop()
	gained := func() string {
		got := make(map[string]struct{})
		watch.Take(got)
		return fmt.Sprint(len(got))
	}
	avoids := &Work{TakesSlot: true, AvoidJobs: selector("app=db")}
	other := &Work{TakesSlot: true}
	if _, ok := cl.Place(other, "job/1"); !ok {
		t.Fatal("not placed on an empty node")
	}
	if _, ok := cl.Place(avoids, "job/2"); ok {
		t.Fatal("placed beside a job that is not known yet")
	}
	if got := cl.Explain(avoids)[0].Reasons; len(got) != 1 || got[0] != "is just being given another job; whether this one avoids it is known in a moment" {
		t.Errorf("explained by %q", got)
	}
	hold := func(id, app string) {
		w := *other
		w.Job = &Job{ID: id, Labels: map[string]string{"app": app}}
		cl.Hold("a", "job/"+id, &w)
	}
	if got := gained(); got != "0" {
		t.Error("room gained before anything was known")
	}
	hold("1", "web")
	if got := gained(); got != "1" {
		t.Error("who waits was not told that the labels are known")
	}
	if !cl.FitsOn(avoids, []string{"a"}) {
		t.Error("does not fit beside a job that it does not avoid")
	}
	if _, ok := cl.Place(other, "job/3"); !ok {
		t.Fatal("no second job")
	}
	hold("3", "db")
	if cl.FitsOn(avoids, []string{"a"}) || gained() != "0" {
		t.Error("fits beside a job that it avoids")
	}
	want := []string{"holds job 3, which this job avoids by app=db"}
	if diff := cmp.Diff(want, cl.Explain(avoids)[0].Reasons); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
	itself := *avoids
	itself.Job = &Job{ID: "3", Labels: map[string]string{"app": "db"}}
	if !cl.Explain(&itself)[0].Fits {
		t.Error("a job avoids itself")
	}
	// FitsOn waits for what is not known yet as Place does.
	cl.Release("job/3")
	gained()
	cl.Place(other, "job/4")
	if cl.FitsOn(avoids, []string{"a"}) {
		t.Error("fits beside a job that is not known yet")
	}
	hold("4", "web")
	if got := gained(); got != "1" {
		t.Error("who waits was not told that the labels are known")
	}
}

func TestAffinities(t *testing.T) {
	affinities := func(list ...job.Affinity) Preferences {
		parsed, err := ParseAffinities(list)
		if err != nil {
			t.Fatal(err)
		}
		return Preferences{Affinities: parsed}
	}
	lab := plain("lab", 4, 8*gib)
	lab.Labels = map[string]string{"room": "lab"}
	work := Work{Prefers: affinities(job.Affinity{Constraint: "label.room=lab", Weight: 20}, job.Affinity{Constraint: "cpu.cores<8", Weight: -30})}
	if got, want := scored(work, connected(lab)), "90.0: room left +100.0 label.room=lab +20.0 cpu.cores<8 -30.0"; got != want {
		t.Errorf("score %s, want %s", got, want)
	}
	if _, err := ParseAffinities([]job.Affinity{{Constraint: "os=linux"}, {Constraint: "colour=red"}}); err == nil ||
		err.Error()[:len("affinities[1].constraint: ")] != "affinities[1].constraint: " {
		t.Errorf("error %v does not name the affinity", err)
	}

	// Of many nodes the one that is liked is found, wherever the search begins;
	// and it is no condition.
	cl := NewCluster()
	for i := range 5 * enough {
		id := fmt.Sprintf("n%04d", i)
		n := plain(id, 1, 8*gib)
		n.Labels = map[string]string{"number": fmt.Sprint(i)}
		cl.NodeChanged(nil, n)
		cl.SetConnected(id, true)
	}
	liked := &Work{TakesSlot: true, Prefers: affinities(job.Affinity{Constraint: "label.number=400", Weight: 100})}
	for i := range Slots(lab) / 2 {
		if id, ok := cl.Place(liked, fmt.Sprint(i)); !ok || id != "n0400" {
			t.Fatalf("placement %d went to %s", i, id)
		}
	}
	if id, ok := cl.Place(liked, "one more"); !ok || id == "n0400" {
		t.Fatalf("with the node full it went to %q", id)
	}
}

func TestAffinitiesThatNoNodeMeetsAreNotSoughtForEver(t *testing.T) {
	parsed, err := ParseAffinities([]job.Affinity{{Constraint: "label.room=nowhere", Weight: 100}})
	if err != nil {
		t.Fatal(err)
	}
	s := newSearch(&Work{TakesSlot: true, Prefers: Preferences{Affinities: parsed}})
	looked := 0
	for i := range 2 * plenty {
		c := connected(plain(fmt.Sprintf("n%05d", i), 1, gib))
		if looked++; s.look(&c) {
			break
		}
	}
	if looked != plenty {
		t.Errorf("%d nodes were compared, want %d", looked, plenty)
	}
}
