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

func cores(n int64) func(*job.Job) {
	return func(j *job.Job) { j.Spec.Resources.CPUMillis = n * 1000 }
}

func withPriority(n int) func(*job.Job) { return func(j *job.Job) { j.Spec.Priority = n } }

// crowd keeps nodes full with small jobs: each second the oldest that runs ends
// on each node and another is submitted, as long as it is stirred.
type crowd struct {
	r       *rig
	nodes   []*testNode
	running map[string][]job.Ref // by node, oldest first
	names   map[job.Ref]string
	made    int
	change  []func(*job.Job)
}

func (r *rig) crowd(nodes ...*testNode) *crowd {
	return &crowd{r: r, nodes: nodes, running: map[string][]job.Ref{}, names: map[job.Ref]string{}}
}

func (c *crowd) submit(n int) {
	for range n {
		c.made++
		c.r.submit(fmt.Sprintf("small-%03d", c.made), append([]func(*job.Job){cores(1)}, c.change...)...)
	}
	c.listen()
}

// listen takes over what nodes are told; it begins at once.
func (c *crowd) listen() {
	for _, n := range c.nodes {
		for _, m := range n.received() {
			if a, ok := m.(JobAssignment); ok {
				c.running[n.n.ID] = append(c.running[n.n.ID], a.Ref)
				c.names[a.Ref] = a.Name
				n.says(a.Ref, job.AttemptRunning, "")
			}
		}
	}
}

func (c *crowd) stir(seconds int) {
	for range seconds {
		time.Sleep(time.Second)
		for _, n := range c.nodes {
			if list := c.running[n.n.ID]; len(list) > 0 {
				c.running[n.n.ID] = list[1:]
				n.says(list[0], job.AttemptSucceeded, "")
			}
		}
		c.renew()
		c.submit(len(c.nodes))
	}
}

func (c *crowd) renew() {
	c.r.t.Helper()
	c.listen()
	for _, n := range c.nodes {
		n.renew(c.running[n.n.ID]...)
	}
}

// pass lets time pass in which nothing ends.
func (c *crowd) pass(seconds int) {
	for range seconds / 5 {
		time.Sleep(5 * time.Second)
		c.renew()
	}
}

func (r *rig) summary(id string) string {
	r.t.Helper()
	summary, _, err := r.d.Explain(r.ctx(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	return summary
}

// TestLargeJobGetsItsTurn: without room that is kept, the small jobs that come
// all the time would take each core as it becomes free, for ever.
func TestLargeJobGetsItsTurn(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a, b := r.node("a", 8), r.node("b", 8)
		c := r.crowd(a, b)
		c.submit(20) // 16 run, and there are always some that wait
		large := r.submit("large", cores(8))
		c.stir(59)
		r.want(large.ID, "queued []")
		if got := r.summary(large.ID); strings.Contains(got, "being kept") {
			t.Errorf("after 59 s: %s", got)
		}
		c.stir(4)
		got := r.summary(large.ID)
		if !strings.HasPrefix(got, "room on node a is being kept for this job") {
			t.Errorf("the large one is explained by %q", got)
		}
		waiting := r.submit("waits", cores(1))
		_, fits, err := r.d.Explain(t.Context(), waiting.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, fit := range fits {
			keeps := slices.Contains(fit.Reasons, "keeps room for job "+large.ID+", which goes first")
			if keeps != (fit.NodeID == "a") {
				t.Errorf("node %s is explained by %q", fit.NodeID, fit.Reasons)
			}
		}
		if n := len(c.running["b"]); n != 8 {
			t.Errorf("%d jobs run on b, where no room is kept, want 8", n)
		}
		c.stir(6)
		if j := r.get(large.ID); len(j.Attempts) != 1 {
			t.Errorf("the large one is %s: %s", j.State, j.Reason)
		}
		if keeps := len(r.d.queue.keeps); keeps != 0 {
			t.Errorf("room is kept for %d jobs, want 0", keeps)
		}
		c.stir(12)
		if n := len(c.running["a"]); n == 0 {
			t.Error("nothing runs on a after the large one")
		}
	})
}

// TestBesideKeptRoom: what leaves enough goes on, and so does what goes first.
func TestBesideKeptRoom(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 8)
		c := r.crowd(a)
		c.submit(4)
		long := r.submit("long", cores(3), withPriority(1))
		c.listen()
		large := r.submit("large", cores(6))
		c.pass(65)
		// 7 of 8 cores are taken, 6 are wanted.
		if got := r.summary(large.ID); !strings.HasPrefix(got, "room on node a is being kept") {
			t.Fatalf("the large one is explained by %q", got)
		}
		blocked := r.submit("blocked", cores(1))
		free := r.submit("free") // asks for no core
		urgent := r.submit("urgent", cores(1), withPriority(5))
		r.want(blocked.ID, "queued []")
		r.want(free.ID, "assigned [a assigned]")
		r.want(urgent.ID, "assigned [a assigned]")
		c.listen()
		c.stir(2) // two small ones end: 2 + 3 + 1 are taken, and 6 are wanted
		r.want(blocked.ID, "queued []")
		r.want(long.ID, "running [a running]")
		for _, name := range []string{"long", "urgent"} {
			for _, ref := range slices.Clone(c.running["a"]) {
				if c.names[ref] == name {
					a.says(ref, job.AttemptSucceeded, "")
				}
			}
		}
		r.want(large.ID, "assigned [a assigned]")
	})
}

