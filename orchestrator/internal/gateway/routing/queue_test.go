package routing

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/orchion/orchion/orchestrator/internal/label"
	"github.com/orchion/orchion/orchestrator/internal/model"
)

// limited has the routes of a model take so many requests at once.
func (t *table) limit(name string, inFlight, queued int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	routes := slices.Clone(t.routes[name])
	for i := range routes {
		routes[i].MaxInFlight, routes[i].MaxQueued = inFlight, queued
	}
	t.routes[name] = routes
}

func isReady(t *Ticket) bool {
	select {
	case <-t.Ready():
		return true
	default:
		return false
	}
}

// enter asks for a replica that has no time.
func enter(t *testing.T, r *Router, a *Ask) *Ticket {
	t.Helper()
	lease, ticket, err := r.Acquire(a)
	if err != nil || ticket == nil {
		t.Fatalf("got %v, %v, want a ticket", lease, err)
	}
	return ticket
}

func TestQueueServesInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var routes table
		routes.set("m", "n1", "n2")
		routes.limit("m", 1, 100)
		r := New(Config{Routes: routes.get})
		a, b := acquire(t, r, &Ask{Model: "m"}), acquire(t, r, &Ask{Model: "m"})
		tickets := map[string]*Ticket{}
		for i := range 3 {
			for _, caller := range []string{"job", "ann", "ben"} {
				class := Interactive
				if caller == "job" {
					class = Batch
				}
				name := fmt.Sprintf("%s%d", caller, i)
				tickets[name] = enter(t, r, &Ask{Model: "m", Class: class, Caller: caller})
			}
		}
		// One person's many requests are one turn among others'.
		for i := range 6 {
			name := fmt.Sprintf("ann+%d", i)
			tickets[name] = enter(t, r, &Ask{Model: "m", Caller: "ann"})
		}
		if place, of := tickets["ben2"].Place(); place != 6 || of != 15 {
			t.Errorf("ben's last is %d of %d, want 6 of 15", place, of)
		}
		status, replicas := r.Status("m")
		if status.Interactive != 12 || status.Batch != 3 || status.InFlight != 2 || status.MaxInFlight != 2 || status.MaxQueued != 100 ||
			!status.Oldest.Equal(time.Now()) || len(replicas) != 2 || replicas[0].InFlight != 1 {
			t.Errorf("the status is %+v %+v", status, replicas)
		}
		tickets["ann1"].Leave()
		b.Done(Outcome{Verdict: Worked})
		var got []string
		for len(tickets) > 0 {
			served := ""
			for name, ticket := range tickets {
				if isReady(ticket) && name != "ann1" {
					served = name
				}
			}
			if served == "" {
				break
			}
			lease, err := tickets[served].Take()
			if err != nil || lease.Route.NodeID != "n2" {
				t.Fatalf("%s got %v, %v", served, lease, err)
			}
			delete(tickets, served)
			got = append(got, served)
			lease.Done(Outcome{Verdict: Worked})
		}
		want := []string{
			"ann0", "ben0", "ann2", "ben1", "ann+0", "ben2", "ann+1", "job0", "ann+2", "ann+3", "ann+4", "ann+5", "job1", "job2",
		}
		if !slices.Equal(got, want) {
			t.Errorf("served\n %q, want\n %q", got, want)
		}
		if status, _ := r.Status("m"); status.Interactive+status.Batch != 0 || !status.Oldest.IsZero() || status.InFlight != 1 {
			t.Errorf("afterwards the status is %+v", status)
		}
		a.Done(Outcome{})
	})
}

func TestQueueHasAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var routes table
		routes.set("m", "n1")
		routes.limit("m", 1, 4)
		r := New(Config{Routes: routes.get})
		l := acquire(t, r, &Ask{Model: "m"})
		time.Sleep(10 * time.Second)
		l.Done(Outcome{Verdict: Worked, Answered: true, Whole: 10 * time.Second, Tokens: 5})
		l = acquire(t, r, &Ask{Model: "m"})
		var tickets []*Ticket
		for range 4 {
			tickets = append(tickets, enter(t, r, &Ask{Model: "m"}))
		}
		_, _, err := r.Acquire(&Ask{Model: "m"})
		var full *QueueFullError
		if !errors.As(err, &full) || full.Queued != 4 || full.RetryAfter != 40*time.Second {
			t.Fatalf("with all places taken: %v %+v, want 4 that take 40 s", err, full)
		}
		tickets[0].Leave()
		tickets[0].Leave() // twice is once
		tickets[0] = enter(t, r, &Ask{Model: "m"})

		// The lease of a ticket that leaves without taking it goes to the next.
		l.Done(Outcome{})
		if !isReady(tickets[1]) || isReady(tickets[2]) {
			t.Fatal("it was not the oldest's turn")
		}
		tickets[1].Leave()
		if !isReady(tickets[2]) {
			t.Error("the lease that nobody took was lost")
		}
		routes.limit("m", 1, 0)
		for _, ticket := range []*Ticket{tickets[2], tickets[3], tickets[0]} {
			lease, err := ticket.Take()
			if err != nil {
				t.Fatal(err)
			}
			lease.Done(Outcome{})
		}
		l = acquire(t, r, &Ask{Model: "m"})
		if _, _, err := r.Acquire(&Ask{Model: "m"}); !errors.As(err, &full) || full.RetryAfter != time.Second {
			t.Errorf("where none may wait: %v", err)
		}
		l.Done(Outcome{})
	})
}

func TestQueueFollowsTheReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var routes table
		routes.set("m", "n1")
		routes.limit("m", 1, 9)
		r := New(Config{Routes: routes.get})
		l := acquire(t, r, &Ask{Model: "m"})
		first, second := enter(t, r, &Ask{Model: "m"}), enter(t, r, &Ask{Model: "m"})
		routes.set("m", "n1", "n2")
		routes.limit("m", 1, 9)
		time.Sleep(recheck)
		synctest.Wait()
		if !isReady(first) || isReady(second) {
			t.Fatalf("after a replica has come: %v %v", isReady(first), isReady(second))
		}
		if lease, err := first.Take(); err != nil || lease.Route.NodeID != "n2" {
			t.Errorf("the first got %v, %v", lease, err)
		}
		routes.set("m")
		time.Sleep(recheck)
		synctest.Wait()
		if !isReady(second) {
			t.Fatal("a model that went has requests that wait")
		}
		if _, err := second.Take(); !errors.Is(err, ErrNone) {
			t.Errorf("of a model that went: %v", err)
		}
		l.Done(Outcome{})
	})
}

func TestQueueToldOfFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var routes table
		routes.set("m", "n1")
		routes.limit("m", 3, 9)
		r := New(Config{Routes: routes.get})
		var leases []*Lease
		for range 3 {
			leases = append(leases, acquire(t, r, &Ask{Model: "m"}))
		}
		var tickets []*Ticket
		for range 3 {
			tickets = append(tickets, enter(t, r, &Ask{Model: "m"}))
		}
		for i := range tickets {
			leases[i].Done(Outcome{Verdict: Broken})
		}
		for i, ticket := range tickets {
			if !isReady(ticket) {
				t.Fatalf("request %d waits for a replica that fails", i)
			}
			lease, err := ticket.Take()
			var failing *FailingError
			switch {
			case i < 2 && err == nil:
				lease.Done(Outcome{})
			case i < 2 || !errors.As(err, &failing):
				t.Errorf("request %d got %v", i, err)
			}
		}
	})
}

func TestQueuePassesOverThoseForOtherNodes(t *testing.T) {
	var routes table
	routes.set("m", "n1", "n2")
	routes.limit("m", 1, 9)
	r := New(Config{Routes: routes.get, NodeLabels: func(id string) map[string]string { return map[string]string{"node": id} }})
	on := func(node string) label.Selector {
		selector, err := label.Parse("node=" + node)
		if err != nil {
			t.Fatal(err)
		}
		return selector
	}
	l1, l2 := acquire(t, r, &Ask{Model: "m", Labels: on("n1")}), acquire(t, r, &Ask{Model: "m"})
	first := enter(t, r, &Ask{Model: "m", Labels: on("n1")})
	second := enter(t, r, &Ask{Model: "m"})
	third := enter(t, r, &Ask{Model: "m"})
	l2.Done(Outcome{})
	if isReady(first) || !isReady(second) || isReady(third) {
		t.Fatalf("when n2 is free: %v %v %v", isReady(first), isReady(second), isReady(third))
	}
	l1.Done(Outcome{})
	if !isReady(first) || isReady(third) {
		t.Error("when n1 is free, who wants it was not served")
	}
	for _, ticket := range []*Ticket{first, second, third} {
		ticket.Leave()
	}
}

