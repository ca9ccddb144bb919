package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/orchion/orchion/orchestrator/internal/gateway/upstream"
	"github.com/orchion/orchion/orchestrator/internal/model"
	"github.com/orchion/orchion/shared/plantedbug"
)

// passedResponseHeaders are those of an engine's answer that reach the client.
// Connection headers belong to the hop, and CORS headers are the orchestrator's.
var passedResponseHeaders = [...]string{
	"Content-Type", "Content-Encoding", "Content-Length", "Cache-Control", "Retry-After",
	"Openai-Processing-Ms", "X-Ratelimit-Limit-Requests", "X-Ratelimit-Remaining-Requests",
}

// relay passes an engine's answer to the client, translated if t is not nil.
func (g *Gateway) relay(w http.ResponseWriter, r *http.Request, c *call, route model.Route, res *upstream.Response, t translation) {
	kind := mediaType(res.Header.Get("Content-Type"))
	stream := kind == "text/event-stream" || kind == "application/x-ndjson"
	c.streamed = stream
	switch {
	case res.StatusCode >= http.StatusBadRequest:
		c.fail(w, g.relayedError(res, kind, route, c.endpoint.path))
	case kind == "text/html":
		c.fail(w, errNotAnAPI(route, kind))
	case c.record.begun && !stream:
		g.brokeOff(r, c, route, errNoStream)
		c.fail(w, errEngine(fmt.Sprintf("the engine on node %s answered %s where a stream was asked for", route.NodeID, kind)))
	case t != nil && stream:
		g.translateStream(w, r, c, route, res, t)
	case t != nil:
		g.translateDocument(w, r, c, route, res, t)
	default:
		g.passOn(w, r, c, route, res, kind, stream)
	}
}

var errNoStream = errors.New("no stream")

// passOn passes an engine's answer to the client byte for byte.
func (g *Gateway) passOn(w http.ResponseWriter, r *http.Request, c *call, route model.Route, res *upstream.Response, kind string, stream bool) {
	var held []byte
	if kind == "application/json" {
		var release func()
		var err error
		held, release, err = holdBack(res.Body)
		defer release()
		if err != nil {
			g.brokeOff(r, c, route, err)
			if r.Context().Err() == nil {
				c.fail(w, errBrokeOff(route))
			}
			return
		}
	}
	h := w.Header()
	for _, name := range passedResponseHeaders {
		if values := res.Header.Values(name); len(values) > 0 {
			h[name] = values
		}
	}
	if res.Body.Ended() && res.ContentLength < 0 && kind == "application/json" {
		h["Content-Length"] = []string{strconv.Itoa(len(held))}
	}
	if stream {
		c.usage.framing = framingOf(kind)
		streamHeaders(h, res.Header.Get("Content-Type"))
	}
	w.WriteHeader(res.StatusCode)
	cut := cutter{framing: c.usage.framing}
	err := g.copyBody(w, c, held, res.Body, &cut, stream || res.ContentLength < 0)
	if err == nil && stream && (res.EndsWithConnection || c.endpoint.saysWhole) {
		err = io.ErrUnexpectedEOF // unless it is whole
	}
	if rest := cut.rest(); len(rest) > 0 && (err == nil || c.endpoint.whole(rest)) {
		c.usage.note(rest)
		if _, writeErr := w.Write(rest); writeErr != nil {
			err = fmt.Errorf("%w: %w", errClientWrite, writeErr)
		}
	}
	// Of a stream only the end of the connection's framing may be missing, which is the
	// hop's affair.
	c.whole = err == nil || stream && !errors.Is(err, errClientWrite) && c.endpoint.whole(c.usage.tail)
	if c.whole || r.Context().Err() != nil {
		return
	}
	g.brokeOff(r, c, route, err)
	if !stream {
		// The status is out; only a broken connection can still say it.
		panic(http.ErrAbortHandler)
	}
	if plantedbug.On(plantedbug.LooksWhole) {
		return
	}
	g.endWithError(w, c, c.usage.tail, errBrokeOff(route))
}

// streamHeaders are those of an answer that comes piece by piece.
func streamHeaders(h http.Header, contentType string) {
	h.Del("Content-Length")
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no")
}

// brokeOff notes that an engine broke off its answer.
func (g *Gateway) brokeOff(r *http.Request, c *call, route model.Route, err error) {
	if r.Context().Err() != nil {
		return // because the client left
	}
	c.broken = true
	g.log.WarnContext(r.Context(), "engine broke off its answer", "node_id", route.NodeID,
		"replica_id", route.ReplicaID, "model", route.Model, "error", err,
		"request_id", requestIDOf(r.Context()))
}

func errBrokeOff(route model.Route) *apiError {
	return errEngine(fmt.Sprintf("the engine on node %s broke off its answer", route.NodeID))
}

// heldBack is how much of a plain answer is read before any of it goes out.
const heldBack = 64 << 10

// heldBuffers are for what is held back.
var heldBuffers = sync.Pool{New: func() any { return new([]byte) }}

