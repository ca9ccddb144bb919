package node

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/label"
)

// changes records OnChange as "id: before -> after".
type changes struct {
	mu  sync.Mutex
	log []string
}

func (c *changes) record(prev, next *Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := func(n *Node) string {
		if n == nil {
			return "-"
		}
		return n.State.String()
	}
	id := ""
	if next != nil {
		id = next.ID
	} else {
		id = prev.ID
	}
	c.log = append(c.log, fmt.Sprintf("%s: %s -> %s", id, name(prev), name(next)))
}

func (c *changes) want(t *testing.T, want ...string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Equal(c.log, want) {
		t.Errorf("changes are\n %q\nwant\n %q", c.log, want)
	}
}

func start(t *testing.T, cfg Config) *Registry {
	t.Helper()
	r := NewRegistry(cfg)
	if err := r.Start(t.Context()); err != nil {
		t.Fatalf("Start: %v", err)
	}
	t.Cleanup(r.Stop)
	return r
}

// recordLog is a logger and what it wrote; read it when nothing logs any more.
func recordLog() (*slog.Logger, *bytes.Buffer) {
	var text bytes.Buffer
	return slog.New(slog.NewTextHandler(&text, nil)), &text
}

func register(t *testing.T, r *Registry, reg Registration) *Node {
	t.Helper()
	n, next, err := r.Register(t.Context(), reg)
	if err != nil {
		t.Fatalf("Register(%q): %v", reg.ID, err)
	}
	if next <= 0 {
		t.Errorf("Register(%q) wants the first heartbeat after %v", reg.ID, next)
	}
	return n
}

func wantFault(t *testing.T, err error, code fault.Code, text string) {
	t.Helper()
	if err == nil || fault.CodeOf(err) != code || !strings.Contains(err.Error(), text) {
		t.Errorf("error is %v (code %d), want code %d with %q", err, fault.CodeOf(err), code, text)
	}
}

func TestRegisterMakesAnID(t *testing.T) {
	r := start(t, Config{})
	a, b := register(t, r, Registration{Hostname: "a"}), register(t, r, Registration{Hostname: "b"})
	if a.ID == "" || a.ID == b.ID {
		t.Errorf("made ids %q and %q", a.ID, b.ID)
	}
	if a.State != Online || a.RegisteredAt.IsZero() {
		t.Errorf("registered as %+v", a)
	}
}

func TestHeartbeatPeriod(t *testing.T) {
	for name, tc := range map[string]struct{ timeout, ours, wish, want time.Duration }{
		"default":                    {30 * time.Second, 0, 0, 5 * time.Second},
		"the node's wish":            {time.Minute, 0, 10 * time.Second, 10 * time.Second},
		"wish too slow for timeout":  {30 * time.Second, 0, time.Minute, 10 * time.Second},
		"wish too fast":              {30 * time.Second, 0, time.Millisecond, time.Second},
		"short timeout beats a wish": {time.Second, 0, 5 * time.Second, time.Second / 3},
		"ours clamped":               {6 * time.Second, 5 * time.Second, 0, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, Config{HeartbeatTimeout: tc.timeout, HeartbeatInterval: tc.ours})
			_, first, err := r.Register(t.Context(), Registration{ID: "n", HeartbeatInterval: tc.wish})
			if err != nil {
				t.Fatal(err)
			}
			next, err := r.Heartbeat("n", "", Usage{})
			if err != nil {
				t.Fatal(err)
			}
			for _, got := range []time.Duration{first, next} {
				if got > tc.want || got < tc.want-tc.want/10 {
					t.Errorf("period %v, want %v less at most a tenth", got, tc.want)
				}
			}
		})
	}
}

func TestLastRegistrationWins(t *testing.T) {
	r := start(t, Config{})
	register(t, r, Registration{ID: "n", InstanceID: "one", Hostname: "first"})
	register(t, r, Registration{ID: "n", InstanceID: "two", Hostname: "second", Address: "192.0.2.7"})

	_, err := r.Heartbeat("n", "one", Usage{})
	wantFault(t, err, fault.Superseded, `taken over by another node agent on host "second" (192.0.2.7)`)
	wantFault(t, r.Check("n", "one"), fault.Superseded, "taken over")
	wantFault(t, r.Deregister(t.Context(), "n", "one", ""), fault.Superseded, "taken over")
	wantFault(t, r.SetEngines("n", "one", nil), fault.Superseded, "taken over")
	if _, err := r.Heartbeat("n", "two", Usage{}); err != nil {
		t.Errorf("the newest instance: %v", err)
	}
	if _, err := r.Heartbeat("n", "", Usage{}); err != nil {
		t.Errorf("an instance without a name: %v", err)
	}
}

func TestDeregister(t *testing.T) {
	var seen changes
	r := start(t, Config{OnChange: seen.record})
	register(t, r, Registration{ID: "n"})
	for range 2 {
		if err := r.Deregister(t.Context(), "n", "", "shutdown"); err != nil {
			t.Fatal(err)
		}
	}
	seen.want(t, "n: - -> online", "n: online -> offline")
	wantFault(t, r.Deregister(t.Context(), "other", "", ""), fault.NotFound, `node "other" is not known`)
}

