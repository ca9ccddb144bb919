package dispatch

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/scheduler"
)

// bubble runs a test with its own time.
func bubble(t *testing.T, f func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newRig(t)) })
}

func TestJobRunsToItsEnd(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 2)
		j := r.submit("hello", func(j *job.Job) { j.Spec.Resources.MemoryBytes = gib })
		got := a.received()
		ref := job.Ref{JobID: j.ID, Attempt: 1}
		want := []Message{JobAssignment{Ref: ref, Name: "hello", Spec: j.Spec, LeaseTTL: ttl}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("assignment (-want +got):\n%s", diff)
		}
		if held := r.d.Cluster().Held("a"); held.Slots != 1 || held.MemoryBytes != gib {
			t.Errorf("the node holds %+v, want one slot and 1 GiB", held)
		}
		a.says(ref, job.AttemptAssigned, "pulling image, 42 %")
		a.says(ref, job.AttemptAssigned, "pulling image, 42 %") // again: no event
		a.says(ref, job.AttemptRunning, "")
		a.says(ref, job.AttemptRunning, "")
		time.Sleep(time.Second)
		a.says(ref, job.AttemptSucceeded, "")
		a.says(ref, job.AttemptSucceeded, "") // sent again before the answer came
		wantAnswers := []Message{AttemptAcknowledged{Ref: ref, Accepted: true}, AttemptAcknowledged{Ref: ref}}
		if diff := cmp.Diff(wantAnswers, a.received()); diff != "" {
			t.Errorf("answers (-want +got):\n%s", diff)
		}
		r.want(j.ID, "succeeded [a succeeded]")
		done := r.get(j.ID)
		if took := done.FinishedAt.Sub(done.StartedAt); took != time.Second {
			t.Errorf("the job took %s, want 1s", took)
		}
		wantEvents := []string{"hello queued", "hello assigned", "hello assigned: pulling image, 42 %", "hello running", "hello succeeded"}
		if diff := cmp.Diff(wantEvents, r.takeEvents()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		if held := r.d.Cluster().Held("a"); held.Slots != 0 || held.MemoryBytes != 0 {
			t.Errorf("the node still holds %+v", held)
		}
		stats := r.d.Stats()
		if stats != (Stats{Submitted: 1, Claimed: 1, Started: 1, Completed: 1}) {
			t.Errorf("stats = %+v", stats)
		}
	})
}

func TestJobWaitsForANode(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		explain := func(id, want string) {
			t.Helper()
			summary, _, err := r.d.Explain(t.Context(), id)
			if err != nil || summary != want {
				t.Errorf("Explain = %q, %v, want %q", summary, err, want)
			}
			jobs := []job.Job{r.get(id)}
			r.d.Annotate(t.Context(), jobs)
			if jobs[0].Reason != want {
				t.Errorf("reason = %q, want %q", jobs[0].Reason, want)
			}
		}
		big := r.submit("big", func(j *job.Job) { j.Spec.Resources.MemoryBytes = 16 * gib })
		explain(big.ID, "no node is online: start a node agent, for example with: node-agent --orchestrator localhost:50051")
		a := r.register("a", 2)
		synctest.Wait()
		explain(big.ID, "the only node cannot take it: its node agent is registered but not connected; needs 16 GiB of memory; this node has 8 GiB")
		a.connect()
		explain(big.ID, "the only node cannot take it: needs 16 GiB of memory; this node has 8 GiB")
		// A job that fits passes by the one that does not.
		half := func(j *job.Job) { j.Spec.Resources.MemoryBytes = 6 * gib }
		first, second := r.submit("first", half), r.submit("second", half)
		if ref := a.assigned(); ref.JobID != first.ID {
			t.Fatalf("%v was assigned, want the first", ref)
		}
		explain(second.ID, "1 node fits but is full: needs 6 GiB of memory; 6 GiB of 8 GiB are taken")
		summary, fits, err := r.d.Explain(t.Context(), first.ID)
		if err != nil || summary != "" || len(fits) != 1 {
			t.Errorf("Explain of a job that does not wait = %q, %v, %v", summary, fits, err)
		}
		a.says(job.Ref{JobID: first.ID, Attempt: 1}, job.AttemptSucceeded, "")
		r.want(second.ID, "assigned [a assigned]")
		r.want(big.ID, "queued []")
		_, _, err = r.d.Explain(t.Context(), "none")
		if fault.CodeOf(err) != fault.NotFound {
			t.Errorf("Explain of no job = %v, want NotFound", err)
		}
	})
}

