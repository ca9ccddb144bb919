package node

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// outageLog records OnOutage as "4 of 6 silent" and "over: why".
type outageLog struct {
	mu  sync.Mutex
	log []string
}

func (l *outageLog) record(o *Outage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := fmt.Sprintf("%d silent, %d of %d went", o.Silent, o.Went, o.Of)
	if o.Ended != "" {
		text = "over: " + string(o.Ended)
	}
	l.log = append(l.log, text)
}

func (l *outageLog) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.log, want) {
		t.Errorf("outages are\n %q\nwant\n %q", l.log, want)
	}
	l.log = nil
}

// fleet keeps some nodes alive: beat has all but the silent ones beat for a
// while.
type outageFleet struct {
	t      *testing.T
	r      *Registry
	ids    []string
	silent map[string]bool
}

func newOutageFleet(t *testing.T, cfg Config, size int) (*outageFleet, *outageLog) {
	t.Helper()
	var log outageLog
	cfg.OnOutage = log.record
	f := &outageFleet{t: t, r: start(t, cfg), silent: map[string]bool{}}
	for i := range size {
		id := fmt.Sprint("n", i)
		f.ids = append(f.ids, id)
		register(t, f.r, Registration{ID: id})
	}
	return f, &log
}

func (f *outageFleet) beat(d time.Duration) {
	f.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		for _, id := range f.ids {
			if f.silent[id] {
				continue
			}
			if _, err := f.r.Heartbeat(id, "", Usage{}); err != nil {
				register(f.t, f.r, Registration{ID: id})
			}
		}
		time.Sleep(min(time.Second, time.Until(end)))
	}
	synctest.Wait()
}

func (f *outageFleet) silence(ids ...string) {
	for _, id := range ids {
		f.silent[id] = true
	}
}

func (f *outageFleet) back(ids ...string) {
	for _, id := range ids {
		delete(f.silent, id)
	}
}

func TestOutageBeginsAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, log := newOutageFleet(t, Config{HeartbeatTimeout: 30 * time.Second}, 6)
		f.silence("n0", "n1", "n2")
		f.beat(40 * time.Second)
		log.want(t) // half of six is not more than half
		f.silence("n3")
		f.beat(40 * time.Second)
		log.want(t, "4 silent, 4 of 6 went")
		o := f.r.Outage()
		if o == nil || o.Reason() != "4 of 6 nodes went silent within a minute, which looks like a fault of the network" {
			t.Fatalf("the outage is %+v", o)
		}
		if got := o.Until.Sub(o.Since); got != defaultPauseLimit {
			t.Errorf("it may go on for %v", got)
		}
		f.silence("n4")
		f.beat(40 * time.Second)
		log.want(t, "5 silent, 5 of 6 went")
		f.back("n0", "n1")
		f.beat(time.Second)
		log.want(t, "4 silent, 5 of 6 went", "3 silent, 5 of 6 went")
		f.back("n2")
		f.beat(time.Second)
		log.want(t, "over: at least half of the nodes are back")
		if o := f.r.Outage(); o != nil {
			t.Errorf("there is still an outage: %+v", o)
		}
		f.beat(10 * time.Minute) // those that stay away do not begin another
		log.want(t)
	})
}

func TestWhatIsNoOutage(t *testing.T) {
	for name, test := range map[string]struct {
		size int
		do   func(*outageFleet)
	}{
		"one of one": {1, func(f *outageFleet) { f.silence("n0") }},
		"half":       {4, func(f *outageFleet) { f.silence("n0", "n1") }},
		"too far apart": {5, func(f *outageFleet) {
			for _, id := range f.ids[:3] {
				f.silence(id)
				f.beat(31 * time.Second)
			}
		}},
		"they left": {4, func(f *outageFleet) {
			f.silence(f.ids...)
			for _, id := range f.ids[:3] {
				if err := f.r.Deregister(f.t.Context(), id, "", "shutdown"); err != nil {
					f.t.Fatal(err)
				}
			}
		}},
		"maintenance": {5, func(f *outageFleet) {
			for _, id := range f.ids[:4] {
				if _, err := f.r.SetDrain(f.t.Context(), id, &Drain{Mode: DrainFinish, Maintenance: true}); err != nil {
					f.t.Fatal(err)
				}
			}
			f.silence(f.ids[:4]...)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, log := newOutageFleet(t, Config{HeartbeatTimeout: 30 * time.Second}, test.size)
				test.do(f)
				f.beat(2 * time.Minute)
				log.want(t)
			})
		})
	}
}

func TestMaintenanceDoesNotHideAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, log := newOutageFleet(t, Config{HeartbeatTimeout: 30 * time.Second}, 10)
		for _, id := range f.ids[:7] {
			if _, err := f.r.SetDrain(t.Context(), id, &Drain{Mode: DrainFinish, Maintenance: true}); err != nil {
				t.Fatal(err)
			}
		}
		f.silence("n7", "n8")
		f.beat(40 * time.Second)
		log.want(t, "2 silent, 2 of 3 went")
		// One of the two was meant to go.
		if _, err := f.r.SetDrain(t.Context(), "n7", &Drain{Mode: DrainFinish, Maintenance: true}); err != nil {
			t.Fatal(err)
		}
		log.want(t, "1 silent, 1 of 3 went")
		// The other is forgotten.
		if err := f.r.Delete(t.Context(), "n8"); err != nil {
			t.Fatal(err)
		}
		log.want(t, "over: at least half of the nodes are back")
	})
}

func TestOutageIsResumedOrExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, log := newOutageFleet(t, Config{HeartbeatTimeout: 30 * time.Second, PauseLimit: 2 * time.Minute}, 3)
		f.silence("n0", "n1")
		f.beat(31 * time.Second)
		log.want(t, "2 silent, 2 of 3 went")
		until := f.r.Outage().Until
		f.beat(time.Until(until) - time.Second)
		log.want(t)
		time.Sleep(time.Second)
		log.want(t, "over: the limit of the pause has passed")

		f.back("n0", "n1")
		f.beat(2 * time.Minute)
		f.silence("n1", "n2")
		f.beat(31 * time.Second)
		log.want(t, "2 silent, 2 of 3 went")
		f.r.ResumeOutage()
		f.r.ResumeOutage() // a second time does nothing
		log.want(t, "over: a person had it resumed")
		f.beat(5 * time.Minute)
		log.want(t)
	})
}

func TestOutagesAreNotLookedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, log := newOutageFleet(t, Config{HeartbeatTimeout: 30 * time.Second, PauseLimit: -1}, 3)
		f.silence("n0", "n1")
		f.beat(time.Minute)
		log.want(t)
		if f.r.Spares("n0") || len(f.r.outages.recent) != 0 {
			t.Error("a lease is spared, or silences are kept")
		}
	})
}

// TestSparesBeforeNodesAreOffline has nodes that may be silent for much longer
// than their leases last.
func TestSparesBeforeNodesAreOffline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, log := newOutageFleet(t, Config{HeartbeatTimeout: 10 * time.Minute, SilentAfter: 30 * time.Second}, 5)
		f.beat(time.Minute)
		f.silence("n0", "n1", "n2")
		f.beat(28 * time.Second)
		if f.r.Spares("n0") {
			t.Error("a lease is spared before the nodes are taken for silent")
		}
		f.beat(3 * time.Second)
		if !f.r.Spares("n0") || f.r.Spares("n3") || !f.r.Spares("unknown") {
			t.Error("the leases of silent nodes are not spared, or others are")
		}
		log.want(t, "3 silent, 3 of 5 went")
		f.back("n0")
		f.beat(time.Second)
		log.want(t, "2 silent, 3 of 5 went")
		f.back("n1")
		f.beat(time.Second)
		log.want(t, "over: at least half of the nodes are back")
		f.beat(time.Minute)
		if f.r.Spares("n2") {
			t.Error("the lease of one silent node is spared")
		}
	})
}

// TestSparesAfterASleep has a lease run out before the reaper has looked, as
// when this machine slept and both are late.
func TestSparesAfterASleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRegistry(Config{HeartbeatTimeout: 30 * time.Second}) // nobody reaps
		for _, id := range []string{"n0", "n1", "n2"} {
			register(t, r, Registration{ID: id})
		}
		time.Sleep(time.Hour)
		if !r.Spares("n0") || r.Outage() == nil {
			t.Error("the lease is not spared")
		}
	})
}

func TestMaintenanceRaisesNoAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, text := recordLog()
		r := start(t, Config{HeartbeatTimeout: 30 * time.Second, Logger: logger})
		for _, id := range []string{"meant", "broken"} {
			register(t, r, Registration{ID: id})
		}
		if _, err := r.SetDrain(t.Context(), "meant", &Drain{Mode: DrainFinish, Maintenance: true}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		r.Stop()
		for _, want := range []string{"level=INFO msg=\"node is offline", "level=WARN msg=\"node is offline"} {
			if strings.Count(text.String(), want) != 1 {
				t.Errorf("the log has not one %q:\n%s", want, text)
			}
		}
	})
}
