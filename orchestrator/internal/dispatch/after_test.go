package dispatch

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/store"
)

// after has a job wait for others to succeed.
func after(ids ...string) func(*job.Job) {
	return func(j *job.Job) {
		for _, id := range ids {
			j.Spec.After = append(j.Spec.After, job.Dependency{ID: id})
		}
	}
}

// afterEnd has a job wait for others to end.
func afterEnd(ids ...string) func(*job.Job) {
	return func(j *job.Job) {
		for _, id := range ids {
			j.Spec.After = append(j.Spec.After, job.Dependency{ID: id, On: job.OnEnd})
		}
	}
}

// wantWaiting checks that a job waits, and what for.
func (r *rig) wantWaiting(id, want string) {
	r.t.Helper()
	j := r.get(id)
	if j.State != job.Queued || !j.Waiting {
		r.t.Errorf("job %s is %s and waits %v, want it to wait", j.Name, j.State, j.Waiting)
	}
	summary, _, err := r.d.Explain(context.Background(), id)
	if err != nil || summary != want {
		r.t.Errorf("Explain = %q, %v, want %q", summary, err, want)
	}
	jobs := []job.Job{j}
	r.d.Annotate(context.Background(), jobs)
	if jobs[0].Reason != want {
		r.t.Errorf("reason = %q, want %q", jobs[0].Reason, want)
	}
}

// wantIdle checks that nothing is kept of jobs that waited.
func (r *rig) wantIdle() {
	r.t.Helper()
	synctest.Wait()
	if n := len(r.d.after.of) + len(r.d.after.asked) + len(r.d.after.watched) + r.d.errands + len(r.d.errandsWaiting); n > 0 {
		r.t.Errorf("%d things are kept of jobs that wait for nothing: %+v", n, r.d.after)
	}
}

func TestJobWaitsForOthers(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 4)
		one, two := r.submit("one"), r.submit("two")
		var refs []job.Ref
		a.runNext(&refs)
		both := r.submit("both", after(one.ID, two.ID))
		r.wantWaiting(both.ID, "waits for job "+one.ID+" to succeed and for 1 more")
		end := r.submit("end", afterEnd(two.ID))
		r.wantWaiting(end.ID, "waits for job "+two.ID+" to end")
		third := r.submit("third", after(both.ID)) // a chain
		a.wantNothing()

		a.says(refs[0], job.AttemptSucceeded, "")
		r.wantWaiting(both.ID, "waits for job "+two.ID+" to succeed")
		a.says(refs[1], job.AttemptFailed, "broken")
		r.want(end.ID, "assigned [a assigned]")
		r.want(both.ID, "cancelled []")
		if reason := r.get(both.ID).Reason; reason != "cancelled: job "+two.ID+", which was to succeed first, has failed" {
			t.Errorf("reason = %q", reason)
		}
		r.want(third.ID, "cancelled []")
		if reason := r.get(third.ID).Reason; reason != "cancelled: job "+both.ID+", which was to succeed first, has been cancelled" {
			t.Errorf("reason = %q", reason)
		}
		// What has ended when it is submitted is taken into account.
		r.want(r.submit("late", after(one.ID)).ID, "assigned [a assigned]")
		r.want(r.submit("too late", after(two.ID)).ID, "cancelled []")

		// A retry by hand waits for nobody.
		if _, err := r.d.Retry(t.Context(), third.ID); err != nil {
			t.Fatal(err)
		}
		r.want(third.ID, "assigned [a assigned]")
		_, err := r.d.Submit(t.Context(), job.Job{Spec: job.Spec{Chat: &job.Chat{}, After: []job.Dependency{{ID: one.ID}, {ID: "none"}}}})
		if fault.CodeOf(err) != fault.Invalid || err.Error() != `spec.after[1].jobId: names "none", which does not exist; a job can only wait for jobs and arrays that were submitted before it` {
			t.Errorf("waiting for a job that does not exist: %v", err)
		}
		_, err = r.d.Submit(t.Context(), job.Job{ID: "me", Spec: job.Spec{Chat: &job.Chat{}, After: []job.Dependency{{ID: "me"}}}})
		if fault.CodeOf(err) != fault.Invalid || !strings.Contains(err.Error(), "names the job itself") {
			t.Errorf("waiting for itself: %v", err)
		}
		r.wantIdle()
	})
}