// Whoever looks at a waiting job reads why it waits, the moment that it was
// queued in and a queue of too many kinds to look at each included.
func TestEveryWaitingJobSaysWhy(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		jobs := []job.Job{{ID: "queued a moment ago", State: job.Queued}}
		for i := range maxSummaries + 1 {
			jobs = append(jobs, r.submit("kind", func(j *job.Job) { j.Spec.Resources.MemoryBytes = int64(i) * gib }))
		}
		synctest.Wait()
		r.d.Annotate(t.Context(), jobs)
		want := slices.Repeat([]string{scheduler.Summary(nil)}, len(jobs))
		want[0], want[len(want)-1] = freshReason, blockedReason
		var got []string
		for _, j := range jobs {
			got = append(got, j.Reason)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("reasons (-want +got):\n%s", diff)
		}
	})
}

func TestOrderOfTheQueue(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		whole := func(j *job.Job) { j.Spec.Resources.MemoryBytes = 8 * gib }
		priority := func(p int) func(*job.Job) { return func(j *job.Job) { j.Spec.Priority = p } }
		for i, change := range []func(*job.Job){priority(0), priority(-5), priority(5), priority(0), priority(5)} {
			time.Sleep(time.Second)
			r.submit(fmt.Sprint("j", i), whole, change)
		}
		// One of another class has its turn among them.
		time.Sleep(time.Second)
		r.submit("j5", func(j *job.Job) { j.Spec.Resources.MemoryBytes = 7 * gib; j.Spec.Priority = 5 })
		a := r.node("a", 2)
		var order []string
		for range 6 {
			ref := a.assigned()
			order = append(order, r.get(ref.JobID).Name)
			a.says(ref, job.AttemptSucceeded, "")
			a.session.mu.Lock()
			a.session.queue = slices.DeleteFunc(a.session.queue, func(m Message) bool {
				_, ack := m.(AttemptAcknowledged)
				return ack
			})
			a.session.mu.Unlock()
		}
		if want := "j2 j4 j5 j0 j3 j1"; strings.Join(order, " ") != want {
			t.Errorf("order = %v, want %s", order, want)
		}
	})
}

func TestLeaseRunsOut(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 2)
		j := r.submit("job")
		ref := a.assigned()
		a.says(ref, job.AttemptRunning, "")
		b := r.node("b", 2)
		time.Sleep(lifetime - time.Nanosecond)
		r.want(j.ID, "running [a running]")
		time.Sleep(time.Nanosecond)
		// b has nothing, a still its freed slot: the tie goes to a by id, so
		// it is taken off first.
		r.want(j.ID, "assigned [a lost a assigned]")
		got := a.received()
		want := []Message{
			CancelAttempt{Ref: ref, Grace: 10 * time.Second, Reason: "the node has not renewed its lease for 40s"},
			JobAssignment{Ref: job.Ref{JobID: j.ID, Attempt: 2}, Name: "job", Spec: j.Spec, LeaseTTL: ttl},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
		a.offline()
		time.Sleep(lifetime)
		third := b.assigned()
		if third.Attempt != 3 {
			t.Errorf("attempt %d was assigned, want 3", third.Attempt)
		}
		// The first node comes back and says how its attempts ended: too late.
		r.d.NodeChanged(nil, a.n)
		ended := AttemptStatus{Ref: ref, State: job.AttemptSucceeded}
		if set := a.connect(ended); len(set) != 0 {
			t.Errorf("the node is to run %v", set)
		}
		if diff := cmp.Diff([]Message{AttemptAcknowledged{Ref: ref}}, a.received()); diff != "" {
			t.Errorf("answers (-want +got):\n%s", diff)
		}
		a.says(job.Ref{JobID: j.ID, Attempt: 3}, job.AttemptSucceeded, "") // not its own
		if diff := cmp.Diff([]Message{AttemptAcknowledged{Ref: third}}, a.received()); diff != "" {
			t.Errorf("answers (-want +got):\n%s", diff)
		}
		r.want(j.ID, "assigned [a lost a lost b assigned]")
		b.says(third, job.AttemptSucceeded, "")
		r.want(j.ID, "succeeded [a lost a lost b succeeded]")
		if s := r.d.Stats(); s.Lost != 2 || s.Expired != 2 || s.Completed != 1 {
			t.Errorf("stats = %+v", s)
		}
	})
}

