package dispatch

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/node"
	"github.com/orchion/orchion/orchestrator/internal/scheduler"
)

// end has the oldest that runs on a node end.
func (c *crowd) end(n *testNode) {
	c.r.t.Helper()
	ref := c.running[n.n.ID][0]
	c.running[n.n.ID] = c.running[n.n.ID][1:]
	n.says(ref, job.AttemptSucceeded, "")
	c.listen()
}

// TestKeptRoomIsGathered: what has ended on a node is not given up because the
// next end takes longer than it took to ask, unless another node lacks less.
func TestKeptRoomIsGathered(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a, b := r.node("a", 4), r.node("b", 4)
		c := r.crowd(a, b)
		c.submit(8)
		large := r.submit("large", cores(4))
		c.submit(8)
		for range 4 {
			c.pass(90)
			if got := r.summary(large.ID); !strings.HasPrefix(got, "room on node a is being kept") {
				t.Fatalf("the large one is explained by %q", got)
			}
			c.end(a)
		}
		if j := r.get(large.ID); len(j.Attempts) != 1 {
			t.Errorf("the large one is %s when all on a has ended", j.State)
		}
	})
	bubble(t, func(t *testing.T, r *rig) {
		a, b := r.node("a", 4), r.node("b", 4)
		c := r.crowd(a, b)
		c.submit(8)
		large := r.submit("large", cores(4))
		c.pass(70)
		c.end(b)
		c.end(b)
		if c.pass(70); !strings.HasPrefix(r.summary(large.ID), "room on node b is being kept") {
			t.Errorf("though b lacks less than a: %q", r.summary(large.ID))
		}
	})
}

// TestLimitedQueueKeepsRoom: the time that a job has waited does not begin anew
// with each job of its queue that ends, nor does the keeping of its room.
func TestLimitedQueueKeepsRoom(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 4)
		r.set("night", func(q *job.Queue) { q.MaxRunning = 4 })
		c := r.crowd(a)
		c.change = []func(*job.Job){inQueue("night")}
		c.submit(4)
		large := r.submit("large", cores(4), inQueue("night"))
		c.submit(4)
		c.stir(61)
		if keeps := len(r.d.queue.keeps); keeps != 1 {
			t.Fatalf("room is kept for %d jobs, want for the large one: %s", keeps, r.summary(large.ID))
		}
		c.stir(6)
		if j := r.get(large.ID); len(j.Attempts) != 1 {
			t.Errorf("the large one is %s: %s", j.State, r.summary(large.ID))
		}
	})
	bubble(t, func(t *testing.T, r *rig) { // but not while its queue is paused
		a := r.node("a", 4)
		c := r.crowd(a)
		c.submit(4)
		r.submit("large", cores(4), inQueue("night"))
		c.pass(65)
		r.set("night", func(q *job.Queue) { q.Paused = true })
		c.pass(5)
		if keeps := len(r.d.queue.keeps); keeps != 0 {
			t.Errorf("room is kept for %d jobs of a paused queue", keeps)
		}
	})
}

// TestRoomThatIsMadeStaysKept when a job of another queue with the same needs
// finds room elsewhere.
func TestRoomThatIsMadeStaysKept(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 2)
		r.submit("low", cores(2), preemptible)
		a.runs()
		urgent := r.submit("urgent", cores(2), withPriority(1))
		later()
		other := r.submit("other", cores(2), inQueue("other"))
		r.node("b", 2)
		r.want(other.ID, "assigned [b assigned]")
		if got := r.summary(urgent.ID); !strings.HasPrefix(got, "room is being made for this job on node a") {
			t.Errorf("urgent is explained by %q", got)
		}
		thief := r.submit("thief", cores(1), inQueue("third"))
		a.stops()
		r.want(urgent.ID, "assigned [a assigned]")
		r.want(thief.ID, "queued []")
	})
}

// TestTurnsChangeWithShares: one whose turn it becomes goes where room is kept,
// though nothing has changed there.
func TestTurnsChangeWithShares(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 8)
		c := r.crowd(a)
		c.submit(1)
		c.change = []func(*job.Job){inQueue("other")}
		c.submit(4)
		r.submit("large", cores(8))
		c.pass(65)
		small := r.submit("small", cores(1), inQueue("other"))
		c.pass(5)
		r.want(small.ID, "queued []")
		r.set("other", func(q *job.Queue) { q.Weight = 100 })
		later()
		r.want(small.ID, "assigned [a assigned]")
	})
}

// TestRelieveWaitsForMeasurement: what a stopped job used of a GPU counts until
// the node has measured again, however late that is.
func TestRelieveWaitsForMeasurement(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.gpuNode("a", "g0")
		beat := func(used int64) {
			next := *a.n
			next.LastSeenAt = time.Now()
			next.Usage.GPUs = []node.GPUUsage{{UUID: "g0", MemoryUsedBytes: used}}
			r.d.Cluster().UsageChanged(&next)
		}
		r.submit("low", needsGPUs(0, 4*gib), preemptible)
		ref := a.runs()["low"]
		beat(6 * gib)
		urgent := r.submit("urgent", needsGPUs(0, 5*gib), withPriority(1))
		later()
		if got := a.stops(); len(got) != 1 {
			t.Fatalf("was asked to stop %v, want %v", got, ref)
		}
		time.Sleep(3 * reliefGrace)
		if got := r.summary(urgent.ID); !strings.HasPrefix(got, "room is being made for this job on node a") {
			t.Errorf("before the node has measured: %q", got)
		}
		beat(0)
		r.want(urgent.ID, "assigned [a assigned]")
	})
}

