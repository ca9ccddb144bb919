package node

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDrainAgainKeepsSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemoryStore()
		r := start(t, Config{Store: store, HeartbeatTimeout: time.Hour})
		register(t, r, Registration{ID: "n"})
		began := time.Now()
		if _, err := r.SetDrain(t.Context(), "n", &Drain{Mode: DrainFinish}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		wanted := Drain{Mode: DrainFinish, Deadline: time.Now().Add(time.Hour), Reason: "new disk", Maintenance: true}
		n, err := r.SetDrain(t.Context(), "n", &wanted)
		if err != nil {
			t.Fatal(err)
		}
		want := wanted
		want.Since = began
		if diff := cmp.Diff(&want, n.Drain); diff != "" {
			t.Errorf("drained again (-want +got):\n%s", diff)
		}
		if known, _ := store.get("n"); !cmp.Equal(known.Drain, &want) {
			t.Errorf("stored as %+v, want %+v", known.Drain, want)
		}
		if !wanted.Since.IsZero() {
			t.Error("the caller's value was changed")
		}
		if n, err = r.SetDrain(t.Context(), "n", nil); err != nil || n.Drain != nil || n.State != Online {
			t.Errorf("undrained it is %+v, %v", n, err)
		}
		time.Sleep(time.Minute)
		if n, _ = r.SetDrain(t.Context(), "n", &Drain{Mode: DrainMove}); !n.Drain.Since.Equal(time.Now()) {
			t.Errorf("drained anew since %v", n.Drain.Since)
		}
	})
}

func TestWhenADrainEvicts(t *testing.T) {
	now := time.Now()
	for name, test := range map[string]struct {
		drain Drain
		at    time.Time
		some  bool
	}{
		"finish":          {Drain{Since: now, Mode: DrainFinish}, time.Time{}, false},
		"with a deadline": {Drain{Since: now, Mode: DrainFinish, Deadline: now.Add(time.Hour)}, now.Add(time.Hour), true},
		"move":            {Drain{Since: now, Mode: DrainMove}, now, true},
	} {
		if at, some := test.drain.EvictsAt(); !at.Equal(test.at) || some != test.some {
			t.Errorf("%s: evicts at %v, %v; want %v, %v", name, at, some, test.at, test.some)
		}
	}
}

func TestCordonOutlivesRestarts(t *testing.T) {
	store := newMemoryStore()
	first := NewRegistry(Config{Store: store})
	if err := first.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	register(t, first, Registration{ID: "n"})
	n, err := first.SetCordon(t.Context(), "n", true)
	if err != nil || !n.Cordoned || n.State != Online {
		t.Fatalf("SetCordon gives %+v, %v", n, err)
	}
	first.Stop()
	second := start(t, Config{Store: store})
	if n = register(t, second, Registration{ID: "n"}); !n.Cordoned || n.State != Online {
		t.Errorf("after a restart it is %+v", n)
	}
	if n, err = second.SetCordon(t.Context(), "n", false); err != nil || n.Cordoned {
		t.Errorf("uncordoned it is %+v, %v", n, err)
	}
}