func TestLeaseIsRenewed(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a, b := r.node("a", 2), r.node("b", 2)
		j := r.submit("job")
		ref := a.assigned()
		a.says(ref, job.AttemptRunning, "")
		for range 10 {
			time.Sleep(lifetime - time.Second)
			answer := a.renew(ref, job.Ref{JobID: "other", Attempt: 1}, job.Ref{JobID: j.ID, Attempt: 2})
			want := LeasesRenewed{Sequence: 7, TTL: ttl, Renewed: []job.Ref{ref},
				Lost: []job.Ref{{JobID: "other", Attempt: 1}, {JobID: j.ID, Attempt: 2}}}
			if diff := cmp.Diff(want, answer); diff != "" {
				t.Fatalf("answer (-want +got):\n%s", diff)
			}
		}
		if answer := b.renew(ref); len(answer.Renewed) != 0 {
			t.Errorf("another node renewed %v", answer.Renewed)
		}
		r.want(j.ID, "running [a running]")
		// A wish that comes with the end of the lease is too late.
		time.Sleep(lifetime)
		if answer := a.renew(ref); len(answer.Renewed) != 0 {
			t.Errorf("renewed %v after its end", answer.Renewed)
		}
	})
}

// TestLossIsFinal has a node speak while the store is being told that its
// attempt is lost: it is too late already.
func TestLossIsFinal(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 2)
		j := r.submit("job")
		ref := a.assigned()
		gate := make(chan struct{})
		r.store.lose.Store(&gate)
		time.Sleep(lifetime)
		a.received()
		if answer := a.renew(ref); len(answer.Renewed) != 0 || len(answer.Lost) != 1 {
			t.Errorf("answer = %+v, want the attempt among the lost", answer)
		}
		a.says(ref, job.AttemptSucceeded, "")
		if diff := cmp.Diff([]Message{AttemptAcknowledged{Ref: ref}}, a.received()); diff != "" {
			t.Errorf("answers (-want +got):\n%s", diff)
		}
		if r.d.HoldsAttempt("a", ref) {
			t.Error("the node still holds the attempt")
		}
		if set := a.connect(AttemptStatus{Ref: ref, State: job.AttemptSucceeded}); len(set) != 0 {
			t.Errorf("full set = %v", set)
		}
		close(gate)
		r.want(j.ID, "assigned [a lost a assigned]")
	})
}

func TestLostTooOften(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.node("a", 2)
		j := r.submit("killer")
		time.Sleep(job.MaxLost*lifetime + time.Second)
		done := r.get(j.ID)
		if done.State != job.Failed || len(done.Attempts) != job.MaxLost {
			t.Fatalf("the job is %s after %d attempts", done.State, len(done.Attempts))
		}
		if want := "lost 10 nodes; the last: a: the node has not renewed its lease for 40s"; done.Reason != want {
			t.Errorf("reason = %q, want %q", done.Reason, want)
		}
	})
}

