package dispatch

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/scheduler"
)

// TestQueueModel holds the order of the queue to the plainest way to find
// whose turn it is: looking at every job.
func TestQueueModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := newQueue()
		now := time.Unix(1_900_000_000, 0)
		created := 0
		laneName := func() string { return fmt.Sprint("q", rapid.IntRange(0, 4).Draw(t, "queue")) }
		pick := func(keep func(*entry) bool) *entry {
			var ids []string
			for id, e := range q.entries {
				if keep(e) {
					ids = append(ids, id)
				}
			}
			if len(ids) == 0 {
				t.Skip("none")
			}
			slices.Sort(ids)
			return q.entries[rapid.SampledFrom(ids).Draw(t, "job")]
		}
		classes := func() []*class {
			var list []*class
			for _, c := range q.classes {
				list = append(list, c)
			}
			slices.SortFunc(list, func(a, b *class) int { return int(a.key.resources.CPUMillis - b.key.resources.CPUMillis) })
			return list
		}
		running := map[*lane]int{}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				created++
				j := &job.Job{
					ID: fmt.Sprintf("j%04d", created), CreatedAt: now.Add(time.Duration(created) * time.Second),
					Spec: job.Spec{
						Queue: laneName(), Priority: rapid.IntRange(0, 2).Draw(t, "priority"),
						Resources: job.Resources{CPUMillis: int64(rapid.IntRange(1, 4).Draw(t, "class"))},
					},
				}
				if rapid.IntRange(0, 5).Draw(t, "when") == 0 {
					j.NotBefore = now.Add(time.Minute)
				}
				if rapid.IntRange(0, 9).Draw(t, "how") == 0 {
					j.Spec.Constraints = []string{"this is no constraint"}
				}
				q.add(j, now)
			},
			"remove": func(*rapid.T) { q.remove(pick(func(e *entry) bool { return !e.claiming })) },
			"claim": func(t *rapid.T) {
				b := q.next()
				if b == nil {
					t.Skip("nothing to claim")
				}
				e := b.ready[0]
				q.take(e)
				q.ran(b.lane, 1)
				e.claiming = true
			},
			"claimed": func(*rapid.T) {
				e := pick(func(e *entry) bool { return e.claiming })
				running[e.bucket.lane]++
				q.remove(e)
			},
			"refused": func(*rapid.T) {
				e := pick(func(e *entry) bool { return e.claiming })
				e.claiming = false
				q.wait(e, now)
				q.ran(e.bucket.lane, -1)
			},
			"ended": func(t *rapid.T) {
				for _, name := range []string{"q0", "q1", "q2", "q3", "q4"} {
					if l := q.lanes[name]; l != nil && running[l] > 0 {
						running[l]--
						q.ran(l, -1)
						return
					}
				}
				t.Skip("nothing runs")
			},
			"set": func(t *rapid.T) {
				set := job.NewQueue(laneName())
				if rapid.Bool().Draw(t, "stored") {
					set.Weight = rapid.IntRange(1, 3).Draw(t, "weight")
					set.MaxRunning = rapid.IntRange(0, 2).Draw(t, "limit")
					set.Paused = rapid.IntRange(0, 3).Draw(t, "paused") == 0
				}
				q.configure(set, set != job.NewQueue(set.Name))
			},
			"no room": func(t *rapid.T) {
				b := q.next()
				if b == nil {
					t.Skip("nothing is tried")
				}
				q.set(b.class, blocked)
			},
			"room": func(t *rapid.T) {
				list := classes()
				if len(list) == 0 {
					t.Skip("no classes")
				}
				lucky := rapid.SampledFrom(list).Draw(t, "class")
				q.probe(func(w *scheduler.Work) bool { return w == lucky.work })
			},
			"all": func(*rapid.T) { q.openAll() },
			"tell": func(t *rapid.T) {
				if q.untold.lanes.Len() == 0 {
					t.Skip("nothing to tell")
				}
				if l, gone := q.untold.next(); gone != (q.lanes[l.set.Name] == nil) {
					t.Fatalf("queue %s is told of as gone: %v", l.set.Name, gone)
				}
			},
			"time": func(*rapid.T) {
				now = now.Add(time.Minute)
				q.wake(now)
			},
			"": func(t *rapid.T) { checkQueue(t, q) },
		})
	})
}

// checkQueue compares what the queue answers with what the plain way does.
func checkQueue(t *rapid.T, q *queue) {
	t.Helper()
	var best *entry
	eligible := map[*class]bool{}
	for _, e := range q.entries {
		b := e.bucket
		if e.delayed || e.claiming || b.class.invalid != "" || !b.lane.takes() || b.class.hope == blocked {
			continue
		}
		eligible[b.class] = true
	}
	if len(eligible) != q.eligible {
		t.Fatalf("%d classes are eligible, the queue counts %d", len(eligible), q.eligible)
	}
	got := q.next()
	// Of equal shares the lane with the older head goes first. What has been
	// put aside is no head.
	head := map[*lane]*entry{}
	for _, e := range q.entries {
		b := e.bucket
		if e.delayed || e.claiming || b.class.invalid != "" || b.aside >= 0 {
			continue
		}
		if h := head[b.lane]; h == nil || e.before(h) {
			head[b.lane] = e
		}
	}
	for _, e := range q.entries {
		b := e.bucket
		if e.delayed || e.claiming || !b.lane.takes() || !eligible[b.class] {
			continue
		}
		if best == nil {
			best = e
			continue
		}
		mine, others := b.lane.running*best.bucket.lane.set.Weight, best.bucket.lane.running*b.lane.set.Weight
		switch {
		case b.lane == best.bucket.lane:
			if e.before(best) {
				best = e
			}
		case mine < others || mine == others && head[b.lane].compareAge(head[best.bucket.lane]) < 0:
			best = e
		}
	}
	switch {
	case best == nil && got != nil:
		t.Fatalf("it is %s's turn, want nobody's", got.ready[0].id)
	case best != nil && (got == nil || got.ready[0] != best):
		t.Fatalf("it is %v's turn, want %s's", got, best.id)
	}
	for name, l := range q.untold.gone {
		if q.lanes[name] != nil || l.untold == nil || l.untold.Value != l {
			t.Fatalf("queue %s is to be told of as gone: %+v", name, l)
		}
	}
	for at := q.untold.lanes.Front(); at != nil; at = at.Next() {
		l, _ := at.Value.(*lane)
		if l.untold != at || q.lanes[l.set.Name] != l && q.untold.gone[l.set.Name] != l {
			t.Fatalf("queue %s is to be told of and is not there", l.set.Name)
		}
	}
	queued := map[*lane]int{}
	for _, e := range q.entries {
		queued[e.bucket.lane]++
	}
	for name, l := range q.lanes {
		if l.queued != queued[l] || l.queued == 0 && l.running == 0 && !l.configured {
			t.Fatalf("queue %s has %d jobs, %d run; it counts %d", name, queued[l], l.running, l.queued)
		}
	}
}
