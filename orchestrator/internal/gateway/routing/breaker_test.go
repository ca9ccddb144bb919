package routing

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestBreaker(t *testing.T) {
	now := time.Unix(1000, 0)
	var b Breaker
	check := func(what string, state BreakerState, allowed, probe bool) {
		t.Helper()
		gotAllowed, gotProbe := b.Allows(now)
		if got := b.State(now); got != state || gotAllowed != allowed || gotProbe != probe {
			t.Errorf("%s: %v, allowed %v, probe %v; want %v, %v, %v", what, got, gotAllowed, gotProbe, state, allowed, probe)
		}
	}
	check("new", Closed, true, false)
	b.Fail(now, 0.5)
	b.Fail(now, 0.5)
	b.Succeed(now)
	b.Fail(now, 0.5)
	b.Fail(now, 0.5)
	check("two failures in a row", Closed, true, false)
	b.Fail(now, 0.5)
	check("three failures in a row", Open, false, false)
	if got := b.Wait(now); got != firstPause {
		t.Errorf("waits %v", got)
	}
	b.Fail(now, 0.5) // of a request sent before
	now = now.Add(firstPause)
	check("after the pause", HalfOpen, true, true)
	b.Begin(now)
	check("while one finds out", HalfOpen, false, false)
	b.Abandon()
	check("its client left", HalfOpen, true, true)
	b.Begin(now)
	b.Fail(now, 0.5)
	check("it still fails", Open, false, false)
	if got := b.Wait(now); got != 2*firstPause {
		t.Errorf("waits %v", got)
	}
	now = now.Add(2 * firstPause)
	b.Begin(now)
	b.Succeed(now)
	check("it works", Closed, true, false)
	for range window {
		b.Succeed(now)
		b.Fail(now, 0.5)
		if b.State(now) == Open {
			break
		}
	}
	b.Succeed(now) // of a request sent before
	check("every second request fails", Open, false, false)
}

// However requests end, a breaker opens for at most maxPause and a bit, lets one
// request at a time find out, and closes when that works.
func TestBreakerComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1000, 0)
		var b Breaker
		probing := false
		t.Repeat(map[string]func(*rapid.T){
			"ask": func(t *rapid.T) {
				allowed, probe := b.Allows(now)
				if probe && probing {
					t.Fatal("two find out at once")
				}
				if allowed {
					b.Begin(now)
					probing = probe
				}
			},
			"fail":    func(t *rapid.T) { b.Fail(now, rapid.Float64Range(0, 1).Draw(t, "jitter")); probing = false },
			"succeed": func(*rapid.T) { b.Succeed(now); probing = false },
			"abandon": func(*rapid.T) { b.Abandon(); probing = false },
			"wait":    func(t *rapid.T) { now = now.Add(time.Duration(rapid.IntRange(0, 60).Draw(t, "seconds")) * time.Second) },
			"": func(t *rapid.T) {
				if wait := b.Wait(now); wait > maxPause*12/10 {
					t.Fatalf("open for %v", wait)
				}
			},
		})
		b.Abandon()
		now = now.Add(b.Wait(now))
		if allowed, _ := b.Allows(now); !allowed {
			t.Fatal("never asked again")
		}
		b.Begin(now)
		b.Succeed(now)
		if b.State(now) != Closed {
			t.Fatal("works and is not closed")
		}
	})
}
