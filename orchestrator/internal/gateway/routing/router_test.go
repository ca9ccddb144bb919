package routing

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/label"
	"github.com/orchion/orchion/orchestrator/internal/model"
)

// table is routes that a test changes.
type table struct {
	mu     sync.Mutex
	routes map[string][]model.Route // guarded by mu
}

func (t *table) get(name string) []model.Route {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.routes[name]
}

func (t *table) set(name string, nodes ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.routes == nil {
		t.routes = make(map[string][]model.Route)
	}
	t.routes[name] = routesOn(name, nodes...)
}

func routesOn(name string, nodes ...string) []model.Route {
	routes := make([]model.Route, 0, len(nodes))
	for _, id := range nodes {
		routes = append(routes, model.Route{Model: name, NodeID: id, ReplicaID: name + "-" + id})
	}
	return routes
}

// try asks for a replica that is not to be waited for.
func try(r *Router, a *Ask) (*Lease, error) {
	l, ticket, err := r.Acquire(a)
	if ticket != nil {
		ticket.Leave()
		return nil, errFull
	}
	return l, err
}

func acquire(t *testing.T, r *Router, a *Ask) *Lease {
	t.Helper()
	l, err := try(r, a)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestAcquireSpreadsOverReplicas(t *testing.T) {
	var routes table
	routes.set("m", "n1", "n2", "n3")
	r := New(Config{Routes: routes.get})
	var leases []*Lease
	var got []string
	for range 4 {
		l := acquire(t, r, &Ask{Model: "m"})
		leases = append(leases, l)
		got = append(got, l.Route.NodeID)
	}
	leases[1].Done(Outcome{Verdict: Worked}) // n2 becomes idle
	leases[1].Done(Outcome{Verdict: Worked}) // twice counts once
	for range 2 {
		got = append(got, acquire(t, r, &Ask{Model: "m"}).Route.NodeID)
	}
	if want := []string{"n1", "n2", "n3", "n1", "n2", "n3"}; !slices.Equal(got, want) {
		t.Errorf("chose %q, want %q", got, want)
	}
	if _, err := try(r, &Ask{Model: "other"}); !errors.Is(err, ErrNone) {
		t.Errorf("a model without routes: %v", err)
	}
}

func TestAcquireTriesEachReplicaOnce(t *testing.T) {
	var routes table
	routes.set("m", "n1", "n2")
	r := New(Config{Routes: routes.get})
	a := &Ask{Model: "m"}
	for _, want := range []int{1, 0} {
		l := acquire(t, r, a)
		if l.Others != want {
			t.Errorf("%d others are left, want %d", l.Others, want)
		}
		l.Done(Outcome{Verdict: Broken})
	}
	if _, err := try(r, a); !errors.Is(err, ErrAllTried) {
		t.Errorf("after both: %v", err)
	}
}

func TestAcquireByLabels(t *testing.T) {
	var routes table
	routes.set("m", "n1", "n2")
	labels := map[string]map[string]string{"n1": {"room": "office"}, "n2": {"room": "cellar"}}
	r := New(Config{Routes: routes.get, NodeLabels: func(id string) map[string]string { return labels[id] }})
	cellar, attic := selector(t, "room=cellar"), selector(t, "room=attic")
	for range 3 {
		if l := acquire(t, r, &Ask{Model: "m", Labels: cellar}); l.Route.NodeID != "n2" {
			t.Errorf("served by %s", l.Route.NodeID)
		}
	}
	_, err := try(r, &Ask{Model: "m", Labels: attic})
	var wrong *LabelsError
	if !errors.As(err, &wrong) || !slices.Equal(wrong.There, []string{"room=cellar", "room=office"}) {
		t.Errorf("nobody is in the attic: %v", err)
	}
}

func selector(t *testing.T, text string) label.Selector {
	t.Helper()
	s, err := label.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestFailingReplicaComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var routes table
		routes.set("m", "n1")
		r := New(Config{Routes: routes.get})
		fail := func() { acquire(t, r, &Ask{Model: "m"}).Done(Outcome{Verdict: Broken}) }
		for range maxFailures {
			fail()
		}
		_, err := try(r, &Ask{Model: "m"})
		var failing *FailingError
		if !errors.As(err, &failing) || failing.RetryAfter < firstPause*8/10 || failing.RetryAfter > firstPause*12/10 {
			t.Fatalf("after failures: %v", err)
		}
		time.Sleep(firstPause * 12 / 10)
		probe := acquire(t, r, &Ask{Model: "m"})
		if _, err := try(r, &Ask{Model: "m"}); !errors.As(err, &failing) {
			t.Errorf("beside the probe: %v", err)
		}
		probe.Done(Outcome{Verdict: Worked})
		acquire(t, r, &Ask{Model: "m"})

		// A replica that went and is ready again starts anew.
		for range maxFailures {
			fail()
		}
		routes.set("m", "n2")
		acquire(t, r, &Ask{Model: "m"})
		time.Sleep(time.Millisecond)
		routes.set("m", "n1")
		acquire(t, r, &Ask{Model: "m"})
	})
}

func TestFasterReplicaGetsMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var routes table
		routes.set("m", "slow", "fast")
		r := New(Config{Routes: routes.get})
		first := map[string]time.Duration{"slow": 2 * time.Second, "fast": 200 * time.Millisecond}
		served := map[string]int{}
		serve := func() {
			l := acquire(t, r, &Ask{Model: "m"})
			node := l.Route.NodeID
			served[node]++
			time.Sleep(5 * first[node])
			l.Done(Outcome{Verdict: Worked, Answered: true, First: first[node], Whole: 5 * first[node], Tokens: 100})
		}
		for range 10 {
			serve()
		}
		if served["slow"] > 2 {
			t.Errorf("one after the other: %v", served)
		}
		// Another model's requests to the fast one's node count.
		routes.set("other", "fast")
		for range 60 {
			acquire(t, r, &Ask{Model: "other"})
		}
		if l := acquire(t, r, &Ask{Model: "m"}); l.Route.NodeID != "slow" {
			t.Errorf("the fast one's node is busy, and %s was chosen: %s", l.Route.NodeID, l.Why())
		}
	})
}

// Of many replicas only some are looked at, but all get their share, one that
// works is found among many that fail, and a conversation stays.
func TestManyReplicas(t *testing.T) {
	var nodes []string
	for i := range 10 * allOf {
		nodes = append(nodes, fmt.Sprint("n", i))
	}
	var routes table
	routes.set("m", nodes...)
	r := New(Config{Routes: routes.get})
	used := map[string]int{}
	most := 0
	for range 3 * len(nodes) {
		node := acquire(t, r, &Ask{Model: "m"}).Route.NodeID
		used[node]++
		most = max(most, used[node])
	}
	if most > 6 || len(used) < len(nodes)*9/10 {
		t.Errorf("%d of %d replicas are used for three requests each, one for %d", len(used), len(nodes), most)
	}
	text := []byte(strings.Repeat("what a long story ", 100))
	l := acquire(t, r, &Ask{Model: "m", Text: text})
	l.Done(Outcome{Verdict: Worked, Answered: true, Whole: time.Second})
	for range 10 {
		again := acquire(t, r, &Ask{Model: "m", Text: append(slices.Clone(text), "and on"...)})
		again.Done(Outcome{Verdict: Worked})
		if again.Route.NodeID != l.Route.NodeID {
			t.Errorf("the conversation went from %s to %s", l.Route.NodeID, again.Route.NodeID)
		}
	}
	for _, p := range r.pools["m"].replicas[1:] {
		for range maxFailures {
			p.breaker.Fail(time.Now(), 1)
		}
	}
	if l := acquire(t, r, &Ask{Model: "m"}); l.Route.NodeID != "n0" {
		t.Errorf("%s does not fail either?", l.Route.NodeID)
	}
}

func TestModelsThatAreGoneAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var routes table
		r := New(Config{Routes: routes.get})
		for i := range 3 * maxPools {
			name := fmt.Sprint("m", i)
			routes.set(name, "n")
			acquire(t, r, &Ask{Model: name}).Done(Outcome{Verdict: Worked})
			routes.set(name)
			time.Sleep(time.Second)
		}
		if most := maxPools + int(remembered/time.Second) + 2; len(r.pools) > most {
			t.Errorf("%d models are remembered, at most %d should be", len(r.pools), most)
		}
		if n := len(r.nodes); n != 1 {
			t.Errorf("%d nodes are remembered", n)
		}
	})
}

func BenchmarkAcquire(b *testing.B) {
	text := make([]byte, 4<<10)
	for i := range text {
		text[i] = byte('a' + i%26)
	}
	for _, replicas := range []int{1, 8, 1000} {
		for _, conversation := range [][]byte{nil, text} {
			b.Run(fmt.Sprintf("replicas=%d/text=%d", replicas, len(conversation)), func(b *testing.B) {
				var nodes []string
				for i := range replicas {
					nodes = append(nodes, fmt.Sprint("n", i))
				}
				routes := routesOn("m", nodes...)
				r := New(Config{Routes: func(string) []model.Route { return routes }})
				outcome := Outcome{Verdict: Worked, Answered: true, First: 10 * time.Millisecond, Whole: 100 * time.Millisecond, Tokens: 20}
				b.ReportAllocs()
				for b.Loop() {
					l, err := try(r, &Ask{Model: "m", Text: conversation})
					if err != nil {
						b.Fatal(err)
					}
					_ = l.Why()
					l.Done(outcome)
				}
			})
		}
	}
}
