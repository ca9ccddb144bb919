package dispatch

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
)

func TestDelayedStart(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 2)
		at := time.Now().Add(time.Hour)
		j := r.submit("later", func(j *job.Job) { j.Spec.StartAfter = at })
		want := "waits until " + at.UTC().Format(time.RFC3339) + ", as its startAfter says"
		if summary, _, err := r.d.Explain(t.Context(), j.ID); err != nil || summary != want || j.Reason != want {
			t.Errorf("Explain = %q, %v, reason %q, want %q", summary, err, j.Reason, want)
		}
		past := r.submit("past", func(j *job.Job) { j.Spec.StartAfter = time.Now().Add(-time.Hour) })
		if ref := a.assigned(); ref.JobID != past.ID {
			t.Errorf("%v was assigned", ref)
		}
		time.Sleep(time.Hour - time.Second)
		// It is known after a restart as well.
		r.stop()
		r.start()
		r.d.NodeChanged(nil, a.n)
		a.connect()
		a.received()
		r.want(j.ID, "queued []")
		time.Sleep(time.Second)
		r.want(j.ID, "assigned [a assigned]")
	})
}

func TestQueueTimeout(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		waits := func(j *job.Job) { j.Spec.QueueTimeout = time.Minute; j.Spec.Resources.MemoryBytes = 6 * gib }
		reason := func(id, want string) {
			t.Helper()
			if got := r.get(id).Reason; got != "waited for a node longer than its queue timeout of 1m0s: "+want {
				t.Errorf("reason = %q, want %q in it", got, want)
			}
		}
		none := r.submit("none", waits)
		delayed := r.submit("delayed", waits, func(j *job.Job) { j.Spec.StartAfter = time.Now().Add(time.Minute) })
		time.Sleep(time.Minute - time.Nanosecond)
		r.want(none.ID, "queued []")
		time.Sleep(time.Nanosecond)
		r.want(none.ID, "failed []")
		reason(none.ID, "no node is online: start a node agent, for example with: node-agent --orchestrator localhost:50051")

		a := r.node("a", 2)
		ref := a.assigned() // counted from when it may start, it waits still
		if ref.JobID != delayed.ID {
			t.Fatalf("%v was assigned", ref)
		}
		a.says(ref, job.AttemptRunning, "")
		full := r.submit("full", waits)
		r.set("night", func(q *job.Queue) { q.Paused = true })
		paused := r.submit("paused", waits, inQueue("night"))
		odd := r.submit("taken in time", waits, inQueue("night"))
		time.Sleep(30 * time.Second)
		a.renew(ref)
		// The deadline is known after a restart, and is not put off by it.
		r.stop()
		r.start()
		r.d.NodeChanged(nil, a.n)
		a.connect(AttemptStatus{Ref: ref, State: job.AttemptRunning})
		time.Sleep(29 * time.Second)
		if _, err := r.d.Cancel(t.Context(), odd.ID, ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		r.want(full.ID, "failed []")
		reason(full.ID, "1 node fits but is full: needs 6 GiB of memory; 6 GiB of 8 GiB are taken")
		r.want(paused.ID, "failed []")
		reason(paused.ID, "the queue night is paused")
		r.want(odd.ID, "cancelled []")

		// By hand it gets its time again.
		if _, err := r.d.Retry(t.Context(), full.ID); err != nil {
			t.Fatal(err)
		}
		a.renew(ref)
		time.Sleep(30 * time.Second)
		a.renew(ref)
		time.Sleep(29 * time.Second)
		r.want(full.ID, "queued []")
		a.says(ref, job.AttemptSucceeded, "")
		r.want(full.ID, "assigned [a assigned]")
		time.Sleep(time.Minute)
		if j := r.get(full.ID); j.State != job.Assigned && len(j.Attempts) < 2 {
			t.Errorf("a job that was assigned is %s: %s", j.State, j.Reason)
		}
		if s := r.d.Stats(); s.Queued > 1 {
			t.Errorf("stats = %+v", s)
		}
	})
}

// TestQueueTimeoutWhileTheStoreFails: it is given up when the store works
// again.
func TestQueueTimeoutWhileTheStoreFails(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		j := r.submit("job", func(j *job.Job) { j.Spec.QueueTimeout = time.Minute })
		r.store.failing.Store(true)
		time.Sleep(2 * time.Minute)
		r.want(j.ID, "queued []")
		r.store.failing.Store(false)
		time.Sleep(storeRetry)
		r.want(j.ID, "failed []")
	})
}

// TestExpireMeetsRetry: the store has failed the job and somebody wants it back
// before the dispatcher has heard of it.
func TestExpireMeetsRetry(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		gate := make(chan struct{})
		r.store.expire.Store(&gate)
		j := r.submit("job", func(j *job.Job) { j.Spec.QueueTimeout = time.Minute })
		time.Sleep(time.Minute)
		r.want(j.ID, "failed []")
		if _, err := r.d.Retry(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		close(gate)
		a := r.node("a", 1)
		if ref := a.assigned(); ref.JobID != j.ID {
			t.Errorf("%v was assigned", ref)
		}
		if _, err := r.d.Retry(t.Context(), j.ID); fault.CodeOf(err) != fault.Precondition {
			t.Errorf("retrying an assigned job: %v", err)
		}
	})
}