// TestWaitingOutlivesRestarts: what ends while nobody listens is taken into
// account, and a dependency that was met stays met.
func TestWaitingOutlivesRestarts(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 1)
		whole := func(j *job.Job) { j.Spec.Resources.MemoryBytes = 8 * gib }
		done, broken, open := r.submit("done", whole), r.submit("broken", whole), r.submit("open", whole)
		first := r.submit("first", after(done.ID))
		second := r.submit("second", after(broken.ID))
		third := r.submit("third", after(second.ID))
		both := r.submit("both", after(done.ID), afterEnd(open.ID))
		released := r.submit("released", afterEnd(broken.ID), func(j *job.Job) { j.Spec.Constraints = []string{"node=b"} })
		refs := []job.Ref{a.assigned()}
		r.stop()
		// The store goes on without the dispatcher, as when the process was
		// killed between the two.
		ctx := t.Context()
		if _, err := r.store.CompleteAttempt(ctx, refs[0], job.End{State: job.AttemptSucceeded, At: time.Now()}); err != nil {
			t.Fatal(err)
		}
		if _, err := r.store.CancelJob(ctx, broken.ID, "", time.Now()); err != nil {
			t.Fatal(err)
		}
		r.start()
		r.wantWaiting(both.ID, "waits for job "+open.ID+" to end")
		r.want(second.ID, "cancelled []")
		r.want(third.ID, "cancelled []")
		if r.get(first.ID).Waiting || r.get(released.ID).Waiting {
			t.Error("what was met still waits")
		}
		if _, err := r.d.Retry(ctx, broken.ID); err != nil {
			t.Fatal(err)
		}
		r.stop()
		r.start()
		if r.get(released.ID).Waiting {
			t.Error("what was met waits again because its dependency was retried")
		}
		if _, err := r.d.Cancel(ctx, both.ID, ""); err != nil {
			t.Fatal(err)
		}
		r.wantIdle()
	})
}

// TestWaitingWhileTheStoreFails: reads and releases are tried again.
func TestWaitingWhileTheStoreFails(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 2)
		one := r.submit("one")
		ref := a.assigned()
		next := r.submit("next", after(one.ID))
		a.says(ref, job.AttemptSucceeded, "")
		r.want(next.ID, "assigned [a assigned]")
		r.store.failing.Store(true)
		late := r.submit("late", after(one.ID))
		time.Sleep(3 * storeRetry)
		r.want(late.ID, "queued []")
		r.store.failing.Store(false)
		time.Sleep(2 * storeRetry)
		r.want(late.ID, "assigned [a assigned]")
		r.wantIdle()
	})
}

// TestManyWaitForOne: a thousand dependents of one job.
func TestManyWaitForOne(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 1)
		one := r.submit("one")
		ref := a.assigned()
		var ids []string
		for i := range 1000 {
			ids = append(ids, r.submit(fmt.Sprint(i), after(one.ID)).ID)
		}
		a.says(ref, job.AttemptFailed, "")
		for _, id := range ids {
			r.want(id, "cancelled []")
		}
		r.wantIdle()
		if s := r.d.Stats(); s.Queued != 0 {
			t.Errorf("stats = %+v", s)
		}
	})
}