// holdBack reads the beginning of a plain answer, most often all of it, so that
// one that breaks off there can still become an error with a status. What it gives
// is valid until release, and until more of the body is read.
func holdBack(body *upstream.Body) (head []byte, release func(), err error) {
	release = func() {}
	head, err = body.Next()
	if err == nil && body.Ended() {
		return head, release, nil
	}
	buf := heldBuffers.Get().(*[]byte) //nolint:errcheck,forcetypeassert // only such are put there
	release = func() { heldBuffers.Put(buf) }
	*buf = append((*buf)[:0], head...)
	for err == nil && len(*buf) < heldBack {
		head, err = body.Next()
		*buf = append(*buf, head...)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, release, fmt.Errorf("read from the engine: %w", err)
	}
	return *buf, release, nil
}

// mediaType gives the media type of a Content-Type.
func mediaType(contentType string) string {
	switch contentType { // as nearly all engines write them
	case "application/json", "text/event-stream":
		return contentType
	case "application/json; charset=utf-8":
		return "application/json"
	case "text/event-stream; charset=utf-8":
		return "text/event-stream"
	}
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return ""
	}
	return kind
}

// errClientWrite says that the client takes no more.
var errClientWrite = errors.New("write to the client")

// copyBody copies an engine's body, of which held was read already; with flush every
// piece goes out as it comes. Of a stream, cut may hold back the end.
func (g *Gateway) copyBody(w http.ResponseWriter, c *call, held []byte, body *upstream.Body, cut *cutter, flush bool) error {
	var controller *http.ResponseController
	for piece, err := held, error(nil); ; piece, err = body.Next() {
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read from the engine: %w", err)
		}
		piece = cut.next(piece)
		if len(piece) == 0 {
			continue // nothing was held, or all of it is held back
		}
		if c.wrote.IsZero() {
			c.wrote = time.Now()
		}
		c.usage.note(piece)
		if _, err := w.Write(piece); err != nil {
			return fmt.Errorf("%w: %w", errClientWrite, err)
		}
		if flush && !body.Ended() {
			if controller == nil {
				controller = http.NewResponseController(w)
			}
			if err := controller.Flush(); err != nil {
				return fmt.Errorf("%w: %w", errClientWrite, err)
			}
		}
	}
}

// endWithError ends a stream with an error, in the words of the client's API.
// sent is the end of what the client got of it.
func (g *Gateway) endWithError(w http.ResponseWriter, c *call, sent []byte, e *apiError) {
	if _, err := w.Write(c.endpoint.streamError(sent, e)); err != nil {
		return // the client has left too
	}
	_ = http.NewResponseController(w).Flush() // the end of the answer flushes as well
}

// maxErrorBody bounds what is read of an engine's error.
const maxErrorBody = 64 << 10

// relayedError gives an engine's error in OpenAI's shape, with the engine's own
// words and status.
func (g *Gateway) relayedError(res *upstream.Response, kind string, route model.Route, path string) *apiError {
	data, err := io.ReadAll(io.LimitReader(res.Body, maxErrorBody))
	if err == nil && saysNoEndpoint(res.StatusCode, kind, data) {
		return errNoEndpoint(route, path)
	}
	e := &apiError{Status: res.StatusCode, Type: typeInvalidRequest, Code: "engine_error"}
	if res.StatusCode >= http.StatusInternalServerError {
		e.Type = typeServer
	}
	if seconds, parseErr := time.ParseDuration(res.Header.Get("Retry-After") + "s"); parseErr == nil {
		e.RetryAfter = min(max(seconds, 0), time.Hour)
	}
	if err == nil && readEngineError(data, e) {
		return e
	}
	text := ""
	if kind == "text/plain" || kind == "" {
		text = firstLine(data)
	}
	e.Message = fmt.Sprintf("the engine on node %s answered %d", route.NodeID, res.StatusCode)
	if text != "" {
		e.Message += ": " + text
	}
	return e
}

// readEngineError reads the shapes of errors that engines use: OpenAI's object,
// Ollama's string, vLLM's older flat object and FastAPI's detail.
func readEngineError(data []byte, e *apiError) bool {
	var body struct {
		Error   json.RawMessage `json:"error"`
		Message string          `json:"message"`
		Detail  json.RawMessage `json:"detail"`
	}
	if json.Unmarshal(data, &body) != nil {
		return false
	}
	var detail struct {
		Message string          `json:"message"`
		Type    string          `json:"type"`
		Param   any             `json:"param"`
		Code    json.RawMessage `json:"code"`
	}
	var text string
	switch {
	case json.Unmarshal(body.Error, &detail) == nil && detail.Message != "":
		e.Message = detail.Message
		if detail.Type != "" {
			e.Type = detail.Type
		}
		if param, ok := detail.Param.(string); ok {
			e.Param = param
		}
		var code string
		if json.Unmarshal(detail.Code, &code) == nil && code != "" {
			e.Code = code
		}
	case json.Unmarshal(body.Error, &text) == nil && text != "":
		e.Message = text
	case body.Message != "":
		e.Message = body.Message
	case len(body.Detail) > 0 && string(body.Detail) != "null":
		e.Message = string(body.Detail)
	default:
		return false
	}
	return true
}

// firstLine gives the beginning of a text, for an error's message.
func firstLine(data []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(data)), "\n")
	line = strings.ToValidUTF8(strings.TrimSpace(line), "")
	const most = 200
	if len(line) > most {
		end := most
		for !utf8.RuneStart(line[end]) {
			end--
		}
		line = line[:end] + "..."
	}
	return line
}
