package dispatch

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/node"
)

// drain has the registry say how a node is drained; nil: it is not.
func (n *testNode) drain(wish *node.Drain) {
	prev, next := n.n, *n.n
	next.Drain, next.State = wish, node.Online
	if wish != nil {
		next.State = node.Draining
	}
	n.n = &next
	n.r.d.NodeChanged(prev, &next)
	synctest.Wait()
}

func TestDrainThatMoves(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 8)
		running, assigned := r.submit("running"), r.submit("assigned")
		a.received()
		ref := job.Ref{JobID: running.ID, Attempt: 1}
		a.says(ref, job.AttemptRunning, "")
		r.takeEvents()
		a.drain(&node.Drain{Since: time.Now(), Mode: node.DrainMove, Reason: "new disk"})
		const reason = "node a is being drained: new disk"
		var asked []job.Ref
		for _, m := range a.received() {
			cancel, ok := m.(CancelAttempt)
			if !ok || cancel.Reason != "evicted: "+reason || cancel.Grace != 10*time.Second {
				t.Errorf("the node received %+v, want to be asked to stop", m)
			}
			asked = append(asked, cancel.Ref)
		}
		if len(asked) != 2 {
			t.Errorf("the node was asked to stop %v, want both", asked)
		}
		if got := r.get(running.ID); got.State != job.Running || got.Reason != "being evicted: "+reason {
			t.Errorf("while it stops the job is %s: %q", got.State, got.Reason)
		}
		if got := r.d.JobsOn("a"); got != 2 {
			t.Errorf("the node holds %d jobs while they stop, want 2", got)
		}
		b := r.node("b", 8)
		a.says(job.Ref{JobID: assigned.ID, Attempt: 1}, job.AttemptCancelled, "before it was started")
		r.want(assigned.ID, "assigned [a evicted b assigned]")
		a.says(ref, job.AttemptSucceeded, "") // it was done before
		r.want(running.ID, "succeeded [a succeeded]")
		b.assigned()
		if got := r.d.JobsOn("a"); got != 0 {
			t.Errorf("the node holds %d jobs in the end", got)
		}
		if got := r.d.Stats().Evicted; got != 2 {
			t.Errorf("%d attempts were evicted, want 2", got)
		}
		a.drain(nil)
		a.wantAcks(2)
	})
}

// wantAcks checks that nothing but so many answers came.
func (n *testNode) wantAcks(count int) {
	n.r.t.Helper()
	got := n.received()
	for _, m := range got {
		if _, ack := m.(AttemptAcknowledged); !ack {
			n.r.t.Errorf("node %s received %+v, want only answers", n.n.ID, m)
		}
	}
	if len(got) != count {
		n.r.t.Errorf("node %s received %d answers, want %d", n.n.ID, len(got), count)
	}
}

func TestDrainDeadline(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 8)
		j := r.submit("job")
		ref := a.assigned()
		a.says(ref, job.AttemptRunning, "")
		hold := func(d time.Duration) {
			t.Helper()
			for end := time.Now().Add(d); time.Now().Before(end); {
				time.Sleep(min(10*time.Second, time.Until(end)))
				if got := a.renew(ref); len(got.Renewed) != 1 {
					t.Fatalf("the lease was not renewed: %+v", got)
				}
			}
		}
		a.drain(&node.Drain{Since: time.Now(), Mode: node.DrainFinish})
		hold(time.Hour)
		a.wantNothing() // no deadline
		a.drain(&node.Drain{Since: time.Now(), Mode: node.DrainFinish, Deadline: time.Now().Add(time.Minute)})
		hold(time.Minute - time.Second)
		a.wantNothing()
		if got := r.get(j.ID); got.Reason != "" {
			t.Errorf("before the deadline the reason is %q", got.Reason)
		}
		time.Sleep(time.Second)
		want := []Message{CancelAttempt{Ref: ref, Grace: 10 * time.Second, Reason: "evicted: the deadline to drain node a has passed"}}
		if diff := cmp.Diff(want, a.received()); diff != "" {
			t.Errorf("at the deadline (-want +got):\n%s", diff)
		}
		a.says(ref, job.AttemptFailed, "exit code 143")
		r.want(j.ID, "queued [a evicted]")
		a.drain(nil)
		r.want(j.ID, "assigned [a evicted a assigned]")
	})
}

