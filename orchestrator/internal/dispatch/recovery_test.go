package dispatch

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/orchion/orchion/orchestrator/internal/job"
)

func TestRestart(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 8)
		var ids []string
		var refs []job.Ref
		for _, name := range []string{"goes-on", "ended", "vanished", "not-begun", "silent"} {
			j := r.submit(name)
			ids, refs = append(ids, j.ID), append(refs, a.assigned())
		}
		for _, i := range []int{0, 2, 4} {
			a.says(refs[i], job.AttemptRunning, "")
		}
		waiting := r.submit("waiting", func(j *job.Job) { j.Spec.Constraints = []string{"node=b"} })
		r.stop()
		time.Sleep(time.Hour)
		r.start()
		r.d.NodeChanged(nil, a.n)
		time.Sleep(lifetime - time.Second)
		r.want(ids[0], "running [a running]") // no lease ran out while we were away
		set := a.connect(
			AttemptStatus{Ref: refs[0], State: job.AttemptRunning},
			AttemptStatus{Ref: refs[1], State: job.AttemptSucceeded, StartedAt: time.Now().Add(-time.Hour), FinishedAt: time.Now().Add(-time.Hour + time.Minute)},
			AttemptStatus{Ref: refs[4], State: job.AttemptRunning},
			AttemptStatus{Ref: job.Ref{JobID: "unknown", Attempt: 3}, State: job.AttemptRunning},
		)
		var names []string
		for _, assignment := range set {
			names = append(names, assignment.Name)
		}
		slices.Sort(names)
		// The one that ended is in it until the node is told that it was heard.
		if want := "ended goes-on silent"; strings.Join(names, " ") != want {
			t.Errorf("full set = %v, want %s", names, want)
		}
		r.want(ids[0], "running [a running]")
		r.want(ids[1], "succeeded [a succeeded]")
		r.want(ids[2], "assigned [a lost a assigned]")
		r.want(ids[3], "assigned [a lost a assigned]") // who knows
		r.want(waiting.ID, "queued []")
		if took := r.get(ids[1]).FinishedAt.Sub(r.get(ids[1]).StartedAt); took != time.Minute {
			t.Errorf("the job that ended meanwhile took %s, want 1m", took)
		}
		if reason := r.get(ids[2]).Attempts[0].Reason; reason != "the node came back without it" {
			t.Errorf("reason = %q", reason)
		}
		time.Sleep(2 * time.Second)
		r.want(ids[4], "running [a running]") // connecting renewed its lease
	})
}

func TestStoreFails(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		j := r.submit("job")
		r.store.failing.Store(true)
		a := r.node("a", 2)
		a.wantNothing()
		if held := r.d.Cluster().Held("a"); held.Slots != 0 {
			t.Errorf("the node holds %d slots while nothing could be claimed", held.Slots)
		}
		time.Sleep(10 * time.Second)
		r.store.failing.Store(false)
		time.Sleep(storeRetry)
		ref := a.assigned()
		a.says(ref, job.AttemptRunning, "")
		r.store.failing.Store(true)
		a.says(ref, job.AttemptSucceeded, "")
		a.wantNothing() // not acknowledged: the node keeps the container
		time.Sleep(3 * lifetime)
		r.want(j.ID, "running [a running]") // it is known to have ended: not lost
		r.store.failing.Store(false)
		time.Sleep(maxStoreRetry)
		r.want(j.ID, "succeeded [a succeeded]")
		if diff := cmp.Diff([]Message{AttemptAcknowledged{Ref: ref, Accepted: true}}, a.received()); diff != "" {
			t.Errorf("answers (-want +got):\n%s", diff)
		}
	})
}

// TestStoreDisagrees has the store say something else than the dispatcher
// thinks, as if somebody else had written to it.
func TestStoreDisagrees(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 2)
		j := r.submit("job")
		ref := a.assigned()
		if _, err := r.store.LoseAttempt(t.Context(), ref, "by hand", time.Now()); err != nil {
			t.Fatal(err)
		}
		a.says(ref, job.AttemptRunning, "")
		got := a.received()
		want := []Message{
			CancelAttempt{Ref: ref, Grace: 10 * time.Second, Reason: "the attempt is not this node's, or not any more"},
			JobAssignment{Ref: job.Ref{JobID: j.ID, Attempt: 2}, Name: "job", Spec: j.Spec, LeaseTTL: ttl},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
	})
}
