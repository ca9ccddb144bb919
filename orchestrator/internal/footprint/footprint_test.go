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

func TestNextPercent(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		name    string
		percent int
		share   float64
		live    uint64
		want    int
	}{
		{"nothing is in use yet", 100, 0, 0, 100},
		{"a small heap is left alone", 100, 0, 20 * mib, 100},
		{"a heap that has become small", 25, 0, 20 * mib, 100},
		{"a large heap at rest", 100, 0.01, 400 * mib, 80},
		{"at rest for long", 25, 0, 400 * mib, 25},
		{"the room that any heap has", 40, 0, 64 * mib, 50},
		{"neither much nor little", 60, 0.07, 400 * mib, 60},
		{"collecting takes long", 40, 0.2, 400 * mib, 60},
		{"collecting takes long in spite of all", 90, 0.5, 400 * mib, 100},
	} {
		if got := nextPercent(c.percent, c.share, c.live); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// TestPacer: the share is of what passed since the last look, and the percentage is
// set when it changes.
func TestPacer(t *testing.T) {
	var now reading
	var set []int
	p := &pacer{percent: mostPercent, read: func() reading { return now }, set: func(percent int) { set = append(set, percent) }}
	pass := func(collecting time.Duration) {
		now.live = 1 << 30
		now.available += 2 * time.Second
		now.collecting += collecting
		p.look()
	}
	for range 8 { // down to the least, and stays
		pass(0)
	}
	pass(150 * time.Millisecond) // neither
	pass(time.Second)
	pass(time.Second)
	pass(150 * time.Millisecond)
	if want := []int{80, 64, 51, 40, 32, 25, 37, 55}; !slices.Equal(set, want) {
		t.Errorf("set %v, want %v", set, want)
	}
}

// TestGivingBack: what is free is given back once there was little to collect for a
// while, and not what is little or what the heap will need again.
func TestGivingBack(t *testing.T) {
	const mib = 1 << 20
	now, given := reading{live: 200 * mib}, 0
	p := &pacer{percent: leastPercent, read: func() reading { return now }, set: func(int) {}, giveBack: func() { given++ }}
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
	pass(3*restful, 90*mib, 0) // less than half of what is in use
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
		stop, err := Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * period)
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
			stop, err := Start(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			stop()
			if percent := debug.SetGCPercent(300); percent != 300 {
				t.Errorf("the percentage is %d", percent)
			}
		})
	}
}
