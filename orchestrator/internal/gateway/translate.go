package gateway

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/gateway/upstream"
	"github.com/orchion/orchion/orchestrator/internal/model"
)

// maxDocument bounds a whole answer that is translated.
const maxDocument = 64 << 20

// errUntranslatable says that an engine's answer is not what its API promises.
func errUntranslatable(route model.Route, err error) *apiError {
	return errEngine(fmt.Sprintf("the engine on node %s answered what cannot be understood: %v", route.NodeID, err))
}

// translateDocument answers with a whole answer, translated.
func (g *Gateway) translateDocument(w http.ResponseWriter, r *http.Request, c *call, route model.Route, res *upstream.Response, t translation) {
	body, err := io.ReadAll(io.LimitReader(res.Body, maxDocument+1))
	if err == nil && len(body) > maxDocument {
		err = fmt.Errorf("more than %d MiB", maxDocument>>20)
	}
	if err != nil {
		g.brokeOff(r, c, route, err)
		if r.Context().Err() == nil {
			c.fail(w, errBrokeOff(route))
		}
		return
	}
	c.usage.note(body)
	answer, err := t.document(body)
	if err != nil {
		g.brokeOff(r, c, route, err)
		c.fail(w, errUntranslatable(route, err))
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(answer)))
	w.WriteHeader(res.StatusCode)
	c.wrote = time.Now()
	_, err = w.Write(answer) // a client that left needs no answer
	c.whole = err == nil
}

// translateStream passes a stream on event by event.
func (g *Gateway) translateStream(w http.ResponseWriter, r *http.Request, c *call, route model.Route, res *upstream.Response, t translation) {
	c.usage.framing = serverSentEvents
	streamHeaders(w.Header(), t.streamType())
	w.WriteHeader(res.StatusCode)
	err := g.translateEvents(w, c, newEventReader(res.Body), t)
	c.whole = err == nil
	if c.whole || errors.Is(err, errClientWrite) || r.Context().Err() != nil {
		return
	}
	g.brokeOff(r, c, route, err)
	if t, ok := t.(failing); ok {
		_, _ = w.Write(t.fail(nil, errBrokeOff(route))) // the client may have left, too
		_ = http.NewResponseController(w).Flush()       // the end of the answer flushes as well
		return
	}
	g.endWithError(w, c, nil, errBrokeOff(route))
}

func (g *Gateway) translateEvents(w http.ResponseWriter, c *call, events *eventReader, t translation) error {
	controller := http.NewResponseController(w)
	var out []byte
	flush := func() error {
		if len(out) == 0 {
			return nil
		}
		if c.wrote.IsZero() {
			c.wrote = time.Now()
		}
		if _, err := w.Write(out); err != nil {
			return fmt.Errorf("%w: %w", errClientWrite, err)
		}
		if err := controller.Flush(); err != nil {
			return fmt.Errorf("%w: %w", errClientWrite, err)
		}
		out = out[:0]
		return nil
	}
	for done := false; ; {
		data, err := events.next()
		if errors.Is(err, io.EOF) || err != nil && done {
			if out, err = t.end(out); err != nil {
				return errors.Join(err, flush())
			}
			return flush()
		}
		if err != nil {
			return errors.Join(err, flush())
		}
		c.usage.event(data)
		done = done || string(data) == "[DONE]"
		if out, err = t.event(out, data); err != nil {
			return errors.Join(err, flush())
		}
		if !events.buffered() {
			if err := flush(); err != nil {
				return err
			}
		}
	}
}