// TestGivingUpOnFreedRoom once the node has measured and something else has it.
func TestGivingUpOnFreedRoom(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 2)
		r.submit("low", cores(2), preemptible)
		a.runs()
		urgent := r.submit("urgent", cores(2), withPriority(1))
		later()
		r.d.Cluster().Hold("a", "replica/r", &scheduler.Work{Resources: job.Resources{CPUMillis: 1000}})
		a.stops()
		time.Sleep(2 * reliefGrace)
		if got := r.summary(urgent.ID); !strings.HasPrefix(got, "room is being made") {
			t.Errorf("before the node has measured: %q", got)
		}
		next := *a.n
		next.LastSeenAt = time.Now()
		r.d.Cluster().UsageChanged(&next)
		later()
		if got := r.summary(urgent.ID); strings.Contains(got, "room is being made") {
			t.Errorf("after the node has measured: %q", got)
		}
	})
}

// TestNobodyIsBlockedUnseen: a class that loses its hope of room without being
// tried waits from then on; of which it is not known who would, that is tried.
func TestNobodyIsBlockedUnseen(t *testing.T) {
	q := newQueue()
	now := time.Unix(1_900_000_000, 0)
	var buckets []*bucket
	for i := range 3 {
		e := q.add(&job.Job{ID: fmt.Sprint(i), CreatedAt: now, Spec: job.Spec{Resources: job.Resources{CPUMillis: int64(i + 1)}}}, now)
		q.set(e.bucket.class, blocked)
		buckets = append(buckets, e.bucket)
	}
	q.starve(buckets[0], now)
	buckets[1].class.tried = buckets[1]
	q.probe(func(*scheduler.Work) bool { return true })
	q.unprobe(func(*scheduler.Work) bool { return false }, now.Add(time.Second))
	for i, want := range []struct {
		hope  hope
		since time.Time
	}{{blocked, now}, {blocked, now.Add(time.Second)}, {probing, time.Time{}}} {
		c := buckets[i].class
		if c.hope != want.hope || !c.waits.since.Equal(want.since) || (c.waits.in != nil) != (want.hope == blocked) {
			t.Errorf("class %d: hope %v, waits since %v, want %+v", i, c.hope, c.waits.since, want)
		}
	}
}

// TestFreedRoomHeedsTheLimit: for whom room was made waits for its queue as
// well.
func TestFreedRoomHeedsTheLimit(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 2)
		r.submit("low", cores(1), preemptible)
		firm := r.submit("firm", cores(1))
		refs := a.runs()
		urgent := r.submit("urgent", cores(1), withPriority(1))
		later()
		r.set(job.DefaultQueue, func(q *job.Queue) { q.MaxRunning = 1 })
		if got := a.stops(); len(got) != 1 {
			t.Fatalf("was asked to stop %v, want low", got)
		}
		later()
		r.want(urgent.ID, "queued []")
		a.says(refs["firm"], job.AttemptSucceeded, "")
		r.want(firm.ID, "succeeded [a succeeded]")
		r.want(urgent.ID, "assigned [a assigned]")
	})
}

// TestRoomForOneThatAvoids: no more of those come that it may avoid, and it goes
// there when the last has ended.
func TestRoomForOneThatAvoids(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 4)
		c := r.crowd(a)
		c.change = []func(*job.Job){func(j *job.Job) { j.Labels = map[string]string{"app": "db"} }}
		c.submit(2)
		shy := r.submit("shy", cores(1), func(j *job.Job) { j.Spec.AvoidJobs = "app=db" })
		c.stir(58) // each second one ends and another comes
		r.want(shy.ID, "queued []")
		c.stir(5)
		if j := r.get(shy.ID); len(j.Attempts) != 1 {
			t.Errorf("the one that avoids is %s: %s", j.State, r.summary(shy.ID))
		}
	})
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 4)
		c := r.crowd(a)
		c.change = []func(*job.Job){func(j *job.Job) { j.Labels = map[string]string{"app": "db"} }}
		c.submit(1)
		shy := r.submit("shy", cores(1), func(j *job.Job) { j.Spec.AvoidJobs = "app=db" })
		c.pass(65)
		if got := r.summary(shy.ID); !strings.HasPrefix(got, "room on node a is being kept for this job") {
			t.Errorf("explained by %q", got)
		}
		labelled := r.submit("labelled", cores(1), func(j *job.Job) { j.Labels = map[string]string{"app": "web"} })
		r.want(labelled.ID, "queued []")
		plain := r.submit("plain", cores(2))
		r.want(plain.ID, "assigned [a assigned]")
	})
}
