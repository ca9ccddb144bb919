package dispatch

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/job"
)

func preemptible(j *job.Job) { j.Spec.Preemptible = true }

// runs has a node run what it was told, and answers the attempts by job name.
func (n *testNode) runs() map[string]job.Ref {
	n.r.t.Helper()
	refs := map[string]job.Ref{}
	for _, m := range n.received() {
		if a, ok := m.(JobAssignment); ok {
			refs[a.Name] = a.Ref
			n.says(a.Ref, job.AttemptRunning, "")
		}
	}
	return refs
}

// stops answers the jobs that a node was asked to stop, by name, and says that
// it has.
func (n *testNode) stops() []string {
	n.r.t.Helper()
	var names []string
	for _, m := range n.received() {
		if c, ok := m.(CancelAttempt); ok {
			names = append(names, n.r.get(c.Ref.JobID).Name)
			n.says(c.Ref, job.AttemptCancelled, "")
		}
	}
	slices.Sort(names)
	return names
}

func later() {
	time.Sleep(time.Second)
	synctest.Wait()
}

// TestPreemption: the youngest of the lowest priority are stopped, no more of
// them than it takes, and go back to where they were in their queue.
func TestPreemption(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 4)
		ids := map[string]string{}
		for _, name := range []string{"old", "middle", "young"} {
			ids[name] = r.submit(name, cores(1), preemptible).ID
			time.Sleep(time.Second)
		}
		ids["firm"] = r.submit("firm", cores(1)).ID
		refs := a.runs()
		behind := r.submit("behind", cores(1))
		other := r.submit("other", cores(1), inQueue("other"))
		later()
		a.wantNothing()
		urgent := r.submit("urgent", cores(2), withPriority(1))
		later()
		a.session.Close(nil) // what was asked holds over a lost connection
		synctest.Wait()
		a.connect(AttemptStatus{Ref: refs["old"], State: job.AttemptRunning}, AttemptStatus{Ref: refs["middle"], State: job.AttemptRunning},
			AttemptStatus{Ref: refs["young"], State: job.AttemptRunning}, AttemptStatus{Ref: refs["firm"], State: job.AttemptRunning})
		if got := r.summary(urgent.ID); !strings.HasPrefix(got, "room is being made for this job on node a: jobs "+ids["young"]+", "+ids["middle"]+" are being stopped; ") {
			t.Errorf("explained by %q", got)
		}
		if got, want := r.get(ids["young"]).Reason, "being evicted: makes room for job "+urgent.ID+", which has a higher priority"; got != want {
			t.Errorf("reason of young = %q, want %q", got, want)
		}
		if got := a.stops(); !slices.Equal(got, []string{"middle", "young"}) {
			t.Fatalf("was asked to stop %v, want middle and young", got)
		}
		// The queue "other" has nothing that runs, and would go first otherwise.
		r.want(urgent.ID, "assigned [a assigned]")
		r.want(other.ID, "queued []")
		r.want(ids["young"], "queued [a evicted]")
		a.says(a.runs()["urgent"], job.AttemptSucceeded, "")
		r.want(other.ID, "assigned [a assigned]")
		r.want(ids["middle"], "assigned [a evicted a assigned]") // it was there before "behind"
		r.want(behind.ID, "queued []")
		if n := r.get(ids["middle"]); n.State.Ended() {
			t.Errorf("an eviction cost a try: %s", n.Reason)
		}
		if keeps := len(r.d.queue.keeps); keeps != 0 {
			t.Errorf("room is kept for %d jobs", keeps)
		}
	})
}

// TestNothingIsStopped unless its own spec allows it, and it helps.
func TestNothingIsStopped(t *testing.T) {
	for name, tt := range map[string]struct {
		runs, wants []func(*job.Job)
		explained   string // in the summary
	}{
		"not preemptible": {nil, []func(*job.Job){cores(1), withPriority(9)}, ""},
		"the same priority": {
			[]func(*job.Job){preemptible}, []func(*job.Job){cores(1)}, "",
		},
		"another queue": {
			[]func(*job.Job){preemptible}, []func(*job.Job){cores(1), withPriority(9), inQueue("other")}, "",
		},
		"too large": {
			[]func(*job.Job){preemptible}, []func(*job.Job){cores(5), withPriority(9)}, "",
		},
		"not enough": {
			[]func(*job.Job){preemptible}, []func(*job.Job){cores(4), withPriority(9)},
			"stopping what is preemptible in its queue and has a lower priority (3) would not make room either",
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				a := r.node("a", 4)
				r.submit("firm", cores(1))
				for i := range 3 {
					r.submit(fmt.Sprint("runs-", i), append(tt.runs, cores(1))...)
				}
				a.runs()
				waits := r.submit("waits", tt.wants...)
				time.Sleep(20 * time.Second)
				a.wantNothing()
				r.want(waits.ID, "queued []")
				if got := r.summary(waits.ID); !strings.Contains(got, tt.explained) {
					t.Errorf("explained by %q", got)
				}
			})
		})
	}
}

