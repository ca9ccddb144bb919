package dispatch

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/job"
)

// fails says that an attempt failed with a class.
func (n *testNode) fails(ref job.Ref, class job.Failure) {
	n.r.t.Helper()
	err := n.r.d.AttemptStatus(n.r.t.Context(), n.n.ID, AttemptStatus{
		Ref: ref, State: job.AttemptFailed, Reason: "it went wrong", Failure: class,
	})
	if err != nil {
		n.r.t.Fatal(err)
	}
	synctest.Wait()
	n.received() // the acknowledgement
}

// A job whose node let it down goes elsewhere, although that node would be the
// first choice, and back there when no other can take it.
func TestNodeThatLetAJobDownIsAvoided(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a, b := r.node("a", 2), r.node("b", 2)
		j := r.submit("j")
		other := r.submit("other") // lies on b, which makes a the less busy one again
		ref := a.assigned()
		if got := b.assigned(); got.JobID != other.ID {
			t.Fatalf("b got %v", got)
		}
		a.fails(ref, job.FailureEngine)
		r.want(j.ID, "queued [a failed]")
		time.Sleep(5 * time.Second) // the whole of the first backoff
		r.want(j.ID, "assigned [a failed b assigned]")
		ref = b.assigned()
		b.fails(ref, job.FailureNode)

		// Now b is to be avoided, and a is full: b is better than nothing.
		for range 4 {
			r.submit("filler", func(j *job.Job) { j.Spec.Constraints = []string{"node=a"} })
		}
		a.received()
		time.Sleep(10 * time.Second)
		r.want(j.ID, "assigned [a failed b failed b assigned]")
		if len(r.d.queue.avoid) != 0 {
			t.Errorf("the queue still notes %v", r.d.queue.avoid)
		}

		// A failure of its own changes nothing about where it may go.
		ref = b.assigned()
		b.fails(ref, job.FailureExitCode)
		r.want(j.ID, "failed [a failed b failed b failed]")
	})
}

// A waiting job with a node to avoid takes what becomes free, be it there.
func TestAvoidedNodeIsTakenWhenItAloneHasRoom(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.node("a", 2)
		whole := func(j *job.Job) { j.Spec.Resources.MemoryBytes = 8 * gib }
		j := r.submit("j", whole)
		ref := a.assigned()
		blocker := r.submit("blocker", whole, func(j *job.Job) { j.Spec.Priority = 1 })
		a.fails(ref, job.FailureImageUnavailable)
		time.Sleep(5 * time.Second)
		r.want(j.ID, "queued [a failed]")
		a.says(job.Ref{JobID: blocker.ID, Attempt: 1}, job.AttemptSucceeded, "")
		r.want(j.ID, "assigned [a failed a assigned]")
	})
}