func TestNodeLeaves(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 2)
		j := r.submit("job")
		a.says(a.assigned(), job.AttemptRunning, "")
		b := r.node("b", 2)
		a.offline()
		r.want(j.ID, "running [a running]") // offline alone is not lost
		r.d.NodeLeft("a")
		r.want(j.ID, "assigned [a lost b assigned]")
		if ref := b.assigned(); ref.Attempt != 2 {
			t.Errorf("attempt %d, want 2", ref.Attempt)
		}
		if reason := r.get(j.ID).Attempts[0].Reason; reason != "the node left" {
			t.Errorf("reason = %q", reason)
		}
	})
}

func TestRetryWaitsForItsBackoff(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 2)
		j := r.submit("flaky", func(j *job.Job) {
			j.Spec.Retry = job.Retry{MaxAttempts: 2, InitialBackoff: time.Minute, MaxBackoff: time.Minute}
		})
		ref := a.assigned()
		a.says(ref, job.AttemptFailed, "exit code 3")
		a.received()
		waiting := r.get(j.ID)
		if wait := time.Until(waiting.NotBefore); waiting.State != job.Queued || wait < 30*time.Second || wait > time.Minute {
			t.Fatalf("the job is %s and waits %s", waiting.State, wait)
		}
		summary, _, err := r.d.Explain(t.Context(), j.ID)
		if prefix := "waits until " + waiting.NotBefore.UTC().Format(time.RFC3339) + " before it is tried again: attempt 1 failed: exit code 3"; err != nil || !strings.HasPrefix(summary, prefix) {
			t.Errorf("Explain = %q, %v, want %q...", summary, err, prefix)
		}
		time.Sleep(time.Until(waiting.NotBefore) - time.Nanosecond)
		a.wantNothing()
		time.Sleep(time.Nanosecond)
		a.says(a.assigned(), job.AttemptFailed, "exit code 3")
		r.want(j.ID, "failed [a failed a failed]")

		again, err := r.d.Retry(t.Context(), j.ID)
		if err != nil || again.State != job.Queued {
			t.Fatalf("Retry = %v, %v", again.State, err)
		}
		r.want(j.ID, "assigned [a failed a failed a assigned]")
		if _, err := r.d.Retry(t.Context(), j.ID); fault.CodeOf(err) != fault.Precondition || !strings.Contains(err.Error(), "is assigned; it cannot be retried") {
			t.Errorf("Retry of an assigned job = %v", err)
		}
	})
}

// TestRetryOvertakesTheEnd retries a job that the store says has failed before
// the dispatcher has heard so.
func TestRetryOvertakesTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 2)
		j := r.submit("job")
		ref := a.assigned()
		gate := make(chan struct{})
		r.store.missed.Store(&gate)
		a.says(ref, job.AttemptFailed, "no")
		r.want(j.ID, "failed [a failed]")
		if _, err := r.d.Retry(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		close(gate)
		r.want(j.ID, "assigned [a failed a assigned]")
	})
}