func TestDrainOutlivesRestart(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 8)
		marked, late := r.submit("marked"), r.submit("late")
		a.received()
		for _, j := range []job.Job{marked, late} {
			a.says(job.Ref{JobID: j.ID, Attempt: 1}, job.AttemptRunning, "")
		}
		if _, err := r.store.EvictAttempt(t.Context(), job.Ref{JobID: marked.ID, Attempt: 1}, "drained"); err != nil {
			t.Fatal(err)
		}
		r.stop()
		r.start()
		// The registry tells of it when the node registers. Its deadline passed
		// in between.
		a.n.Drain = &node.Drain{Since: time.Now(), Mode: node.DrainFinish, Deadline: time.Now().Add(-time.Second)}
		r.d.NodeChanged(nil, a.n)
		a.connect(
			AttemptStatus{Ref: job.Ref{JobID: marked.ID, Attempt: 1}, State: job.AttemptRunning},
			AttemptStatus{Ref: job.Ref{JobID: late.ID, Attempt: 1}, State: job.AttemptRunning},
		)
		asked := make(map[string]string)
		for _, m := range a.received() {
			if cancel, ok := m.(CancelAttempt); ok {
				asked[cancel.Ref.JobID] = cancel.Reason
			}
		}
		want := map[string]string{marked.ID: "evicted: drained", late.ID: "evicted: the deadline to drain node a has passed"}
		if diff := cmp.Diff(want, asked); diff != "" {
			t.Errorf("asked to stop (-want +got):\n%s", diff)
		}
	})
}

func TestDrainMeetsAClaimAndAFailingStore(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		gate := make(chan struct{})
		r.store.hold.Store(&gate)
		j := r.submit("job")
		a := r.node("a", 8)
		a.drain(&node.Drain{Since: time.Now(), Mode: node.DrainMove})
		r.store.failing.Store(true)
		r.store.hold.Store(nil)
		close(gate)
		ref := a.assigned() // the claim was under way
		time.Sleep(5 * time.Second)
		a.wantNothing() // not asked before it is durable
		r.store.failing.Store(false)
		time.Sleep(4 * time.Second) // the third retry, 1+2+4 s after the first try
		want := []Message{CancelAttempt{Ref: ref, Grace: 10 * time.Second, Reason: "evicted: node a is being drained"}}
		if diff := cmp.Diff(want, a.received()); diff != "" {
			t.Errorf("asked (-want +got):\n%s", diff)
		}
		// Cancelling it wins.
		if _, err := r.d.Cancel(context.Background(), j.ID, "enough"); err != nil {
			t.Fatal(err)
		}
		a.says(ref, job.AttemptCancelled, "stopped")
		r.want(j.ID, "cancelled [a cancelled]")
	})
}

func TestUndrainBeforeTheDeadline(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 8)
		j := r.submit("job")
		ref := a.assigned()
		a.says(ref, job.AttemptRunning, "")
		a.drain(&node.Drain{Since: time.Now(), Mode: node.DrainFinish, Deadline: time.Now().Add(5 * time.Second)})
		a.drain(nil)
		time.Sleep(time.Minute / 2)
		a.wantNothing()
		r.want(j.ID, "running [a running]")
	})
}

// Jobs that differ only in what they tolerate do not wait for each other.
func TestTolerationsPartJobs(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.register("a", 2)
		a.n.Taints = []string{"gpu-only"}
		a.connect()
		kept, takes := r.submit("kept"), r.submit("takes", func(j *job.Job) { j.Spec.Tolerations = []string{"gpu-only"} })
		r.want(takes.ID, "assigned [a assigned]")
		r.want(kept.ID, "queued []")
		summary, _, err := r.d.Explain(t.Context(), kept.ID)
		if want := "the only node cannot take it: has the taint gpu-only, to be tolerated in spec.tolerations"; err != nil || summary != want {
			t.Errorf("Explain = %q, %v, want %q", summary, err, want)
		}
		untainted := *a.n
		untainted.Taints = nil
		r.d.NodeChanged(a.n, &untainted)
		r.want(kept.ID, "assigned [a assigned]")
	})
}
