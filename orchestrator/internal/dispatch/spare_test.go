package dispatch

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/orchion/orchion/orchestrator/internal/job"
)

// spared is a job that runs on a, whose lease ran out while it was spared, and
// a node b that could take it.
func spared(t *testing.T, r *rig) (a *testNode, ref job.Ref) {
	t.Helper()
	a = r.node("a", 8)
	j := r.submit("job")
	ref = a.assigned()
	a.says(ref, job.AttemptRunning, "")
	b := r.node("b", 8)
	r.silent.Store("a", true)
	a.offline()
	r.takeEvents()
	time.Sleep(10 * lifetime)
	r.want(j.ID, "running [a running]")
	b.wantNothing()
	if diff := cmp.Diff([]string{"job running: " + sparedReason}, r.takeEvents()); diff != "" {
		t.Errorf("events while it is spared (-want +got):\n%s", diff)
	}
	if s := r.d.Stats(); s.Spared != 1 || s.Active != 1 || s.Expired != 0 || s.Lost != 0 {
		t.Errorf("stats while it is spared: %+v", s)
	}
	return a, ref
}

func TestSparedAttemptGoesOn(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a, ref := spared(t, r)
		r.d.NodeChanged(nil, a.n)
		set := a.connect(AttemptStatus{Ref: ref, State: job.AttemptRunning})
		if len(set) != 1 || set[0].Ref != ref {
			t.Errorf("the node that came back is to run %v, want what it ran", set)
		}
		r.silent.Clear()
		if s := r.d.Stats(); s.Spared != 0 {
			t.Errorf("%d are spared after the node came back", s.Spared)
		}
		if diff := cmp.Diff([]string{"job running"}, r.takeEvents()); diff != "" {
			t.Errorf("events when it is back (-want +got):\n%s", diff)
		}
		r.d.Resume(false) // does not concern it any more
		time.Sleep(lifetime - time.Second)
		r.want(ref.JobID, "running [a running]")
		if got := a.renew(ref); len(got.Renewed) != 1 {
			t.Errorf("the lease was not renewed: %+v", got)
		}
		a.says(ref, job.AttemptSucceeded, "")
		r.want(ref.JobID, "succeeded [a succeeded]")
	})
}

func TestSparedAttemptThatEndedMeanwhile(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a, ref := spared(t, r)
		r.d.NodeChanged(nil, a.n)
		a.connect(AttemptStatus{Ref: ref, State: job.AttemptSucceeded})
		r.want(ref.JobID, "succeeded [a succeeded]")
		if s := r.d.Stats(); s.Spared != 0 || s.Active != 0 {
			t.Errorf("stats in the end: %+v", s)
		}
	})
}

func TestSparedAttemptIsLostWhenResumed(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		_, ref := spared(t, r)
		r.silent.Clear()
		r.d.Resume(false)
		r.want(ref.JobID, "assigned [a lost b assigned]")
		if got := r.get(ref.JobID).Attempts[0].Reason; got != "its node is silent, and rescheduling is not paused any more" {
			t.Errorf("the reason is %q", got)
		}
		if s := r.d.Stats(); s.Spared != 0 || s.Lost != 1 || s.Expired != 1 {
			t.Errorf("stats: %+v", s)
		}
	})
}

func TestSparedAttemptGetsAFreshLease(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		_, ref := spared(t, r)
		r.silent.Clear()
		r.d.Resume(true)
		if diff := cmp.Diff([]string{"job running"}, r.takeEvents()); diff != "" {
			t.Errorf("events when it got a lease (-want +got):\n%s", diff)
		}
		time.Sleep(lifetime - time.Second)
		r.want(ref.JobID, "running [a running]")
		time.Sleep(time.Second)
		r.want(ref.JobID, "assigned [a lost b assigned]")
	})
}

func TestSparedAttemptCanBeCancelled(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		_, ref := spared(t, r)
		if _, err := r.d.Cancel(t.Context(), ref.JobID, "enough"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		r.d.NodeLeft("a") // on purpose: it is not waited for
		r.want(ref.JobID, "cancelled [a lost]")
		if s := r.d.Stats(); s.Spared != 0 || s.Active != 0 {
			t.Errorf("stats in the end: %+v", s)
		}
	})
}