// TestKeptRoomIsGivenBack when nobody waits for it any more, and moves with the
// wish of people for the node.
func TestKeptRoomIsGivenBack(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a, b := r.node("a", 8), r.node("b", 8)
		c := r.crowd(a, b)
		c.submit(16)
		large := r.submit("large", cores(8))
		c.pass(70)
		if got := r.summary(large.ID); !strings.HasPrefix(got, "room on node a is") {
			t.Fatalf("explained by %q", got)
		}
		next := *a.n
		next.Cordoned = true
		r.d.NodeChanged(a.n, &next)
		c.pass(10)
		if got := r.summary(large.ID); !strings.HasPrefix(got, "room on node b is") {
			t.Errorf("after a was cordoned: %q", got)
		}
		r.d.NodeChanged(&next, a.n)
		// Another is no better, but may be when nothing ends for long.
		c.pass(70)
		if got := r.summary(large.ID); !strings.HasPrefix(got, "room on node b is") {
			t.Errorf("after a minute without an end: %q", got)
		}
		c.pass(keepPatience * 60)
		if got := r.summary(large.ID); !strings.HasPrefix(got, "room on node a is") {
			t.Errorf("after %d minutes without an end: %q", keepPatience, got)
		}
		if keeps := len(r.d.queue.keeps); keeps != 1 {
			t.Errorf("room is kept on %d of two nodes, want on 1", keeps)
		}
		if _, err := r.d.Cancel(t.Context(), large.ID, ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if keeps := len(r.d.queue.keeps); keeps != 0 {
			t.Errorf("room is kept for %d jobs after the only one was cancelled", keeps)
		}
	})
}

// TestKeptRoomIsBounded, and goes to whose turn it is first.
func TestKeptRoomIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 8)
		c := r.crowd(a)
		c.submit(8)
		low := r.submit("low", cores(8))
		c.pass(65)
		high := r.submit("high", cores(7), withPriority(1))
		c.pass(70)
		if got := r.summary(high.ID); !strings.HasPrefix(got, "room on node a is") {
			t.Errorf("high is explained by %q", got)
		}
		if got := r.summary(low.ID); strings.HasPrefix(got, "room on node a is") || !strings.Contains(got, "keeps room for job "+high.ID) {
			t.Errorf("low is explained by %q", got)
		}
		impossible := r.submit("impossible", cores(9), withPriority(2))
		c.pass(65)
		r.want(impossible.ID, "queued []")
		if got := r.summary(high.ID); !strings.HasPrefix(got, "room on node a is") {
			t.Errorf("beside one that fits nowhere: %q", got)
		}
	})
}
