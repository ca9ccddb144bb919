package dispatch

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/node"
	"github.com/orchion/orchion/orchestrator/internal/store/memory"
)

// TestDispatcherKeepsItsPromises drives a dispatcher with nodes that come, go,
// forget, repeat themselves and speak too late, and with restarts of its own.
// Whatever happens: an attempt is given to one node only, and once; its end is accepted
// at most once, and only from that node while its lease lives; and once the
// nodes behave, every job ends.
func TestDispatcherKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		inBubble(t, func() {
			w := newWorld(rt)
			defer w.stop()
			rt.Repeat(map[string]func(*rapid.T){
				"submit":     w.submit,
				"cancel":     w.cancel,
				"pass time":  w.passTime,
				"report":     w.report,
				"renew":      w.renew,
				"connect":    w.connect,
				"disconnect": w.disconnect,
				"leave":      w.leave,
				"drain":      w.drain,
				"restart":    func(*rapid.T) { w.restart() },
				"":           func(*rapid.T) { w.check() },
			})
			w.finish()
		})
	})
}

// inBubble runs f in a synctest bubble and lets its panics out: that is how
// rapid ends a run.
func inBubble(t *testing.T, f func()) {
	t.Helper()
	var ended any
	synctest.Test(t, func(*testing.T) {
		defer func() { ended = recover() }()
		f()
	})
	if ended != nil {
		panic(ended)
	}
}

// world is a dispatcher, its nodes, and what they were told.
type world struct {
	t     *rapid.T
	store *memory.Store
	hub   *Hub
	d     *Dispatcher
	nodes []*worldNode
	jobs  []string

	givenTo  map[job.Ref]string // the node that was given an attempt
	started  map[job.Ref]bool   // it may have been, and must not be again
	accepted map[job.Ref]int    // how often its end was accepted
}

type worldNode struct {
	n       *node.Node
	online  bool
	session *Session
	// runs are attempts that the node was given, and how far they are.
	runs map[job.Ref]*run
}

type run struct {
	state job.AttemptState
	// until is when the node stops it for want of a renewal, by its own clock.
	until time.Time
}

func newWorld(t *rapid.T) *world {
	w := &world{t: t, store: memory.New(), givenTo: make(map[job.Ref]string), started: make(map[job.Ref]bool), accepted: make(map[job.Ref]int)}
	for i := range 3 {
		w.nodes = append(w.nodes, &worldNode{runs: make(map[job.Ref]*run), n: &node.Node{
			ID: fmt.Sprint("n", i), State: node.Online,
			Capabilities: node.Capabilities{CPU: node.CPU{LogicalCores: 2}, MemoryBytes: 4 * gib, Runtimes: []node.Runtime{{Name: "docker"}}},
		}})
	}
	w.start()
	return w
}

