package node

import (
	"testing"
	"testing/synctest"
	"time"
)

// flap has a node be online for a while and then silent until it is offline,
// and register again.
func flap(t *testing.T, r *Registry, id string, online time.Duration) *Node {
	t.Helper()
	for end := time.Now().Add(online); time.Now().Before(end); time.Sleep(min(5*time.Second, time.Until(end))) {
		if _, err := r.Heartbeat(id, "", Usage{}); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(31 * time.Second)
	synctest.Wait()
	if n, _ := r.Get(id); n.State != Offline {
		t.Fatalf("the silent node is %s", n.State)
	}
	return register(t, r, Registration{ID: id})
}

func wantCoolDown(t *testing.T, n *Node, want time.Duration) {
	t.Helper()
	switch {
	case want == 0 && n.CoolDown != nil:
		t.Errorf("there is a cool-down until %v, want none", n.CoolDown.Until)
	case want > 0 && (n.CoolDown == nil || !n.CoolDown.Until.Equal(time.Now().Add(want))):
		t.Errorf("the cool-down is %+v, want one of %v", n.CoolDown, want)
	}
}

func TestFlappingNodeCoolsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen changes
		r := start(t, Config{HeartbeatTimeout: 30 * time.Second, OnChange: seen.record})
		register(t, r, Registration{ID: "n"})
		wantCoolDown(t, flap(t, r, "n", time.Minute), 0)
		wantCoolDown(t, flap(t, r, "n", time.Minute), 0)
		n := flap(t, r, "n", time.Minute)
		wantCoolDown(t, n, 2*time.Minute)
		if want := "it went offline 3 times within 10 minutes"; n.CoolDown.Reason() != want {
			t.Errorf("the reason is %q, want %q", n.CoolDown.Reason(), want)
		}
		// It goes on, each time for longer.
		for _, minutes := range []int{4, 8, 16, 30, 30} {
			wantCoolDown(t, flap(t, r, "n", time.Second), time.Duration(minutes)*time.Minute)
		}
		// It is seen to have ended when it has.
		beat := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(min(5*time.Second, time.Until(end))) {
				if _, err := r.Heartbeat("n", "", Usage{}); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
		}
		beat(30*time.Minute - time.Millisecond)
		if n, _ = r.Get("n"); n.CoolDown == nil {
			t.Error("the cool-down ended early")
		}
		before := len(seen.log)
		beat(reapPause)
		if n, _ = r.Get("n"); n.CoolDown != nil || len(seen.log) != before+1 {
			t.Errorf("the cool-down is %+v after its end; it was told in %d changes", n.CoolDown, len(seen.log)-before)
		}
		// After a while of quiet it begins anew.
		beat(11 * time.Minute)
		wantCoolDown(t, flap(t, r, "n", time.Second), 0)
		wantCoolDown(t, flap(t, r, "n", time.Second), 0)
		wantCoolDown(t, flap(t, r, "n", time.Second), 2*time.Minute)
		// A person may know better.
		if n, err := r.SetCordon(t.Context(), "n", false); err != nil || n.CoolDown != nil {
			t.Errorf("uncordoned it is %+v, %v", n, err)
		}
	})
}

func TestWhatIsNoFlapping(t *testing.T) {
	for name, flapOnce := range map[string]func(*testing.T, *Registry) *Node{
		"seldom": func(t *testing.T, r *Registry) *Node { return flap(t, r, "n", 5*time.Minute) },
		"on purpose": func(t *testing.T, r *Registry) *Node {
			time.Sleep(time.Second)
			if err := r.Deregister(t.Context(), "n", "", "restart"); err != nil {
				t.Fatal(err)
			}
			return register(t, r, Registration{ID: "n"})
		},
		"with others": func(t *testing.T, r *Registry) *Node {
			register(t, r, Registration{ID: "m"})
			return flap(t, r, "n", 0) // an outage
		},
		"in maintenance": func(t *testing.T, r *Registry) *Node {
			if _, err := r.SetDrain(t.Context(), "n", &Drain{Mode: DrainFinish, Maintenance: true}); err != nil {
				t.Fatal(err)
			}
			return flap(t, r, "n", time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, Config{HeartbeatTimeout: 30 * time.Second})
				register(t, r, Registration{ID: "n"})
				for range 5 {
					wantCoolDown(t, flapOnce(t, r), 0)
				}
			})
		})
	}
}

func TestCoolDownOutlastsANewRegistration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{HeartbeatTimeout: 30 * time.Second})
		register(t, r, Registration{ID: "n"})
		for range 3 {
			flap(t, r, "n", time.Second)
		}
		until := time.Now().Add(2 * time.Minute)
		time.Sleep(time.Second)
		if n := register(t, r, Registration{ID: "n"}); n.CoolDown == nil || !n.CoolDown.Until.Equal(until) {
			t.Errorf("after it registered again the cool-down is %+v, want until %v", n.CoolDown, until)
		}
		// It may end while the node is away.
		time.Sleep(2*time.Minute + reapPause)
		synctest.Wait()
		if n, _ := r.Get("n"); n.State != Offline || n.CoolDown != nil {
			t.Errorf("after its end the node is %s with %+v", n.State, n.CoolDown)
		}
	})
}