// TestPreemptionOverRestart: what was asked to stop is remembered, and the room
// goes to who is first in the queue then.
func TestPreemptionOverRestart(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 1)
		low := r.submit("low", cores(1), preemptible)
		ref := a.runs()["low"]
		high := r.submit("high", cores(1), withPriority(1))
		later()
		r.stop()
		r.start()
		r.d.NodeChanged(nil, a.n)
		a.connect(AttemptStatus{Ref: ref, State: job.AttemptRunning})
		if got := a.stops(); !slices.Equal(got, []string{"low"}) {
			t.Fatalf("was asked to stop %v, want low", got)
		}
		r.want(high.ID, "assigned [a assigned]")
		r.want(low.ID, "queued [a evicted]")
	})
}

// TestPreemptionThatComesToNothing: a victim that will not go holds nobody up
// for ever, and what was stopped for a job that is cancelled goes on.
func TestPreemptionThatComesToNothing(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 1)
		low := r.submit("low", cores(1), preemptible)
		a.runs()
		high := r.submit("high", cores(1), withPriority(1))
		later()
		if _, err := r.d.Cancel(t.Context(), high.ID, ""); err != nil {
			t.Fatal(err)
		}
		later()
		if keeps := len(r.d.queue.keeps); keeps != 0 {
			t.Errorf("room is kept for %d jobs after the only one was cancelled", keeps)
		}
		if got := a.stops(); !slices.Equal(got, []string{"low"}) {
			t.Fatalf("was asked to stop %v, want low", got)
		}
		r.want(low.ID, "assigned [a evicted a assigned]")
		ref := a.runs()["low"]

		// It succeeds before it is stopped: the same to who waits.
		higher := r.submit("higher", cores(1), withPriority(2))
		later()
		a.says(ref, job.AttemptSucceeded, "")
		r.want(low.ID, "succeeded [a evicted a succeeded]")
		r.want(higher.ID, "assigned [a assigned]")
	})
}

// TestNoPingPong: a stream of jobs of all priorities, each preemptible. Each is
// only ever stopped for a higher one, and all come to an end.
func TestNoPingPong(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 2)
		var ids []string
		left := map[job.Ref]int{}
		for i := range 60 {
			if i < 20 {
				j := r.submit(fmt.Sprint("j", i), cores(int64(1+i%2)), preemptible, withPriority(i*7%5))
				ids = append(ids, j.ID)
			}
			for _, m := range a.received() {
				switch m := m.(type) {
				case JobAssignment:
					left[m.Ref] = 3
					a.says(m.Ref, job.AttemptRunning, "")
				case CancelAttempt:
					if _, runs := left[m.Ref]; runs {
						delete(left, m.Ref)
						a.says(m.Ref, job.AttemptCancelled, "")
					}
				}
			}
			for ref := range left {
				if left[ref]--; left[ref] == 0 {
					delete(left, ref)
					a.says(ref, job.AttemptSucceeded, "")
				}
			}
			later()
		}
		evictions := 0
		for _, id := range ids {
			j := r.get(id)
			if j.State != job.Succeeded {
				t.Errorf("%s is %s: %s", j.Name, j.State, j.Reason)
			}
			for _, attempt := range j.Attempts {
				if attempt.State != job.AttemptEvicted {
					continue
				}
				evictions++
				for _, other := range ids {
					if strings.Contains(attempt.Reason, other) && r.get(other).Spec.Priority <= j.Spec.Priority {
						t.Errorf("%s of priority %d was stopped for one of %d", j.Name, j.Spec.Priority, r.get(other).Spec.Priority)
					}
				}
			}
		}
		if evictions == 0 || evictions > 20 {
			t.Errorf("%d evictions among 20 jobs", evictions)
		}
	})
}

// TestPreemptionLooksEverywhere: what is worth most, and the only thing that
// helps, is found among more than are thought of at once.
func TestPreemptionLooksEverywhere(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for i := range maxVictims + 50 {
			r.node(fmt.Sprintf("n%04d", i), 1)
		}
		first := r.submit("first", cores(1), preemptible)
		time.Sleep(time.Second)
		_, err := r.d.SubmitArray(t.Context(), job.Job{Name: "many", Spec: job.Spec{
			Container: &job.Container{Image: "many"}, Resources: job.Resources{CPUMillis: 1000}, Preemptible: true,
		}}, maxVictims+49)
		if err != nil {
			t.Fatal(err)
		}
		oldest := r.get(first.ID).Attempts[0].NodeID
		urgent := r.submit("urgent", cores(1), withPriority(1), func(j *job.Job) { j.Spec.Constraints = []string{"node=" + oldest} })
		time.Sleep(3 * time.Second)
		if got := r.nodes[oldest].stops(); !slices.Equal(got, []string{"first"}) {
			t.Fatalf("was asked to stop %v, want first: %s", got, r.summary(urgent.ID))
		}
		r.want(urgent.ID, "assigned ["+oldest+" assigned]")
	})
}