func (w *world) start() {
	w.hub = NewHub()
	d, err := New(Config{Store: w.store, Hub: w.hub, LeaseTTL: ttl})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := d.Start(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	w.d = d
}

func (w *world) stop() {
	w.hub.Close()
	w.d.Stop()
}

func (w *world) restart() {
	w.collect()
	w.stop()
	w.start()
	for _, n := range w.nodes {
		n.session = nil
		if n.online {
			w.d.NodeChanged(nil, n.n)
		}
	}
}

func (w *world) submit(t *rapid.T) {
	spec := job.Spec{
		Container: &job.Container{Image: "x"},
		Resources: job.Resources{MemoryBytes: int64(rapid.IntRange(0, 4).Draw(t, "memory")) * gib},
		Priority:  rapid.IntRange(-1, 1).Draw(t, "priority"),
		// Room is made for others, and it must come to the same.
		Preemptible: rapid.Bool().Draw(t, "preemptible"),
		Retry:       job.Retry{MaxAttempts: rapid.IntRange(1, 3).Draw(t, "attempts")},
	}
	if rapid.Bool().Draw(t, "constrained") {
		spec.Constraints = []string{"node=" + w.pick(t).n.ID}
	}
	if len(w.jobs) > 0 && rapid.IntRange(0, 2).Draw(t, "waits") == 0 {
		spec.After = []job.Dependency{{
			ID: rapid.SampledFrom(w.jobs).Draw(t, "after"),
			On: rapid.SampledFrom([]job.Condition{job.OnSuccess, job.OnEnd}).Draw(t, "on"),
		}}
	}
	spec.Queue = rapid.SampledFrom([]string{"", "night"}).Draw(t, "queue")
	next := job.Job{ID: fmt.Sprint("j", len(w.jobs)), Spec: spec, IdempotencyKey: rapid.SampledFrom([]string{"", "", "k1", "k2"}).Draw(t, "key")}
	ctx, gone := context.WithCancel(context.Background())
	defer gone()
	if rapid.IntRange(0, 4).Draw(t, "nobody waits for the answer") == 0 {
		gone()
	}
	j, err := w.d.Submit(ctx, next)
	switch {
	case err != nil && ctx.Err() == nil:
		t.Fatal(err)
	case err == nil && j.ID == next.ID:
		w.jobs = append(w.jobs, j.ID)
	}
}

func (w *world) cancel(t *rapid.T) {
	if len(w.jobs) == 0 {
		t.Skip("no jobs")
	}
	id := rapid.SampledFrom(w.jobs).Draw(t, "job")
	_, _ = w.d.Cancel(context.Background(), id, "") // an ended job cannot be cancelled
}

func (w *world) passTime(t *rapid.T) {
	time.Sleep(time.Duration(rapid.IntRange(1, 50).Draw(t, "seconds")) * time.Second)
}

func (w *world) pick(t *rapid.T) *worldNode {
	return w.nodes[rapid.IntRange(0, len(w.nodes)-1).Draw(t, "node")]
}

// connect has a node register if need be and say what it runs; now and then
// it has lost something.
func (w *world) connect(t *rapid.T) {
	n := w.pick(t)
	if len(n.runs) > 0 && rapid.IntRange(0, 3).Draw(t, "forgets") == 0 {
		delete(n.runs, rapid.SampledFrom(slices.SortedFunc(maps.Keys(n.runs), compareRefs)).Draw(t, "what"))
	}
	w.connectNode(n)
}

func (w *world) connectNode(n *worldNode) {
	w.collect()
	if !n.online {
		n.online = true
		w.d.NodeChanged(nil, n.n)
	}
	n.stopExpired()
	var hello []AttemptStatus
	for _, ref := range slices.SortedFunc(maps.Keys(n.runs), compareRefs) {
		hello = append(hello, AttemptStatus{Ref: ref, State: n.runs[ref].state})
	}
	n.session = w.hub.Attach(n.n.ID)
	set, err := w.d.Connected(context.Background(), n.session, hello)
	if err != nil {
		w.t.Fatal(err)
	}
	n.session.Open(AssignmentSet{Jobs: set})
	w.collect()
}

func (w *world) disconnect(t *rapid.T) {
	n := w.pick(t)
	if n.session == nil {
		t.Skip("not connected")
	}
	if rapid.Bool().Draw(t, "reads first") {
		w.collect()
	}
	n.session.Close(nil)
	n.session = nil
	if rapid.Bool().Draw(t, "goes offline") {
		n.online = false
		w.d.NodeChanged(n.n, nil)
	}
}

func (w *world) leave(t *rapid.T) {
	n := w.pick(t)
	if !n.online {
		t.Skip("not there")
	}
	if n.session != nil {
		n.session.Close(nil)
		n.session = nil
	}
	n.online = false
	clear(n.runs)
	w.d.NodeChanged(n.n, nil)
	w.d.NodeLeft(n.n.ID)
}

// drain has a node drained in one way or another, or no more.
func (w *world) drain(t *rapid.T) {
	n := w.pick(t)
	var wish *node.Drain
	switch rapid.IntRange(0, 3).Draw(t, "how") {
	case 0:
		wish = &node.Drain{Since: time.Now(), Mode: node.DrainFinish}
	case 1:
		deadline := time.Now().Add(time.Duration(rapid.IntRange(1, 50).Draw(t, "deadline")) * time.Second)
		wish = &node.Drain{Since: time.Now(), Mode: node.DrainFinish, Deadline: deadline}
	case 2:
		wish = &node.Drain{Since: time.Now(), Mode: node.DrainMove}
	}
	w.drainNode(n, wish)
}

func (w *world) drainNode(n *worldNode, wish *node.Drain) {
	prev, next := n.n, *n.n
	next.Drain = wish
	n.n = &next
	if n.online {
		w.d.NodeChanged(prev, &next)
	}
}

// report has a node say something of any attempt that there ever was, its own
// or not.
func (w *world) report(t *rapid.T) {
	n := w.pick(t)
	if n.session == nil || len(w.givenTo) == 0 {
		t.Skip("nothing to say")
	}
	ref := rapid.SampledFrom(slices.SortedFunc(maps.Keys(w.givenTo), compareRefs)).Draw(t, "attempt")
	state := job.AttemptState(rapid.IntRange(int(job.AttemptAssigned), int(job.AttemptCancelled)).Draw(t, "state"))
	if own := n.runs[ref]; own != nil {
		if own.state >= job.AttemptSucceeded || state < own.state {
			state = own.state // says the same again
		}
		own.state = state
	}
	w.says(n, ref, state)
}

func (w *world) says(n *worldNode, ref job.Ref, state job.AttemptState) {
	if err := w.d.AttemptStatus(context.Background(), n.n.ID, AttemptStatus{Ref: ref, State: state}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) renew(t *rapid.T) {
	n := w.pick(t)
	if n.session == nil {
		t.Skip("not connected")
	}
	w.renewNode(n)
}

func (w *world) renewNode(n *worldNode) {
	refs := slices.SortedFunc(maps.Keys(n.runs), compareRefs)
	if err := w.d.RenewLeases(context.Background(), n.n.ID, 1, refs); err != nil {
		w.t.Fatal(err)
	}
	w.collect()
}

// collect has the nodes read what was sent to them, and what was sent in answer
// to what they said of it.
func (w *world) collect() {
	for quiet := false; !quiet; {
		quiet = true
		synctest.Wait()
		for _, n := range w.nodes {
			if n.session == nil {
				continue
			}
			for _, m := range drain(n.session) {
				quiet = false
				w.receive(n, m)
			}
			n.stopExpired()
		}
	}
}

func (w *world) receive(n *worldNode, m Message) {
	switch m := m.(type) {
	case AssignmentSet:
		wanted := make(map[job.Ref]bool)
		for _, a := range m.Jobs {
			wanted[a.Ref] = true
			w.give(n, a)
		}
		maps.DeleteFunc(n.runs, func(ref job.Ref, _ *run) bool { return !wanted[ref] })
	case JobAssignment:
		w.give(n, m)
	case CancelAttempt:
		if own := n.runs[m.Ref]; own != nil && !own.state.Ended() {
			own.state = job.AttemptCancelled
			w.says(n, m.Ref, own.state)
		}
	case LeasesRenewed:
		for _, ref := range m.Renewed {
			if own := n.runs[ref]; own != nil {
				own.until = time.Now().Add(m.TTL)
			}
		}
		for _, ref := range m.Lost {
			delete(n.runs, ref)
		}
	case AttemptAcknowledged:
		if m.Accepted {
			w.accepted[m.Ref]++
			if w.givenTo[m.Ref] != n.n.ID {
				w.t.Fatalf("the end of %v was accepted from %s, but it was given to %s", m.Ref, n.n.ID, w.givenTo[m.Ref])
			}
		}
		delete(n.runs, m.Ref)
	}
}

func (w *world) give(n *worldNode, a JobAssignment) {
	if to, given := w.givenTo[a.Ref]; given && to != n.n.ID {
		w.t.Fatalf("%v was given to %s and to %s", a.Ref, to, n.n.ID)
	}
	w.givenTo[a.Ref] = n.n.ID
	if own := n.runs[a.Ref]; own != nil {
		own.until = time.Now().Add(a.LeaseTTL)
		return
	}
	if w.started[a.Ref] {
		w.t.Fatalf("%v was given to %s again, which may have run it", a.Ref, n.n.ID)
	}
	w.started[a.Ref] = true
	n.runs[a.Ref] = &run{state: job.AttemptAssigned, until: time.Now().Add(a.LeaseTTL)}
}

// stopExpired does what a node does when a lease runs out: it stops and says
// nothing. What has ended it keeps until that was heard.
func (n *worldNode) stopExpired() {
	maps.DeleteFunc(n.runs, func(_ job.Ref, r *run) bool { return !r.state.Ended() && time.Now().After(r.until) })
}

// check holds the store and the dispatcher against each other.
func (w *world) check() {
	w.collect()
	live := make(map[string]int) // attempts that nodes run for each job, by their own clocks
	for _, n := range w.nodes {
		n.stopExpired()
		for ref, r := range n.runs {
			if !r.state.Ended() {
				live[fmt.Sprint(ref)]++
			}
		}
	}
	for ref, count := range live {
		if count > 1 {
			w.t.Fatalf("%s runs on %d nodes", ref, count)
		}
	}
	for ref, times := range w.accepted {
		if times > 1 {
			w.t.Fatalf("the end of %v was accepted %d times", ref, times)
		}
	}
	slots := make(map[string]int)
	for _, id := range w.jobs {
		j, err := w.store.GetJob(context.Background(), id)
		if err != nil {
			w.t.Fatal(err)
		}
		if current, ok := j.Current(); ok && j.State.Active() {
			slots[current.NodeID]++
			if !w.d.HoldsAttempt(current.NodeID, job.Ref{JobID: id, Attempt: current.Number}) {
				w.t.Fatalf("the store has job %s as %s on %s, the dispatcher does not", id, j.State, current.NodeID)
			}
		}
	}
	for _, n := range w.nodes {
		if held := w.d.Cluster().Held(n.n.ID); held.Slots != slots[n.n.ID] {
			w.t.Fatalf("%s holds %d slots for %d jobs", n.n.ID, held.Slots, slots[n.n.ID])
		}
	}
}

// finish has all nodes behave until every job has ended.
func (w *world) finish() {
	for _, n := range w.nodes {
		w.drainNode(n, nil)
	}
	for range 200 {
		ended := true
		for _, id := range w.jobs {
			j, err := w.store.GetJob(context.Background(), id)
			if err != nil {
				w.t.Fatal(err)
			}
			ended = ended && j.State.Ended()
		}
		if ended {
			w.check()
			if s := w.d.Stats(); s.Queued != 0 || s.Active != 0 {
				w.t.Fatalf("all jobs have ended, but the dispatcher has %+v", s)
			}
			return
		}
		for _, n := range w.nodes {
			if n.session == nil {
				w.connectNode(n)
			}
			w.renewNode(n)
			for _, ref := range slices.SortedFunc(maps.Keys(n.runs), compareRefs) {
				if own := n.runs[ref]; !own.state.Ended() {
					own.state = job.AttemptSucceeded
				}
				w.says(n, ref, n.runs[ref].state)
			}
		}
		w.collect()
		time.Sleep(5 * time.Second)
	}
	for _, id := range w.jobs {
		if j, err := w.store.GetJob(context.Background(), id); err != nil || !j.State.Ended() {
			w.t.Errorf("job %s is still %s: %s (%v)", id, j.State, j.Reason, err)
		}
	}
	w.t.Fatal("the jobs do not end though all nodes behave")
}

func compareRefs(a, b job.Ref) int {
	switch {
	case a.JobID < b.JobID:
		return -1
	case a.JobID > b.JobID:
		return 1
	default:
		return a.Attempt - b.Attempt
	}
}