func TestCancel(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		cancel := func(id string) job.Job {
			t.Helper()
			j, err := r.d.Cancel(t.Context(), id, "changed my mind")
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			return j
		}
		queued := r.submit("queued")
		if got := cancel(queued.ID); got.State != job.Cancelled {
			t.Errorf("a queued job became %s", got.State)
		}
		a := r.node("a", 2)
		a.wantNothing()
		r.want(queued.ID, "cancelled []")
		cancel(queued.ID) // again

		running := r.submit("running")
		ref := a.assigned()
		a.says(ref, job.AttemptRunning, "")
		r.takeEvents()
		if got := cancel(running.ID); got.State != job.Running || got.Reason != "being cancelled: changed my mind" {
			t.Errorf("a running job is %s: %s", got.State, got.Reason)
		}
		want := CancelAttempt{Ref: ref, Grace: 10 * time.Second, Reason: "cancelled: changed my mind"}
		if diff := cmp.Diff([]Message{want}, a.received()); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
		// The request outlives the stream, and our own end.
		a.disconnect()
		if set := a.connect(AttemptStatus{Ref: ref, State: job.AttemptRunning}); len(set) != 1 {
			t.Errorf("full set = %v", set)
		}
		if diff := cmp.Diff([]Message{want}, a.received()); diff != "" {
			t.Errorf("messages after connecting (-want +got):\n%s", diff)
		}
		r.stop()
		r.start()
		r.d.NodeChanged(nil, a.n)
		a.connect(AttemptStatus{Ref: ref, State: job.AttemptRunning})
		if diff := cmp.Diff([]Message{want}, a.received()); diff != "" {
			t.Errorf("messages after a restart (-want +got):\n%s", diff)
		}
		a.says(ref, job.AttemptCancelled, "")
		r.want(running.ID, "cancelled [a cancelled]")
		wantEvents := []string{"running running: being cancelled: changed my mind", "running cancelled"}
		if diff := cmp.Diff(wantEvents, r.takeEvents()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		a.received()

		lost := r.submit("lost")
		a.assigned()
		a.offline()
		cancel(lost.ID)
		time.Sleep(lifetime)
		r.want(lost.ID, "cancelled [a lost]")

		if _, err := r.d.Cancel(t.Context(), "none", ""); fault.CodeOf(err) != fault.NotFound {
			t.Errorf("Cancel of no job = %v, want NotFound", err)
		}
	})
}

// TestCancelDuringTheClaim cancels a job that the store has given to a node
// while the dispatcher does not know yet.
func TestCancelDuringTheClaim(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		gate := make(chan struct{})
		r.store.hold.Store(&gate)
		j := r.submit("job")
		a := r.node("a", 2)
		if got, err := r.d.Cancel(t.Context(), j.ID, ""); err != nil || got.State != job.Assigned {
			t.Fatalf("Cancel = %v, %v", got.State, err)
		}
		synctest.Wait()
		a.wantNothing()
		close(gate)
		got := a.received()
		ref := job.Ref{JobID: j.ID, Attempt: 1}
		want := []Message{
			JobAssignment{Ref: ref, Name: "job", Spec: j.Spec, LeaseTTL: ttl},
			CancelAttempt{Ref: ref, Grace: 10 * time.Second, Reason: "cancelled"},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
		a.says(ref, job.AttemptCancelled, "")
		r.want(j.ID, "cancelled [a cancelled]")
	})
}

// TestCancelDuringTheStart cancels a job whose start the store has taken while
// the dispatcher does not know yet.
func TestCancelDuringTheStart(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 2)
		gate := make(chan struct{})
		r.store.start.Store(&gate)
		j := r.submit("job")
		ref := a.assigned()
		a.says(ref, job.AttemptRunning, "")
		if got, err := r.d.Cancel(t.Context(), j.ID, ""); err != nil || !got.CancelRequested {
			t.Fatalf("Cancel = %+v, %v", got, err)
		}
		r.takeEvents()
		close(gate)
		if diff := cmp.Diff([]string{"job running: being cancelled"}, r.takeEvents()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		// The stream may have broken before the node heard of it.
		a.disconnect()
		a.connect(AttemptStatus{Ref: ref, State: job.AttemptRunning})
		want := []Message{CancelAttempt{Ref: ref, Grace: 10 * time.Second, Reason: "cancelled"}}
		if diff := cmp.Diff(want, a.received()); diff != "" {
			t.Errorf("messages after connecting (-want +got):\n%s", diff)
		}
	})
}

// TestNodeForgetsDuringTheStart has a node come back without an attempt whose
// start is still on its way into the store: it must not run twice.
func TestNodeForgetsDuringTheStart(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 2)
		gate := make(chan struct{})
		r.store.start.Store(&gate)
		j := r.submit("job")
		ref := a.assigned()
		a.says(ref, job.AttemptRunning, "")
		a.disconnect()
		if set := a.connect(); len(set) != 0 {
			t.Errorf("full set = %v, want nothing", set)
		}
		close(gate)
		r.want(j.ID, "assigned [a lost a assigned]")
	})
}

func TestSubmitErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		_, err := r.d.Submit(t.Context(), job.Job{Spec: job.Spec{Constraints: []string{"os=linux", "ram>=8GiB"}}})
		if fault.CodeOf(err) != fault.Invalid || !strings.HasPrefix(err.Error(), `spec.constraints[1]: "ram" is not a key of constraints; use one of`) {
			t.Errorf("bad constraint: %v", err)
		}
		r.d.cfg.MaxQueued = 2
		first := r.submit("one", func(j *job.Job) { j.IdempotencyKey = "key" })
		if again := r.submit("other", func(j *job.Job) { j.IdempotencyKey = "key" }); again.ID != first.ID {
			t.Errorf("the same key answered another job")
		}
		r.submit("two")
		_, err = r.d.Submit(t.Context(), job.Job{})
		if want := "the queue is full: 2 jobs wait; submit again when some have run, or cancel some"; fault.CodeOf(err) != fault.Exhausted || err.Error() != want {
			t.Errorf("full queue: %v", err)
		}
	})
}

func TestHoldsAttempt(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 2)
		r.submit("container", func(j *job.Job) { j.Spec.Container.Models = []string{"m1", "m2"} })
		container := a.assigned()
		r.submit("chat", func(j *job.Job) { j.Spec = job.Spec{Chat: &job.Chat{Model: "m3"}} })
		chat := a.assigned()
		for _, tt := range []struct {
			nodeID string
			ref    job.Ref
			holds  bool
			models []string
		}{
			{"a", container, true, []string{"m1", "m2"}},
			{"a", chat, true, []string{"m3"}},
			{"b", container, false, nil},
			{"a", job.Ref{JobID: container.JobID, Attempt: 2}, false, nil},
			{"a", job.Ref{JobID: "none", Attempt: 1}, false, nil},
		} {
			models, holds := r.d.AttemptModels(tt.nodeID, tt.ref)
			if holds != tt.holds || r.d.HoldsAttempt(tt.nodeID, tt.ref) != tt.holds || !slices.Equal(models, tt.models) {
				t.Errorf("node %s, %v: %v, %v, want %v, %v", tt.nodeID, tt.ref, models, holds, tt.models, tt.holds)
			}
		}
	})
}

func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		if err := r.d.Start(t.Context()); err == nil {
			t.Error("started twice")
		}
		r.d.Stop()
		r.d.Stop()
		if err := r.d.AttemptStatus(t.Context(), "a", AttemptStatus{}); fault.CodeOf(err) != fault.Unavailable {
			t.Errorf("AttemptStatus after Stop = %v, want Unavailable", err)
		}
		if err := r.d.RenewLeases(t.Context(), "a", 1, nil); fault.CodeOf(err) != fault.Unavailable {
			t.Errorf("RenewLeases after Stop = %v, want Unavailable", err)
		}
		if _, err := r.d.Connected(t.Context(), r.hub.Attach("a"), nil); fault.CodeOf(err) != fault.Unavailable || err.Error() != "the orchestrator is shutting down" {
			t.Errorf("Connected after Stop = %v, want Unavailable", err)
		}
		if r.d.HoldsAttempt("a", job.Ref{}) {
			t.Error("an attempt is held after Stop")
		}
		if _, err := r.d.Submit(t.Context(), job.Job{Spec: job.Spec{Chat: &job.Chat{}}}); err != nil {
			t.Errorf("Submit after Stop = %v; it is durable and waits for the next start", err)
		}

		never, err := New(Config{Store: r.store, Hub: NewHub()})
		if err != nil {
			t.Fatal(err)
		}
		never.Stop()
		if err := never.Start(t.Context()); err == nil {
			t.Error("started after Stop")
		}
	})
}

func TestConfigErrors(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("made without a store")
	}
	_, err := New(Config{Store: &faultyStore{}, Hub: NewHub(), LeaseTTL: time.Millisecond})
	var f *fault.Error
	if !errors.As(err, &f) || f.Field != "lease-ttl" {
		t.Errorf("error = %v, want it to name lease-ttl", err)
	}
}