func TestArray(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		spec := job.Spec{Container: &job.Container{Image: "x"}}
		first, err := r.d.SubmitArray(ctx, job.Job{IdempotencyKey: "all", Spec: spec}, 5)
		if err != nil || !job.IsArrayID(first.ArrayID) || first.ArrayIndex != 0 || first.ArrayCount != 5 {
			t.Fatalf("SubmitArray = %+v, %v", first, err)
		}
		again, err := r.d.SubmitArray(ctx, job.Job{IdempotencyKey: "all", Spec: spec}, 5)
		if err != nil || again.ID != first.ID {
			t.Errorf("again it answers %s, %v, want %s", again.ID, err, first.ID)
		}
		members, err := r.store.ListJobs(ctx, store.JobFilter{ArrayID: first.ArrayID, Limit: 100})
		if err != nil || len(members.Jobs) != 5 {
			t.Fatalf("the array has %d jobs, %v", len(members.Jobs), err)
		}
		slices.Reverse(members.Jobs)
		all := r.submit("all", after(first.ArrayID))
		ended := r.submit("ended", afterEnd(first.ArrayID))
		r.wantWaiting(all.ID, "waits for all jobs of "+first.ArrayID+" to succeed")

		a := r.node("a", 5)
		refs := make([]job.Ref, 5)
		for _, m := range a.received() {
			assigned, ok := m.(JobAssignment)
			i := assigned.Array.Index
			if !ok || assigned.Array != (ArrayPlace{first.ArrayID, i, 5}) || assigned.Ref.JobID != members.Jobs[i].ID {
				t.Fatalf("the node received %+v", m)
			}
			refs[i] = assigned.Ref
		}
		a.says(refs[4], job.AttemptSucceeded, "")
		a.says(refs[0], job.AttemptSucceeded, "")
		// A restart forgets which of them is watched.
		r.stop()
		r.start()
		r.d.NodeChanged(nil, a.n)
		a.connect(AttemptStatus{Ref: refs[1], State: job.AttemptRunning}, AttemptStatus{Ref: refs[2], State: job.AttemptRunning},
			AttemptStatus{Ref: refs[3], State: job.AttemptRunning})
		a.says(refs[3], job.AttemptSucceeded, "")
		r.wantWaiting(all.ID, "waits for all jobs of "+first.ArrayID+" to succeed")
		a.says(refs[1], job.AttemptFailed, "")
		r.want(all.ID, "cancelled []")
		want := fmt.Sprintf("cancelled: job %s of %s, which was to succeed first, has failed", refs[1].JobID, first.ArrayID)
		if reason := r.get(all.ID).Reason; reason != want {
			t.Errorf("reason = %q, want %q", reason, want)
		}
		r.wantWaiting(ended.ID, "waits for all jobs of "+first.ArrayID+" to end")
		a.says(refs[2], job.AttemptSucceeded, "")
		r.want(ended.ID, "assigned [a assigned]")
		r.wantIdle()

		r.d.cfg.MaxQueued = 2
		if _, err := r.d.SubmitArray(ctx, job.Job{Spec: spec}, 3); fault.CodeOf(err) != fault.Exhausted {
			t.Errorf("an array that is more than may wait: %v", err)
		}
		if _, err := r.d.SubmitArray(ctx, job.Job{Spec: spec}, 10_001); fault.CodeOf(err) != fault.Invalid {
			t.Errorf("an array that is too large: %v", err)
		}
	})
}

func TestCancelArray(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		first, err := r.d.SubmitArray(ctx, job.Job{Name: "x", Spec: job.Spec{Container: &job.Container{Image: "x"}}}, 2500)
		if err != nil {
			t.Fatal(err)
		}
		a := r.node("a", 3)
		var refs []job.Ref
		a.runNext(&refs)
		a.says(refs[0], job.AttemptSucceeded, "")
		synctest.Wait()
		done, err := r.d.CancelArray(ctx, first.ArrayID, "enough")
		if running := len(refs); err != nil || done.Cancelled+done.Stopping != 2499 || done.Stopping < running-1 {
			t.Fatalf("CancelArray = %+v, %v, with %d running", done, err, running)
		}
		if again, err := r.d.CancelArray(ctx, first.ArrayID, "enough"); err != nil || again.Cancelled != 0 {
			t.Errorf("again it is %+v, %v", again, err)
		}
		counts, err := r.store.CountJobs(ctx)
		if err != nil || counts[job.Cancelled] != int64(done.Cancelled) || counts[job.Queued] != 0 {
			t.Errorf("the store counts %v, %v", counts, err)
		}
		if _, err := r.d.CancelArray(ctx, "array-none", ""); fault.CodeOf(err) != fault.NotFound {
			t.Errorf("an array that does not exist: %v", err)
		}
	})
}
