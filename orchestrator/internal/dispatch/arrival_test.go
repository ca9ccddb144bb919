package dispatch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/node"
)

// answer is what a submission was answered.
type answer struct {
	job job.Job
	err error
}

// submitBeside submits without waiting for the answer.
func (r *rig) submitBeside(ctx context.Context, name string, change ...func(*job.Job)) <-chan answer {
	j := job.Job{ID: "id-" + name, Name: name, Spec: job.Spec{Container: &job.Container{Image: name}}}
	for _, f := range change {
		f(&j)
	}
	answered := make(chan answer, 1)
	go func() {
		stored, err := r.d.Submit(ctx, j)
		answered <- answer{stored, err}
	}()
	synctest.Wait()
	return answered
}

// holdArrivals holds up the answers to what is submitted to a node at once, until
// the function is called that it answers.
func (r *rig) holdArrivals() (release func()) {
	gate := make(chan struct{})
	r.store.arrive.Store(&gate)
	return func() {
		r.store.arrive.Store(nil)
		close(gate)
		synctest.Wait()
	}
}

// keepBusy has what comes meanwhile wait for one round, until the function is
// called that it answers.
func (r *rig) keepBusy() (release func()) {
	busy := make(chan struct{})
	r.d.box.Post(func() { <-busy })
	synctest.Wait()
	return func() { close(busy) }
}

// TestArrivalIsGivenToANode: a job for which a node has room is stored as that
// node's in one step. Before the store has answered nobody is told.
func TestArrivalIsGivenToANode(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 2)
		release := r.holdArrivals()
		submitted := r.submitBeside(t.Context(), "job", func(j *job.Job) { j.Spec.Resources.MemoryBytes = gib })
		a.wantNothing()
		if events := r.takeEvents(); len(events) > 0 {
			t.Errorf("events before it is stored: %q", events)
		}
		if held := r.d.Cluster().Held("a"); held.Slots != 1 {
			t.Errorf("the node holds %d slots, want the one of the job that is to come", held.Slots)
		}
		if s := r.d.Stats(); s.Submitted != 0 || s.Queued != 1 || s.Active != 0 {
			t.Errorf("while it is stored: %+v", s)
		}
		release()
		got := <-submitted
		if got.err != nil || got.job.State != job.Assigned || len(got.job.Attempts) != 1 {
			t.Errorf("Submit = %+v, %v, want it assigned", got.job, got.err)
		}
		if ref := a.assigned(); ref != (job.Ref{JobID: "id-job", Attempt: 1}) {
			t.Errorf("the node was told of %v", ref)
		}
		if diff := cmp.Diff([]string{"job queued", "job assigned"}, r.takeEvents()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		if s := r.d.Stats(); s.Submitted != 1 || s.Claimed != 1 || s.Queued != 0 || s.Active != 1 {
			t.Errorf("in the end: %+v", s)
		}
		if diff := cmp.Diff(got.job, r.get("id-job")); diff != "" {
			t.Errorf("stored (-answered +stored):\n%s", diff)
		}
		// Its lease began.
		time.Sleep(lifetime)
		r.want("id-job", "assigned [a lost a assigned]")
	})
}

