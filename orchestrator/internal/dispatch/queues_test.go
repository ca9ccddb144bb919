package dispatch

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
)

// inQueue puts a job into a queue.
func inQueue(name string) func(*job.Job) {
	return func(j *job.Job) { j.Spec.Queue = name }
}

// set changes the settings of a queue.
func (r *rig) set(name string, change func(*job.Queue)) QueueStatus {
	r.t.Helper()
	status, err := r.d.SetQueue(r.ctx(), name, func(q *job.Queue) error { change(q); return nil })
	if err != nil {
		r.t.Fatal(err)
	}
	synctest.Wait()
	return status
}

// runNext ends what a node runs, the oldest first, and answers the names of
// what it is given for it.
func (n *testNode) runNext(running *[]job.Ref) []string {
	n.r.t.Helper()
	if len(*running) > 0 {
		n.says((*running)[0], job.AttemptSucceeded, "")
		*running = (*running)[1:]
	}
	var names []string
	for _, m := range n.received() {
		if a, ok := m.(JobAssignment); ok {
			*running = append(*running, a.Ref)
			names = append(names, a.Name)
		}
	}
	return names
}

// TestQueuesShareFairly: what runs is shared by weight, and a single job of
// another queue gets the first slot that becomes free, whatever waits before
// it.
func TestQueuesShareFairly(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for i := range 40 {
			time.Sleep(time.Second)
			r.submit(fmt.Sprint("crowd-", i), inQueue("crowd"), func(j *job.Job) { j.Spec.Priority = 1000 })
		}
		slots := r.register("a", 2)
		r.set("heavy", func(q *job.Queue) { q.Weight = 3 })
		slots.connect()
		var running []job.Ref
		first := slots.runNext(&running)
		if len(first) == 0 || !strings.HasPrefix(first[0], "crowd-") {
			t.Fatalf("the idle node was given %v", first)
		}
		r.submit("single", inQueue("other"))
		if got := slots.runNext(&running); len(got) != 1 || got[0] != "single" {
			t.Fatalf("the first free slot went to %v, want the other queue's only job", got)
		}
		for i := range 40 {
			r.submit(fmt.Sprint("heavy-", i), inQueue("heavy"))
		}
		for range 30 {
			slots.runNext(&running)
		}
		queues, err := r.d.Queues(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		share := map[string]int{}
		for _, q := range queues {
			share[q.Name] = q.Running
		}
		if total := len(running); share["heavy"]*4 < total*3-4 || share["heavy"]*4 > total*3+4 || share["crowd"] != total-share["heavy"] {
			t.Errorf("of %d running jobs each queue has %v, want three quarters for heavy", total, share)
		}
	})
}

func TestQueueHoldsItsJobsBack(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		why := func(id, want string) {
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
		r.set("night", func(q *job.Queue) { q.MaxRunning = 2 })
		a := r.node("a", 8)
		var refs []job.Ref
		var ids []string
		for i := range 4 {
			ids = append(ids, r.submit(fmt.Sprint("n", i), inQueue("night")).ID)
		}
		a.runNext(&refs)
		if len(refs) != 2 {
			t.Fatalf("%d jobs of a queue with the limit 2 run", len(refs))
		}
		why(ids[2], "the queue night is at its limit: 2 of its jobs run, maxRunning is 2")
		if r.submit("free"); len(a.runNext(&[]job.Ref{})) != 1 {
			t.Error("another queue's job waits though there is room")
		}

		// After a restart the limit and what runs are known again.
		r.stop()
		r.start()
		r.d.NodeChanged(nil, a.n)
		a.connect(AttemptStatus{Ref: refs[0], State: job.AttemptRunning}, AttemptStatus{Ref: refs[1], State: job.AttemptRunning})
		why(ids[2], "the queue night is at its limit: 2 of its jobs run, maxRunning is 2")

		a.says(refs[0], job.AttemptSucceeded, "")
		r.want(ids[2], "assigned [a assigned]")
		r.want(ids[3], "queued []")
		status := r.set("night", func(q *job.Queue) { q.MaxRunning, q.Paused = 0, true })
		if status.Queued != 1 || status.Running != 2 || !status.Paused {
			t.Errorf("the queue is %+v", status)
		}
		why(ids[3], "the queue night is paused")
		r.want(ids[3], "queued []")
		if err := r.d.DeleteQueue(t.Context(), "night"); err != nil {
			t.Fatal(err)
		}
		r.want(ids[3], "assigned [a assigned]")
	})
}

