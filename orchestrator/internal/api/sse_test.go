package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/orchion/orchion/orchestrator/internal/dispatch"
	"github.com/orchion/orchion/orchestrator/internal/events"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/model"
	"github.com/orchion/orchion/orchestrator/internal/node"
	"github.com/orchion/orchion/orchestrator/internal/schedule"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// sseReader reads an event stream as a browser does.
type sseReader struct {
	body   io.ReadCloser
	lines  *bufio.Scanner
	cancel context.CancelFunc
}

type sseEvent struct{ id, name, data, comment string }

// watchEvents opens an event stream and waits until it is subscribed.
func (h *harness) watchEvents(t *testing.T, path string, headers ...string) *sseReader {
	t.Helper()
	r := h.openStream(t, path, headers...)
	if e := r.next(t); e.comment != "connected" {
		t.Fatalf("the stream begins with %+v", e)
	}
	return r
}

func (h *harness) openStream(t *testing.T, path string, headers ...string) *sseReader {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.http.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Set(name, value)
	}
	resp, err := h.http.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	r := &sseReader{body: resp.Body, lines: bufio.NewScanner(resp.Body), cancel: cancel}
	t.Cleanup(r.close)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("X-Accel-Buffering") != "no" || resp.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("the stream answers %d %v", resp.StatusCode, resp.Header)
	}
	return r
}

func (r *sseReader) close() {
	r.cancel()
	r.body.Close()
}

// next reads up to the next event or comment; the zero event is the end.
func (r *sseReader) next(t *testing.T) sseEvent {
	t.Helper()
	var e sseEvent
	for r.lines.Scan() {
		name, value, _ := strings.Cut(r.lines.Text(), ": ")
		switch name {
		case "id":
			e.id = value
		case "event":
			e.name = value
		case "data":
			e.data = value
		case "":
			if value != "" {
				e.comment = value
			}
			if e != (sseEvent{}) {
				return e
			}
		case "retry":
		default:
			t.Fatalf("the stream has the line %q", r.lines.Text())
		}
	}
	return e
}

func publishNodes(bus *events.Bus, ids ...string) {
	for _, id := range ids {
		bus.Publish(events.Event{Type: events.Updated, Node: &node.Node{ID: id, State: node.Online}})
	}
}

func TestEventsOverHTTP(t *testing.T) {
	h := newHarness(t, settings{busSize: 8})
	r := h.watchEvents(t, "/api/events")
	publishNodes(h.bus, "a", "b")
	h.bus.Publish(events.Event{Type: events.Removed, Deployment: &model.Deployment{Name: "gone"}})
	h.bus.Publish(events.Event{Type: events.Updated, Log: &events.LogProgress{JobID: "j", Attempt: 2, StdoutLines: 7}})
	first := r.next(t)
	var e struct {
		ID, Type, Time string
		Node           struct{ ID, State string }
	}
	if err := json.Unmarshal([]byte(first.data), &e); err != nil {
		t.Fatal(err)
	}
	if first.name != "node" || e.ID != first.id || e.Type != "EVENT_TYPE_UPDATED" || e.Node.ID != "a" || e.Node.State != "NODE_STATE_ONLINE" || e.Time == "" {
		t.Errorf("the first event is %+v", first)
	}
	if e := r.next(t); e.name != "node" {
		t.Errorf("the second event is %+v", e)
	}
	if e := r.next(t); e.name != "deployment" || !strings.Contains(e.data, `"EVENT_TYPE_REMOVED"`) || !strings.Contains(e.data, `"gone"`) {
		t.Errorf("the third event is %+v", e)
	}
	if e := r.next(t); e.name != "log" || !strings.Contains(e.data, `"stdoutLines":"7"`) {
		t.Errorf("the fourth event is %+v", e)
	}

	for name, sent := range map[string]events.Event{
		"queue":    {Type: events.Updated, Queue: &dispatch.QueueStatus{Queue: job.NewQueue("night"), Queued: 3}},
		"schedule": {Type: events.Removed, Schedule: &schedule.Schedule{Name: "night"}},
		"job":      {Type: events.Removed, Job: &job.Job{ID: "night"}},
	} {
		after := h.watchEvents(t, "/api/events")
		h.bus.Publish(sent)
		if e := after.next(t); e.name != name || !strings.Contains(e.data, `"night"`) || strings.Contains(e.data, "REMOVED") != (sent.Type == events.Removed) {
			t.Errorf("a change of a %s is told as %+v", name, e)
		}
		after.close()
	}

	for _, resume := range []func() *sseReader{
		func() *sseReader { return h.watchEvents(t, "/api/events", "Last-Event-ID: "+first.id) },
		func() *sseReader { return h.watchEvents(t, "/api/events?lastEventId="+first.id) },
	} {
		again := resume()
		if e := again.next(t); e.name != "node" || !strings.Contains(e.data, `"b"`) {
			t.Errorf("resumed with %+v", e)
		}
		again.close()
	}

	for i := range 10 { // more than the bus keeps
		publishNodes(h.bus, fmt.Sprint("n", i))
	}
	for _, id := range []string{first.id, "from-another-life"} {
		late := h.watchEvents(t, "/api/events", "Last-Event-ID: "+id)
		if e := late.next(t); e.name != "reset" || !strings.Contains(e.data, "EVENT_TYPE_RESET") || e.id == "" {
			t.Errorf("after %s the stream goes on with %+v", id, e)
		}
		late.close()
	}
}

