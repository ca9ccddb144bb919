package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/gateway/responses"
	"github.com/orchion/orchion/orchestrator/internal/gateway/upstream"
	"github.com/orchion/orchion/orchestrator/internal/model"
)

const (
	chatPath      = "/v1/chat/completions"
	responsesPath = "/v1/responses"
)

// responsesCall is a request to OpenAI's Responses. Engines that have it get it as it came;
// the others, once they have said that they do not, get a chat completion.
type responsesCall struct {
	passing

	id     string
	lack   *lacks
	native bool               // what was prepared last is the client's own words
	parsed *responses.Request // nil: nobody had to look into it yet
}

func (g *Gateway) understandResponses(path string, r *http.Request, body []byte) (request, error) {
	field, err := findModel(body)
	if err != nil {
		return nil, err
	}
	return &responsesCall{
		passing: passing{path: path, contentType: "application/json", body: body, field: field, replace: replaceModel},
		id:      strings.ReplaceAll(requestIDOf(r.Context()), "-", ""), lack: &g.lacks,
	}, nil
}

func (c *responsesCall) prepare(route model.Route) (prepared, *apiError) {
	if c.native = !c.lack.has(keyOf(route)); c.native {
		return c.passing.prepare(route)
	}
	if c.parsed == nil {
		parsed, err := responses.Parse(c.body)
		if err != nil {
			return prepared{}, errResponses(err)
		}
		c.parsed = parsed
	}
	body, err := c.parsed.Chat(responses.Target{Model: servedName(route, c.field.Name), ChoosesItself: route.Engine == engineOllama})
	if err != nil {
		return prepared{}, errResponses(err)
	}
	return prepared{
		path: chatPath, contentType: "application/json", body: body,
		answer: responsesAnswer{responses.NewAnswer(c.parsed, c.id, time.Now())},
	}, nil
}

func errResponses(err error) *apiError {
	param := ""
	if wrong := new(responses.FieldError); errors.As(err, &wrong) {
		param = wrong.Field
	}
	return errBadRequest(err, param)
}

// lacking has what was just sent to a route's engine be prepared in other words from now on,
// unless it was already.
func (c *responsesCall) lacking(route model.Route) bool {
	if c.native {
		c.lack.note(keyOf(route))
	}
	return c.native
}

// responsesAnswer is a translation into the words of responses.
type responsesAnswer struct{ *responses.Answer }

func (a responsesAnswer) document(body []byte) ([]byte, error)   { return a.Document(body) }
func (a responsesAnswer) streamType() string                     { return "text/event-stream; charset=utf-8" }
func (a responsesAnswer) event(dst, data []byte) ([]byte, error) { return a.Event(dst, data) }
func (a responsesAnswer) end(dst []byte) ([]byte, error)         { return a.End(dst) }

func (a responsesAnswer) fail(dst []byte, e *apiError) []byte {
	return a.Fail(dst, responses.Failure{Code: e.Code, Message: e.Message, Type: e.Type})
}

// lacks remembers which engines have no Responses, so that they are not asked for it each time.
type lacks struct {
	mu    sync.Mutex
	until map[upstream.Key]time.Time // when an engine is asked again; guarded by mu
}

const (
	// lackFor is how long it is remembered: an engine that is somebody else's may be updated.
	lackFor = 10 * time.Minute
	// maxLacks bounds the engines that are remembered.
	maxLacks = 4096
)

func (l *lacks) has(key upstream.Key) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	until, ok := l.until[key]
	return ok && time.Now().Before(until)
}

func (l *lacks) note(key upstream.Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.until == nil || len(l.until) >= maxLacks {
		l.until = make(map[upstream.Key]time.Time)
	}
	l.until[key] = time.Now().Add(lackFor)
}

// storedResponse answers for what can be done with a response that is kept.
func (g *Gateway) storedResponse(w http.ResponseWriter, r *http.Request) {
	id, rest := r.PathValue("id"), r.PathValue("rest")
	switch {
	case r.Method == http.MethodPost && rest == "cancel":
	case rest == "" && (r.Method == http.MethodGet || r.Method == http.MethodDelete):
	case r.Method == http.MethodGet && rest == "input_items":
	default:
		g.unknownPath(w, r)
		return
	}
	if len(id) > maxModelName {
		id = strings.ToValidUTF8(id[:maxModelName], "") + "..."
	}
	writeError(w, &apiError{
		Status: http.StatusNotFound, Type: typeInvalidRequest, Param: "response_id", Code: "response_not_found",
		Message: fmt.Sprintf("there is no response %q: the gateway keeps none; send what was said before as input", id),
	})
}