func TestQueuesAreForgotten(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.d.cfg.MaxQueues = 2
		a := r.node("a", 8)
		j := r.submit("one", inQueue("one"))
		r.set("two", func(q *job.Queue) { q.Weight = 2 })
		_, err := r.d.Submit(t.Context(), job.Job{Spec: job.Spec{Queue: "three", Chat: &job.Chat{}}})
		if fault.CodeOf(err) != fault.Exhausted || !strings.Contains(err.Error(), "2 queues are in use or have settings, which is the limit") {
			t.Errorf("a queue too many: %v", err)
		}
		if _, err := r.d.SetQueue(t.Context(), "three", func(*job.Queue) error { return nil }); fault.CodeOf(err) != fault.Exhausted {
			t.Errorf("settings too many: %v", err)
		}
		r.submit("again", inQueue("two"))
		a.says(job.Ref{JobID: j.ID, Attempt: 1}, job.AttemptSucceeded, "")
		r.submit("three", inQueue("three")) // the first is gone with its job
		if _, err := r.d.Queue(t.Context(), "one"); fault.CodeOf(err) != fault.NotFound {
			t.Errorf("a queue that was used is still there: %v", err)
		}
		if q, err := r.d.Queue(t.Context(), job.DefaultQueue); err != nil || q.Weight != 1 {
			t.Errorf("the default queue is %+v, %v", q, err)
		}
		if _, err := r.d.Submit(t.Context(), job.Job{Spec: job.Spec{Queue: "a b", Chat: &job.Chat{}}}); fault.CodeOf(err) != fault.Invalid {
			t.Errorf("a bad name: %v", err)
		}
	})
}

// TestQueueEvents: changes of settings are told at once, what comes and goes
// once a second, and that a queue is gone.
func TestQueueEvents(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		want := func(what, want string) {
			t.Helper()
			if got := r.takeQueues(); got != want {
				t.Errorf("%s: told of %q, want %q", what, got, want)
			}
		}
		first := r.submit("one", inQueue("night"))
		want("the first job", "night 1+0")
		second := r.submit("two", inQueue("night"))
		r.submit("three")
		want("within the second", "")
		time.Sleep(tellEvery)
		want("after it", "night 2+0, default 1+0")
		r.set("night", func(q *job.Queue) { q.Paused = true })
		want("when it is paused", "night 2+0")
		for _, id := range []string{first.ID, second.ID} {
			if _, err := r.d.Cancel(t.Context(), id, ""); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(tellEvery)
		want("when its jobs are cancelled", "night 0+0")
		if err := r.d.DeleteQueue(t.Context(), "night"); err != nil {
			t.Fatal(err)
		}
		want("when nothing is set for it any more", "night 0+0 gone")
		time.Sleep(time.Hour)
		want("while nothing happens", "")
	})
}

// TestQueuesThatComeAndGo faster than anybody can be told: nothing is left of
// those that nobody knows, and settings go before all that wait to be told.
func TestQueuesThatComeAndGo(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.submit("warm")
		r.takeQueues()
		for i := range 3 * tellAtOnce {
			j := r.submit("x", inQueue(fmt.Sprint("q", i)))
			if _, err := r.d.Cancel(t.Context(), j.ID, ""); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if n := r.d.queue.untold.lanes.Len(); n != 0 {
			t.Errorf("%d queues are to be told of that nobody knows and that are no more", n)
		}

		// Somebody has seen this one, and it is back and gone again.
		for range 2 {
			j := r.submit("seen", inQueue("seen"))
			if _, err := r.d.Queue(t.Context(), "seen"); err != nil {
				t.Fatal(err)
			}
			if _, err := r.d.Cancel(t.Context(), j.ID, ""); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 2 * tellAtOnce {
			r.submit("x", inQueue(fmt.Sprint("q", i)))
		}
		r.set("night", func(q *job.Queue) { q.Weight = 2 })
		got := r.takeQueues()
		if !strings.HasPrefix(got, "night 0+0, seen 0+0 gone, q0 1+0, ") {
			t.Errorf("told of %.60q", got)
		}
		if n := len(r.d.queue.untold.gone); n != 0 {
			t.Errorf("%d queues are still to be told of as gone", n)
		}
	})
}

// TestManyQueuesAreToldOfInTurn: they do not push everything else out.
func TestManyQueuesAreToldOfInTurn(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.submit("warm")
		r.takeQueues()
		const queues = 2*tellAtOnce + 1
		for i := range queues {
			r.submit("x", inQueue(fmt.Sprint("q", i)))
		}
		for _, want := range []int{tellAtOnce, tellAtOnce, 1, 0} {
			time.Sleep(tellEvery)
			told := 0
			if text := r.takeQueues(); text != "" {
				told = strings.Count(text, ",") + 1
			}
			if told != want {
				t.Errorf("told of %d queues, want %d", told, want)
			}
		}
	})
}