// TestArrivalGivesBackItsRoom: what the store does not take costs no node
// anything, and who waited for the room gets it.
func TestArrivalGivesBackItsRoom(t *testing.T) {
	done, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx    context.Context
		fails  bool
		change func(*job.Job)
		want   func(answer) bool
	}{
		"the key is taken":                     {t.Context(), false, func(j *job.Job) { j.IdempotencyKey = "key" }, func(a answer) bool { return a.err == nil && a.job.ID == "first" }},
		"the id is taken":                      {t.Context(), false, func(j *job.Job) { j.ID = "first" }, func(a answer) bool { return fault.CodeOf(a.err) == fault.AlreadyExists }},
		"the id is none":                       {t.Context(), false, func(j *job.Job) { j.ID = "../etc" }, func(a answer) bool { return fault.CodeOf(a.err) == fault.Invalid }},
		"the disk is full":                     {t.Context(), true, func(*job.Job) {}, func(a answer) bool { return fault.CodeOf(a.err) == fault.Unavailable }},
		"nobody waits for the answer any more": {done, false, func(*job.Job) {}, func(a answer) bool { return errors.Is(a.err, context.Canceled) }},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				a := r.node("a", 4)
				r.submit("first", func(j *job.Job) { j.ID, j.IdempotencyKey = "first", "key" })
				a.says(a.assigned(), job.AttemptSucceeded, "")
				a.received()
				release := r.holdArrivals()
				r.store.failing.Store(c.fails)
				second := r.submitBeside(c.ctx, "second", cores(4), c.change)
				r.store.failing.Store(false)
				release()
				if got := <-second; !c.want(got) {
					t.Errorf("Submit = %+v, %v", got.job, got.err)
				}
				a.wantNothing()
				if held := r.d.Cluster().Held("a"); held.Slots != 0 || held.CPUMillis != 0 {
					t.Errorf("the node holds %+v for nobody", held)
				}
				if s := r.d.Stats(); s.Queued != 0 || s.Active != 0 || s.Queues != 0 || s.Submitted != 1 {
					t.Errorf("what is left: %+v", s)
				}
				third := r.submit("third", cores(4))
				r.want(third.ID, "assigned [a assigned]")
			})
		})
	}
}

// TestArrivalMakesOthersWait: its room and its place in its queue are taken until
// the store has answered, and then free for those who wait.
func TestArrivalMakesOthersWait(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 4)
		r.submit("first", func(j *job.Job) { j.IdempotencyKey = "key" })
		a.assigned()
		r.set("narrow", func(q *job.Queue) { q.MaxRunning = 1 })
		release := r.holdArrivals()
		known := r.submitBeside(t.Context(), "known", inQueue("narrow"), cores(4), func(j *job.Job) { j.IdempotencyKey = "key" })
		limited := r.submit("limited", inQueue("narrow"))
		large := r.submit("large", cores(4))
		r.want(limited.ID, "queued []")
		r.want(large.ID, "queued []")
		release()
		if got := <-known; got.err != nil || got.job.Name != "first" {
			t.Errorf("Submit = %+v, %v", got.job, got.err)
		}
		r.want(limited.ID, "assigned [a assigned]")
		r.want(large.ID, "assigned [a assigned]")
	})
}

// TestRefusedArrivalLeavesKeptRoom: only one that is stored ends what is kept for
// another of its class.
func TestRefusedArrivalLeavesKeptRoom(t *testing.T) {
	for name, c := range map[string]struct {
		key  string
		kept int
	}{"refused": {"key", 1}, "stored": {"another", 0}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				a, b := r.node("a", 8), r.node("b", 8)
				cordoned := *b.n
				cordoned.Cordoned = true
				r.d.NodeChanged(b.n, &cordoned)
				crowd := r.crowd(a)
				crowd.submit(8)
				large := r.submit("large", cores(8), func(j *job.Job) { j.IdempotencyKey = "key" })
				crowd.pass(70)
				if got := r.summary(large.ID); !strings.HasPrefix(got, "room on node a is") {
					t.Fatalf("the large one is explained by %q", got)
				}
				release := r.holdArrivals()
				goOn := r.keepBusy()
				r.d.box.Post(func() { r.d.NodeChanged(&cordoned, b.n) }) // in the round of the arrival
				submitted := r.submitBeside(t.Context(), "urgent", cores(8), withPriority(1), func(j *job.Job) { j.IdempotencyKey = c.key })
				goOn()
				synctest.Wait()
				if held := r.d.Cluster().Held("b"); held.Slots != 1 {
					t.Fatalf("node b holds %d slots, want the one of the submission", held.Slots)
				}
				r.d.NodeChanged(b.n, &cordoned)
				release()
				if got := <-submitted; got.err != nil {
					t.Error(got.err)
				}
				synctest.Wait()
				r.want(large.ID, "queued []")
				if kept := len(r.d.queue.keeps); kept != c.kept {
					t.Errorf("room is kept for %d jobs, want %d", kept, c.kept)
				}
			})
		})
	}
}