func TestDrainAndLabelsOutliveRestarts(t *testing.T) {
	store := newMemoryStore()
	first := NewRegistry(Config{Store: store})
	if err := first.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	register(t, first, Registration{ID: "n", Labels: map[string]string{"room": "lab", "os": "linux"}})
	if _, err := first.SetUserLabels(t.Context(), "n", map[string]string{"room": "office"}); err != nil {
		t.Fatal(err)
	}
	n, err := first.SetDrain(t.Context(), "n", &Drain{Mode: DrainFinish, Reason: "new disk"})
	if err != nil || n.State != Draining {
		t.Fatalf("SetDrain gives %v, %v", n, err)
	}
	first.Stop()
	first.Stop()

	second := start(t, Config{Store: store})
	n, ok := second.Get("n")
	if !ok || n.State != Offline || n.Labels["room"] != "office" {
		t.Fatalf("after a restart the node is %+v", n)
	}
	n = register(t, second, Registration{ID: "n", Labels: map[string]string{"room": "lab"}})
	if n.State != Draining || n.Labels["room"] != "office" {
		t.Errorf("after it came back the node is %v with %v", n.State, n.Labels)
	}
	if n, err = second.SetDrain(t.Context(), "n", nil); err != nil || n.State != Online {
		t.Errorf("undrained it is %v, %v", n.State, err)
	}
}

func TestFailedStoreChangesNothing(t *testing.T) {
	store := newMemoryStore()
	r := start(t, Config{Store: store})
	register(t, r, Registration{ID: "n"})
	store.fail(fault.New(fault.Unavailable, "the disk is full"))
	_, err := r.SetDrain(t.Context(), "n", &Drain{Mode: DrainFinish})
	wantFault(t, err, fault.Unavailable, "the disk is full")
	if n, _ := r.Get("n"); n.State != Online || n.Drain != nil {
		t.Errorf("the node is %v although that could not be stored", n.State)
	}
	store.fail(nil)
}

func TestDelete(t *testing.T) {
	var seen changes
	store := newMemoryStore(Known{ID: "old"})
	r := start(t, Config{Store: store, OnChange: seen.record})
	register(t, r, Registration{ID: "n"})
	wantFault(t, r.Delete(t.Context(), "n"), fault.Precondition, `node "n" is online; stop its node agent first`)
	wantFault(t, r.Delete(t.Context(), "x"), fault.NotFound, `node "x" is not known`)
	if err := r.Delete(t.Context(), "old"); err != nil {
		t.Fatal(err)
	}
	if _, ok := store.get("old"); ok {
		t.Error("a deleted node is still stored")
	}
	wantFault(t, r.Delete(t.Context(), "old"), fault.NotFound, "not known")
	seen.want(t, "n: - -> online", "old: offline -> -")
}

func TestLimits(t *testing.T) {
	r := start(t, Config{MaxNodes: 2})
	register(t, r, Registration{ID: "a"})
	register(t, r, Registration{ID: "b"})
	_, _, err := r.Register(t.Context(), Registration{ID: "c"})
	wantFault(t, err, fault.Exhausted, "2 nodes are registered, which is the limit")
	register(t, r, Registration{ID: "a"}) // known ones may always come back

	for i := range 20 {
		id := fmt.Sprintf("n%d", i)
		if err := r.Deregister(t.Context(), r.Active()[0].ID, "", ""); err != nil {
			t.Fatal(err)
		}
		register(t, r, Registration{ID: id})
	}
	if got := len(r.List(Filter{States: []State{Online, Draining, Offline}}).Nodes); got > 4 {
		t.Errorf("%d nodes are remembered, want at most 4", got)
	}
}

func TestList(t *testing.T) {
	r := start(t, Config{})
	for i := range 5 {
		register(t, r, Registration{ID: fmt.Sprintf("n%d", i), Labels: map[string]string{"even": strconv.FormatBool(i%2 == 0)}})
	}
	if err := r.Deregister(t.Context(), "n4", "", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := r.SetDrain(t.Context(), "n1", &Drain{Mode: DrainFinish}); err != nil {
		t.Fatal(err)
	}
	even, _ := label.Parse("even=true")
	for name, tc := range map[string]struct {
		filter Filter
		want   string
		next   string
		total  int
	}{
		"active":      {Filter{}, "n0 n1 n2 n3", "", 4},
		"offline":     {Filter{States: []State{Offline}}, "n4", "", 1},
		"draining":    {Filter{States: []State{Draining}}, "n1", "", 1},
		"labels":      {Filter{Labels: even}, "n0 n2", "", 2},
		"first page":  {Filter{Limit: 3}, "n0 n1 n2", "n2", 4},
		"second page": {Filter{Limit: 3, After: "n2"}, "n3", "", 4},
		"exact page":  {Filter{Limit: 4}, "n0 n1 n2 n3", "", 4},
	} {
		page := r.List(tc.filter)
		var ids []string
		for _, n := range page.Nodes {
			ids = append(ids, n.ID)
		}
		if got := strings.Join(ids, " "); got != tc.want || page.Next != tc.next || page.Total != tc.total {
			t.Errorf("%s: %q next %q total %d, want %q %q %d", name, got, page.Next, page.Total, tc.want, tc.next, tc.total)
		}
	}
	if got := r.Count(); got[Online] != 3 || got[Draining] != 1 || got[Offline] != 1 {
		t.Errorf("counts are %v", got)
	}
}

// TestConcurrentUse is for the race detector.
func TestConcurrentUse(t *testing.T) {
	r := start(t, Config{Store: newMemoryStore(), OnUsage: func(*Node) {}})
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			id := fmt.Sprintf("n%d", worker%4)
			for i := range 200 {
				switch i % 8 {
				case 0:
					_, _, _ = r.Register(t.Context(), Registration{ID: id})
				case 3:
					var drain *Drain
					if i%16 == 3 {
						drain = &Drain{Mode: DrainMove}
					}
					_, _ = r.SetDrain(t.Context(), id, drain)
				case 5:
					_ = r.Deregister(t.Context(), id, "", "")
				case 6:
					_ = r.Delete(t.Context(), id)
				default:
					_, _ = r.Heartbeat(id, "", Usage{RunningJobs: i})
				}
				r.Active()
				r.List(Filter{Limit: 2})
			}
		})
	}
	all.Wait()
}