// TestQueueKeepsItsPromises does anything in any order: no replica gets more than it may,
// nobody waits while one is free, and of one caller and class the first goes first.
func TestQueueKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var routes table
		nodes := []string{"n1", "n2", "n3"}[:rapid.IntRange(1, 3).Draw(t, "nodes")]
		most := rapid.IntRange(1, 3).Draw(t, "most")
		routes.set("m", nodes...)
		routes.limit("m", most, 20)
		r := New(Config{Routes: routes.get})
		inFlight := map[string]int{}
		var held []*Lease
		waiting := map[string][]*Ticket{}
		take := func(l *Lease) {
			inFlight[l.Route.NodeID]++
			if inFlight[l.Route.NodeID] > most {
				t.Fatalf("%s has %d requests of %d", l.Route.NodeID, inFlight[l.Route.NodeID], most)
			}
			held = append(held, l)
		}
		collect := func() {
			for who, line := range waiting {
				ready := 0
				for ready < len(line) && isReady(line[ready]) {
					lease, err := line[ready].Take()
					if err != nil {
						t.Fatal(err)
					}
					take(lease)
					ready++
				}
				for _, ticket := range line[ready:] {
					if isReady(ticket) {
						t.Fatalf("%s was overtaken by itself", who)
					}
				}
				waiting[who] = line[ready:]
			}
		}
		check := func() {
			collect()
			queued := 0
			for _, line := range waiting {
				queued += len(line)
			}
			status, _ := r.Status("m")
			if status.Interactive+status.Batch != queued || status.InFlight != len(held) {
				t.Fatalf("the status is %+v, want %d and %d", status, queued, len(held))
			}
			if queued > 0 && len(held) < most*len(nodes) {
				t.Fatalf("%d wait while %d of %d are used", queued, len(held), most*len(nodes))
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"ask": func(t *rapid.T) {
				ask := &Ask{Model: "m", Caller: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "caller"), Class: Class(rapid.IntRange(0, 1).Draw(t, "class"))}
				lease, ticket, err := r.Acquire(ask)
				var full *QueueFullError
				switch {
				case errors.As(err, &full):
					if full.Queued != 20 {
						t.Fatal(err)
					}
				case err != nil:
					t.Fatal(err)
				case lease != nil:
					take(lease)
				default:
					who := ask.Caller + ask.Class.String()
					waiting[who] = append(waiting[who], ticket)
				}
			},
			"end": func(t *rapid.T) {
				if len(held) == 0 {
					t.Skip()
				}
				i := rapid.IntRange(0, len(held)-1).Draw(t, "lease")
				l := held[i]
				held = slices.Delete(held, i, i+1)
				inFlight[l.Route.NodeID]--
				l.Done(Outcome{Verdict: Worked})
			},
			"leave": func(t *rapid.T) {
				who := rapid.SampledFrom([]string{"ainteractive", "abatch", "binteractive"}).Draw(t, "who")
				if len(waiting[who]) == 0 {
					t.Skip()
				}
				i := rapid.IntRange(0, len(waiting[who])-1).Draw(t, "ticket")
				waiting[who][i].Leave()
				waiting[who] = slices.Delete(waiting[who], i, i+1)
			},
			"": func(*rapid.T) { check() },
		})
		for _, line := range waiting {
			for _, ticket := range line {
				ticket.Leave()
			}
		}
	})
}

// BenchmarkQueue is a request that waits behind others and is served.
func BenchmarkQueue(b *testing.B) {
	for _, callers := range []int{1, 1000} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			routes := []model.Route{{Model: "m", NodeID: "n", ReplicaID: "r", MaxInFlight: 1, MaxQueued: 100_000}}
			r := New(Config{Routes: func(string) []model.Route { return routes }})
			lease, _, err := r.Acquire(&Ask{Model: "m"})
			if err != nil {
				b.Fatal(err)
			}
			waiting := make([]*Ticket, 0, 10_000+b.N)
			next := 0
			name := strings.Repeat("c", 8)
			ask := func() {
				_, ticket, err := r.Acquire(&Ask{Model: "m", Caller: fmt.Sprint(name, next%callers)})
				if err != nil {
					b.Fatal(err)
				}
				next++
				waiting = append(waiting, ticket)
			}
			for range 10_000 {
				ask()
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				ask()
				lease.Done(Outcome{})
				if lease, err = waiting[i].Take(); err != nil || lease == nil {
					b.Fatalf("turn %d: %v %v", i, lease, err)
				}
			}
			b.StopTimer()
			for _, ticket := range waiting {
				ticket.Leave()
			}
		})
	}
}
