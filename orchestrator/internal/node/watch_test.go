package node

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/orchion/orchion/orchestrator/internal/fault"
)

func TestSilentNodeGoesOfflineOnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen changes
		r := start(t, Config{HeartbeatTimeout: 30 * time.Second, OnChange: seen.record})
		register(t, r, Registration{ID: "quiet"})
		register(t, r, Registration{ID: "lively"})
		for range 5 {
			time.Sleep(5 * time.Second)
			if _, err := r.Heartbeat("lively", "", Usage{CPUPercent: 7}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5*time.Second - time.Millisecond)
		synctest.Wait()
		if n, _ := r.Get("quiet"); n.State != Online {
			t.Errorf("a node is %v before its timeout", n.State)
		}
		time.Sleep(reapPause)
		synctest.Wait()
		if n, _ := r.Get("quiet"); n.State != Offline {
			t.Errorf("a node is %v after its timeout", n.State)
		}
		_, err := r.Heartbeat("quiet", "", Usage{})
		wantFault(t, err, fault.NotFound, "not registered")

		register(t, r, Registration{ID: "quiet"})
		if got := len(r.Active()); got != 2 {
			t.Errorf("%d nodes are active, want 2", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := len(r.Active()); got != 0 {
			t.Errorf("%d nodes are active after a minute of silence", got)
		}
		seen.want(t, "quiet: - -> online", "lively: - -> online", "quiet: online -> offline",
			"quiet: offline -> online", "lively: online -> offline", "quiet: online -> offline")
	})
}

func TestStoreFailureIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemoryStore()
		store.fail(errors.New("disk full"))
		r := start(t, Config{Store: store, HeartbeatTimeout: time.Hour})
		register(t, r, Registration{ID: "n"})
		synctest.Wait()
		if _, ok := store.get("n"); ok {
			t.Fatal("stored although the store fails")
		}
		store.fail(nil)
		time.Sleep(saveRetry)
		synctest.Wait()
		if _, ok := store.get("n"); !ok {
			t.Error("not stored after the store recovered")
		}
	})
}

func TestUnchangedRegistrationIsNotStoredAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemoryStore()
		r := start(t, Config{Store: store})
		for range 3 {
			register(t, r, Registration{ID: "n", Hostname: "h", Capabilities: Capabilities{GPUs: []GPU{{UUID: "g"}}}})
			synctest.Wait()
		}
		if got := store.saved(); got != 1 {
			t.Errorf("stored %d times", got)
		}
		register(t, r, Registration{ID: "n", Hostname: "h2"})
		synctest.Wait()
		if got := store.saved(); got != 2 {
			t.Errorf("stored %d times after a change", got)
		}
	})
}

func TestSeenTimesAreStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemoryStore()
		r := start(t, Config{Store: store, HeartbeatTimeout: time.Hour})
		register(t, r, Registration{ID: "n"})
		time.Sleep(30 * time.Second)
		if _, err := r.Heartbeat("n", "", Usage{}); err != nil {
			t.Fatal(err)
		}
		beat := time.Now()
		time.Sleep(touchPeriod)
		synctest.Wait()
		if n, _ := store.get("n"); !n.LastSeenAt.Equal(beat) {
			t.Errorf("stored as seen at %v, want %v", n.LastSeenAt, beat)
		}
	})
}

func TestUsageIsCoalesced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := map[string]int{}
		var mu sync.Mutex
		r := start(t, Config{HeartbeatTimeout: time.Hour, OnUsage: func(n *Node) {
			mu.Lock()
			defer mu.Unlock()
			told[n.ID]++
		}})
		count := func() int {
			mu.Lock()
			defer mu.Unlock()
			return len(told)
		}
		const nodes = maxUsageReports + 50
		for i := range nodes {
			register(t, r, Registration{ID: fmt.Sprint(i)})
		}
		for range 10 {
			for i := range nodes {
				if _, err := r.Heartbeat(fmt.Sprint(i), "", Usage{}); err != nil {
					t.Fatal(err)
				}
			}
		}
		time.Sleep(usagePeriod)
		synctest.Wait()
		if got := count(); got != maxUsageReports {
			t.Errorf("%d nodes were told in the first second", got)
		}
		time.Sleep(usagePeriod)
		synctest.Wait()
		if got := count(); got != nodes {
			t.Errorf("%d nodes were told after two seconds", got)
		}
		r.Stop()
		for id, n := range told {
			if n != 1 {
				t.Errorf("node %s was told %d times", id, n)
			}
		}
	})
}

func TestStartTwice(t *testing.T) {
	r := start(t, Config{})
	if err := r.Start(t.Context()); !errors.Is(err, errStarted) {
		t.Errorf("Start again: %v", err)
	}
}

// TestExpiryListAgainstSlice compares the list with a plain slice.
func TestExpiryListAgainstSlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var list expiryList
		var model []*entry
		entries := make([]*entry, 6)
		for i := range entries {
			entries[i] = &entry{}
		}
		t.Repeat(map[string]func(*rapid.T){
			"beat": func(t *rapid.T) {
				e := rapid.SampledFrom(entries).Draw(t, "e")
				list.moveToBack(e)
				model = append(slices.DeleteFunc(model, func(x *entry) bool { return x == e }), e)
			},
			"remove": func(t *rapid.T) {
				e := rapid.SampledFrom(entries).Draw(t, "e")
				list.remove(e)
				model = slices.DeleteFunc(model, func(x *entry) bool { return x == e })
			},
			"": func(t *rapid.T) {
				var forward, backward []*entry
				for e := list.front; e != nil; e = e.next {
					forward = append(forward, e)
				}
				for e := list.back; e != nil; e = e.prev {
					backward = append([]*entry{e}, backward...)
				}
				if !slices.Equal(forward, model) || !slices.Equal(backward, model) || list.size != len(model) {
					t.Fatalf("list %v / %v of size %d, want %v", forward, backward, list.size, model)
				}
			},
		})
	})
}
