package footprint

import (
	"runtime/debug"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestPercentFor: a small heap has its room whatever a large one would have.
func TestPercentFor(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		name string
		wish int
		base uint64
		want int
	}{
		{"nothing is in use yet", 25, 0, 100},
		{"a small heap", 25, 20 * mib, 100},
		{"the room that any heap has", 40, 64 * mib, 50},
		{"a large heap", 40, 400 * mib, 40},
		{"more than its room", 60, 64 * mib, 60},
	} {
		if got := percentFor(c.wish, c.base); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// TestPacer: the percentage follows what collecting takes of the last ten looks, and
// is set when it changes.
func TestPacer(t *testing.T) {
	now := reading{live: 900 << 20, scanned: 124 << 20}
	var set []int
	p := &pacer{wish: leastPercent, percent: mostPercent, read: func() reading { return now }, set: func(percent int) { set = append(set, percent) }}
	for _, step := range []struct {
		name  string
		looks int
		share float64
		want  []int
	}{
		{"from the beginning", 1, 0, []int{25}},
		{"one collection takes all of a look", 1, 0.95, nil},
		{"nothing", 20, 0, nil},
		{"much in every look", 2, 0.4, nil},
		{"one more, and then it is counted anew", 1, 0.4, []int{37}},
		{"not yet again", 2, 0.4, nil},
		{"again", 1, 0.4, []int{55}},
		{"up to the most, and stays", 12, 0.4, []int{82, 100}},
		{"neither much nor little", 30, 0.07, nil},
		{"little for long, down to the least, and stays", 30, 0, []int{80, 64, 51, 40, 32, 25}},
	} {
		set = nil
		for range step.looks {
			now.available += 2 * time.Second
			now.collecting += time.Duration(step.share * float64(2*time.Second))
			p.look()
		}
		if !slices.Equal(set, step.want) {
			t.Errorf("%s: set %v, want %v", step.name, set, step.want)
		}
	}
}

// TestGivingBack: what is free is given back once there was little to collect for a
// while, and not what is little or what the heap will need again.
func TestGivingBack(t *testing.T) {
	const mib = 1 << 20
	now, given := reading{live: 400 * mib}, 0
	p := &pacer{wish: leastPercent, percent: leastPercent, read: func() reading { return now }, set: func(int) {}, giveBack: func() { given++ }}
	pass := func(looks int, free uint64, collecting time.Duration) {
		now.free = free
		for range looks {
			now.available += 2 * time.Second
			now.collecting += collecting
			p.look()
		}
	}
	want := func(n int) {
		t.Helper()
		if given != n {
			t.Fatalf("memory was given back %d times, want %d", given, n)
		}
	}
	pass(restful-1, 150*mib, 0)
	want(0)
	pass(1, 150*mib, time.Second) // busy again
	pass(restful-1, 150*mib, 0)
	want(0)
	pass(1, 150*mib, 0)
	want(1)
	pass(3*restful, 45*mib, 0) // less than an eighth of what is in use
	want(1)
	now.live = 50 * mib
	pass(3*restful, leastFree, 0)
	want(1)
	pass(1, leastFree+1, 0)
	want(2)
}

// TestStart: it goes with the runtime as it is, sets what it finds, and leaves
// nothing behind.
func TestStart(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	synctest.Test(t, func(t *testing.T) {
		stop := Start(t.Context())
		time.Sleep(3*restful*period + 3*restPeriod)
		stop()
	})
	if percent := debug.SetGCPercent(mostPercent); percent != mostPercent {
		t.Errorf("the percentage is %d afterwards", percent)
	}
}

// A percentage or a limit that somebody set is heeded.
func TestEnvironmentWins(t *testing.T) {
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GOGC", "")
			t.Setenv("GOMEMLIMIT", "")
			t.Setenv(name, "300")
			before := debug.SetGCPercent(300)
			defer debug.SetGCPercent(before)
			stop := Start(t.Context())
			stop()
			if percent := debug.SetGCPercent(300); percent != 300 {
				t.Errorf("the percentage is %d", percent)
			}
		})
	}
}