// TestArrivalsThatWait are queued as ever: each for one reason.
func TestArrivalsThatWait(t *testing.T) {
	for name, c := range map[string]struct {
		before func(*rig, *testNode)
		change func(*job.Job)
	}{
		"for another job": {func(r *rig, _ *testNode) { r.submit("first", func(j *job.Job) { j.ID = "first" }) },
			func(j *job.Job) { j.Spec.After = []job.Dependency{{ID: "first", On: job.OnEnd}} }},
		"for a time":    {nil, func(j *job.Job) { j.Spec.StartAfter = time.Now().Add(time.Minute) }},
		"for room":      {nil, cores(5)},
		"for a node":    {func(_ *rig, n *testNode) { n.drain(&node.Drain{Since: time.Now()}) }, nil},
		"for its queue": {func(r *rig, _ *testNode) { r.set("default", func(q *job.Queue) { q.Paused = true }) }, nil},
		"for its share": {func(r *rig, _ *testNode) {
			r.set("default", func(q *job.Queue) { q.MaxRunning = 1 })
			r.submit("first")
		}, nil},
		"behind an older one": {func(r *rig, _ *testNode) { r.submit("first", cores(3)); r.submit("second", cores(3)) }, cores(3)},
		"among very many":     {func(r *rig, _ *testNode) { r.d.stats.queued.Store(maxAsking + 1) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				a := r.node("a", 4)
				if c.before != nil {
					c.before(r, a)
				}
				if c.change == nil {
					c.change = func(*job.Job) {}
				}
				a.received()
				if j := r.submit("job", c.change); j.State != job.Queued || len(j.Attempts) > 0 {
					t.Errorf("Submit answered a job that is %s", j.State)
				}
			})
		})
	}
}

// TestArrivalsShareFairly: of those that come at once the one goes first whose
// turn it would be if they waited.
func TestArrivalsShareFairly(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 4)
		r.submit("first", inQueue("busy"), cores(2))
		a.received()
		release := r.keepBusy()
		second := r.submitBeside(t.Context(), "second", inQueue("busy"), cores(2))
		plain := r.submitBeside(t.Context(), "plain", inQueue("idle"), cores(2))
		urgent := r.submitBeside(t.Context(), "urgent", inQueue("idle"), cores(2), func(j *job.Job) { j.Spec.Priority = 1 })
		release()
		for name, got := range map[string]answer{"second": <-second, "plain": <-plain, "urgent": <-urgent} {
			want := job.Queued
			if name == "urgent" {
				want = job.Assigned
			}
			if got.err != nil || got.job.State != want {
				t.Errorf("Submit of %s = %s, %v, want it %s", name, got.job.State, got.err, want)
			}
		}
		a.says(job.Ref{JobID: "id-urgent", Attempt: 1}, job.AttemptSucceeded, "")
		r.want("id-plain", "assigned [a assigned]")
	})
}

// TestArrivalsUnderOneName: of several with one key, or one id, that come at once
// one is there in the end, and nothing is held for the others.
func TestArrivalsUnderOneName(t *testing.T) {
	for name, change := range map[string]func(*job.Job){
		"key": func(j *job.Job) { j.IdempotencyKey = "key" },
		"id":  func(j *job.Job) { j.ID = "one" },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				a := r.node("a", 8)
				release := r.keepBusy()
				var all []<-chan answer
				for i := range 5 {
					all = append(all, r.submitBeside(t.Context(), fmt.Sprint("job-", i), change))
				}
				release()
				ids := make(map[string]bool)
				for _, one := range all {
					if got := <-one; got.err == nil {
						ids[got.job.ID] = true
					} else if fault.CodeOf(got.err) != fault.AlreadyExists {
						t.Error(got.err)
					}
				}
				if a.assigned(); len(ids) != 1 {
					t.Errorf("%d jobs were answered", len(ids))
				}
				if held, s := r.d.Cluster().Held("a"), r.d.Stats(); held.Slots != 1 || s.Active != 1 || s.Queued != 0 || s.Submitted != 1 {
					t.Errorf("the node holds %d slots; %+v", held.Slots, s)
				}
			})
		})
	}
}

