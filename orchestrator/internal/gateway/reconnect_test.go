package gateway

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/tunnel"
)

// links are the connections of nodes as a test has them.
type links struct {
	mu      sync.Mutex
	since   map[string]time.Time
	changed chan struct{}
}

func newLinks(nodes ...string) *links {
	l := &links{since: map[string]time.Time{}, changed: make(chan struct{})}
	for _, id := range nodes {
		l.since[id] = time.Now()
	}
	return l
}

func (l *links) ConnectedSince(nodeID string) (time.Time, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	since, ok := l.since[nodeID]
	return since, ok
}

func (l *links) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

func (l *links) set(nodeID string, connected bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.since, nodeID)
	if connected {
		l.since[nodeID] = time.Now()
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// flaky is a node whose connections a test makes and breaks.
type flaky struct {
	links *links
	// asked is told of every question, and says what becomes of it: an answer, or an end
	// without one if it is empty.
	asked func(n int) string
	mu    sync.Mutex
	n     int
}

func (f *flaky) dial(_ context.Context, nodeID string, _ tunnel.Target) (net.Conn, error) {
	if _, ok := f.links.ConnectedSince(nodeID); !ok {
		return nil, fault.New(fault.Unavailable, "node %s is not connected", nodeID)
	}
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		if _, err := far.Read(make([]byte, 64<<10)); err != nil {
			return
		}
		f.mu.Lock()
		f.n++
		n := f.n
		f.mu.Unlock()
		_, _ = io.WriteString(far, f.asked(n))
	}()
	return near, nil
}

func (f *flaky) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}

const wholeAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"

// A node that comes back answers what it could not answer before.
func TestRequestsWaitForNodesToConnectAgain(t *testing.T) {
	l := newLinks()
	f := &flaky{links: l, asked: func(int) string { return wholeAnswer }}
	r := newRig(t, Config{Routes: oneRoute, Dial: f.dial, Links: l, ReconnectTimeout: time.Minute}, nil)
	// Others have failed before, so that the replica is left alone.
	for range 3 {
		checkError(t, r.do(t, http.MethodPost, "/v1/chat/completions", `{"model":"m"}`, headerTimeout, "0"), 503, "engine_unreachable", "", "node n1 is not connected")
	}
	answered := make(chan *http.Response, 1)
	go func() { answered <- r.chat(t, `{"model":"m"}`) }()
	for r.gateway.waiting.Load() == 0 {
		time.Sleep(time.Millisecond) // until it waits, whenever that is
	}
	l.set("another", true) // which is of no use
	l.set("n1", true)
	res := <-answered
	if body := readAll(t, res); res.StatusCode != http.StatusOK || body != "ok" {
		t.Errorf("%s: %s", res.Status, body)
	}
	if why := res.Header.Get(headerRouteReason); !strings.Contains(why, "of waiting") {
		t.Errorf("the reason is %q", why)
	}
}

// What was sent over a connection that is lost without an answer is sent again over the next.
func TestUnansweredIsAskedAgain(t *testing.T) {
	l := newLinks("n1")
	f := &flaky{links: l}
	f.asked = func(n int) string {
		if n == 1 {
			l.set("n1", false)
			go l.set("n1", true)
			return ""
		}
		return wholeAnswer
	}
	r := newRig(t, Config{Routes: oneRoute, Dial: f.dial, Links: l, ReconnectTimeout: time.Minute}, nil)
	if res := r.chat(t, `{"model":"m"}`); res.StatusCode != http.StatusOK || readAll(t, res) != "ok" {
		t.Errorf("%s", res.Status)
	}
	if n := f.count(); n != 2 {
		t.Errorf("asked %d times", n)
	}
}

// An engine that breaks off by itself is not asked again, and one that is gone not waited
// for without end.
func TestBrokenEnginesAndLostNodesFail(t *testing.T) {
	l := newLinks("n1")
	f := &flaky{links: l, asked: func(int) string { return "" }}
	r := newRig(t, Config{Routes: oneRoute, Dial: f.dial, Links: l, ReconnectTimeout: time.Minute}, nil)
	checkError(t, r.chat(t, `{"model":"m"}`), 502, "engine_failed", "", "the engine on node n1 broke the connection before it answered")
	if n := f.count(); n != 1 {
		t.Errorf("asked %d times", n)
	}

	for _, patience := range []string{"0.02", ""} {
		gone := newLinks()
		f := &flaky{links: gone}
		r := newRig(t, Config{Routes: oneRoute, Dial: f.dial, Links: gone, ReconnectTimeout: 30 * time.Millisecond}, nil)
		var headers []string
		if patience != "" {
			headers = []string{headerTimeout, patience}
		}
		checkError(t, r.do(t, http.MethodPost, "/v1/chat/completions", `{"model":"m"}`, headers...), 503, "engine_unreachable", "", "node n1 is not connected")
	}

	// One that comes and goes is not followed for ever.
	flapping := newLinks("n1")
	f = &flaky{links: flapping}
	f.asked = func(int) string { flapping.set("n1", false); flapping.set("n1", true); return "" }
	r = newRig(t, Config{Routes: oneRoute, Dial: f.dial, Links: flapping, ReconnectTimeout: time.Minute}, nil)
	checkError(t, r.chat(t, `{"model":"m"}`), 502, "engine_failed", "", "the engine on node n1 broke the connection before it answered")
	if n := f.count(); n != 1+maxReturns {
		t.Errorf("asked %d times", n)
	}
}