// TestNobodyStartsOverForAnArray: who follows, however slowly, is told of every
// job of the largest array.
func TestNobodyStartsOverForAnArray(t *testing.T) {
	h := newHarness(t, settings{})
	subscription := h.bus.Subscribe("")
	defer subscription.Close()
	h.submit(t, fmt.Sprintf(`{"count":%d,"spec":{"container":{"image":"alpine"}}}`, job.MaxArray))
	for n := range job.MaxArray {
		e, err := subscription.Next(t.Context())
		if err != nil || e.Job == nil || e.Job.ArrayIndex != n {
			t.Fatalf("event %d is %+v, %v", n, e, err)
		}
	}
}

func TestEventStreamKeepsAlive(t *testing.T) {
	h := newHarness(t, settings{keepAlive: time.Millisecond})
	r := h.watchEvents(t, "/api/events")
	for range 3 {
		if e := r.next(t); e.comment != "keep-alive" {
			t.Fatalf("an idle stream says %+v", e)
		}
	}
}

func TestStreamsEndWithTheServer(t *testing.T) {
	h := newHarness(t, settings{})
	r := h.watchEvents(t, "/api/events")
	stream, err := orchionv1.NewEventsClient(h.conn).WatchEvents(t.Context(), &orchionv1.WatchEventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Header(); err != nil { // subscribed
		t.Fatal(err)
	}
	publishNodes(h.bus, "a")
	if e, err := stream.Recv(); err != nil || e.GetNode().GetId() != "a" {
		t.Fatalf("event over gRPC: %v, %v", e, err)
	}
	h.server.Close()
	_, err = stream.Recv()
	wantStatus(t, err, codes.Unavailable, "the orchestrator is shutting down")
	if e := r.next(t); e.name != "node" {
		t.Errorf("before the end comes %+v", e)
	}
	if e := r.next(t); e != (sseEvent{}) {
		t.Errorf("after the server closed comes %+v", e)
	}
}

func TestWatchersAreGivenUp(t *testing.T) {
	h := newHarness(t, settings{})
	r := h.watchEvents(t, "/api/events")
	if got := h.bus.Subscribers(); got != 1 {
		t.Fatalf("%d subscribers", got)
	}
	r.close()
	h.http.Close() // waits for the handler
	if got := h.bus.Subscribers(); got != 0 {
		t.Errorf("%d subscribers after the only one left", got)
	}
}