// TestCancelDuringTheArrival cancels a job that is stored as a node's while the
// dispatcher does not know yet.
func TestCancelDuringTheArrival(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 2)
		release := r.holdArrivals()
		submitted := r.submitBeside(t.Context(), "job")
		if got, err := r.d.Cancel(t.Context(), "id-job", ""); err != nil || got.State != job.Assigned {
			t.Fatalf("Cancel = %v, %v", got.State, err)
		}
		a.wantNothing()
		release()
		got := <-submitted
		ref := job.Ref{JobID: "id-job", Attempt: 1}
		want := []Message{
			JobAssignment{Ref: ref, Name: "job", Spec: got.job.Spec, LeaseTTL: ttl},
			CancelAttempt{Ref: ref, Grace: 10 * time.Second, Reason: "cancelled"},
		}
		if diff := cmp.Diff(want, a.received()); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
		a.says(ref, job.AttemptCancelled, "")
		r.want("id-job", "cancelled [a cancelled]")
	})
}

// TestArrivalMeetsARestart: what was stored as a node's and not told before the
// end of the process is not lost.
func TestArrivalMeetsARestart(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 2)
		release := r.holdArrivals()
		submitted := r.submitBeside(t.Context(), "job")
		r.stop()
		release()
		if got := <-submitted; got.err != nil || got.job.State != job.Assigned {
			t.Errorf("Submit = %s, %v", got.job.State, got.err)
		}
		if got, err := r.d.Submit(t.Context(), job.Job{ID: "late", Spec: job.Spec{Container: &job.Container{Image: "x"}}}); err != nil || got.State != job.Queued {
			t.Errorf("Submit after the end = %s, %v", got.State, err)
		}
		r.start()
		r.d.NodeChanged(nil, a.n)
		a.connect()
		r.want("id-job", "assigned [a lost a assigned]") // it might have been told
		r.want("late", "assigned [a assigned]")
	})
}

// TestEndThatComesWithTheStart: of what a node says at once the end is stored, with
// when it began, and both are told; it waits for no start to be stored.
func TestEndThatComesWithTheStart(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 2)
		j := r.submit("job")
		ref := a.assigned()
		r.takeEvents()
		never := make(chan struct{})
		r.store.start.Store(&never)
		defer close(never)
		time.Sleep(10 * time.Second)
		release := r.keepBusy()
		for _, status := range []AttemptStatus{
			{Ref: ref, State: job.AttemptRunning, StartedAt: time.Now()},
			{Ref: ref, State: job.AttemptFailed, Failure: job.FailureExitCode, StartedAt: time.Now(), FinishedAt: time.Now().Add(time.Second)},
		} {
			if err := r.d.AttemptStatus(t.Context(), "a", status); err != nil {
				t.Fatal(err)
			}
		}
		release()
		r.want(j.ID, "failed [a failed]")
		if diff := cmp.Diff([]string{"job running", "job failed"}, r.takeEvents()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		got := r.get(j.ID)
		if took := got.FinishedAt.Sub(got.StartedAt); took != time.Second || !got.Attempts[0].StartedAt.Equal(got.StartedAt) {
			t.Errorf("it took %v, and the attempt began at %v", took, got.Attempts[0].StartedAt)
		}
		if diff := cmp.Diff([]Message{AttemptAcknowledged{Ref: ref, Accepted: true}}, a.received()); diff != "" {
			t.Errorf("answers (-want +got):\n%s", diff)
		}
		if s := r.d.Stats(); s.Started != 1 || s.Completed != 1 {
			t.Errorf("counted: %+v", s)
		}
	})
}
