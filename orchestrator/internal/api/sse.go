package api

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/orchion/orchion/orchestrator/internal/events"
	"github.com/orchion/orchion/orchestrator/internal/fault"
)

// writeTimeout is how long a client may take to accept a part of a stream
// before it is given up.
const writeTimeout = 30 * time.Second

// sse writes Server-Sent Events
// (https://html.spec.whatwg.org/multipage/server-sent-events.html).
type sse struct {
	w   http.ResponseWriter
	buf bytes.Buffer
}

// newSSE sends the headers; from then on only events can be sent.
func newSSE(w http.ResponseWriter) *sse {
	streamHeaders(w, "text/event-stream")
	s := &sse{w: w}
	// How long a browser waits before it connects again, in milliseconds.
	s.buf.WriteString("retry: 2000\n\n")
	return s
}

// streamHeaders begins an answer that is sent bit by bit.
func streamHeaders(w http.ResponseWriter, contentType string) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would collect it
	w.WriteHeader(http.StatusOK)
}

// event adds an event; an empty id leaves the reader's last id as it is.
func (s *sse) event(id, name string, data []byte) {
	if id != "" {
		s.field("id", id)
	}
	s.field("event", name)
	s.buf.WriteString("data: ")
	s.buf.Write(data) // JSON without newlines
	s.buf.WriteString("\n\n")
}

func (s *sse) message(id, name string, m proto.Message) error {
	data, err := encodeJSON(m)
	if err != nil {
		return err
	}
	s.event(id, name, data)
	return nil
}

func (s *sse) field(name, value string) {
	s.buf.WriteString(name)
	s.buf.WriteString(": ")
	s.buf.WriteString(value)
	s.buf.WriteByte('\n')
}

func (s *sse) comment(text string) { s.buf.WriteString(": " + text + "\n\n") }

// flush sends what was added.
func (s *sse) flush() error {
	defer s.buf.Reset()
	return sendNow(s.w, s.buf.Bytes())
}

// sendNow writes and does not wait for more. Not every ResponseWriter knows
// deadlines; those that do not are tests'.
func sendNow(w http.ResponseWriter, data []byte) error {
	controller := http.NewResponseController(w)
	_ = controller.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := w.Write(data); err != nil {
		return err
	}
	return controller.Flush()
}

// eventStream serves /api/events.
type eventStream struct {
	cfg   *Config
	until func(context.Context) (context.Context, context.CancelFunc)
}

func (h *eventStream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := checkParameters(r.URL.Query(), []string{"lastEventId"}); err != nil {
		writeError(w, err)
		return
	}
	after := r.Header.Get("Last-Event-ID")
	for _, name := range []string{"lastEventId", "last_event_id"} {
		if after == "" {
			after = r.URL.Query().Get(name)
		}
	}
	if len(after) > maxEventID {
		writeError(w, fault.BadField("lastEventId", "has %d characters; at most %d are allowed", len(after), maxEventID))
		return
	}
	if r.Method == http.MethodHead {
		streamHeaders(w, "text/event-stream")
		return
	}
	ctx, cancel := h.until(r.Context())
	defer cancel()
	subscription := h.cfg.Events.Subscribe(after)
	defer subscription.Close()
	out := newSSE(w)
	out.comment("connected")
	// A client that has gone away is no fault, and there is nobody to tell.
	_ = h.copyEvents(ctx, out, subscription)
}

func (h *eventStream) copyEvents(ctx context.Context, out *sse, subscription *events.Subscription) error {
	if err := out.flush(); err != nil {
		return err
	}
	for {
		e, err := nextWithin(ctx, subscription, h.cfg.KeepAlive)
		switch {
		case errors.Is(err, errIdle):
			out.comment("keep-alive")
		case err != nil:
			return err
		default:
			if err := out.message(e.ID, eventName(&e), h.cfg.eventToProto(&e)); err != nil {
				return err
			}
		}
		if err := out.flush(); err != nil {
			return err
		}
	}
}

// errIdle says that nothing has happened for a while.
var errIdle = errors.New("no event")

// nextWithin waits a bounded time for an event.
func nextWithin(ctx context.Context, subscription *events.Subscription, wait time.Duration) (events.Event, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, wait, errIdle)
	defer cancel()
	e, err := subscription.Next(ctx)
	if err != nil && errors.Is(context.Cause(ctx), errIdle) {
		return e, errIdle
	}
	return e, err
}
