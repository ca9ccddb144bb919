package gateway

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/gateway/anthropic"
	"github.com/orchion/orchion/orchestrator/internal/model"
)

const (
	messagesPath = "/v1/messages"
	countPath    = "/v1/messages/count_tokens"
	// headerAnthropic is in every request of Anthropic's clients.
	headerAnthropic = "Anthropic-Version"
	// headerCounted says where a number of tokens comes from.
	headerCounted = "X-Orchion-Token-Count"
	engineVLLM    = "vllm"
)

// anthropicAPI is the dialect of Anthropic's paths.
type anthropicAPI struct{}

func (anthropicAPI) writeError(w http.ResponseWriter, e *apiError) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	id := h.Get("X-Request-Id")
	h.Set("Request-Id", id) // as Anthropic's clients look for it
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((e.RetryAfter+time.Second-1)/time.Second)))
	}
	body := anthropic.Error(e.Status, e.Message, id)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(e.Status)
	_, _ = w.Write(body) // a client that left needs no answer
}

func (anthropicAPI) streamError(sent []byte, e *apiError) []byte {
	event := anthropic.ErrorEvent(e.Status, e.Message)
	if len(sent) > 0 && !bytes.HasSuffix(sent, []byte("\n\n")) {
		return append([]byte("\n\n"), event...)
	}
	return event
}

func (anthropicAPI) whole(tail []byte) bool {
	return bytes.Contains(tail, []byte("event: message_stop\n")) || bytes.Contains(tail, []byte("event: error\n"))
}

func anthropicEndpoints() []*endpoint {
	return []*endpoint{
		{path: messagesPath, dialect: anthropicAPI{}, understand: understandAnthropic},
		{path: countPath, dialect: anthropicAPI{}, understand: understandAnthropic},
	}
}

// anthropicCall is a request to one of Anthropic's endpoints. Engines get it in OpenAI's
// words, which all of them speak.
type anthropicCall struct {
	path    string
	id      string
	body    []byte
	field   modelField
	request *anthropic.Request
}

func understandAnthropic(path string, r *http.Request, body []byte) (request, error) {
	field, err := findModel(body)
	if err != nil {
		return nil, err
	}
	parsed, err := anthropic.Parse(body, path == countPath)
	if err != nil {
		if wrong := new(anthropic.FieldError); errors.As(err, &wrong) {
			return nil, &fieldError{What: wrong.Error(), Field: wrong.Field}
		}
		return nil, err
	}
	return &anthropicCall{path: path, id: strings.ReplaceAll(requestIDOf(r.Context()), "-", ""), body: body, field: field, request: parsed}, nil
}

func (a *anthropicCall) asked() string { return a.field.Name }

func (a *anthropicCall) text() []byte { return a.body[a.field.TextStart:a.field.TextEnd] }

func (a *anthropicCall) prepare(route model.Route) (prepared, *apiError) {
	target := anthropic.Target{Model: servedName(route, a.field.Name), Extended: route.Engine == engineVLLM}
	out := prepared{path: "/v1/chat/completions", contentType: "application/json"}
	var err error
	if a.path == countPath {
		out.path, out.answer = "/tokenize", countAnswer{}
		out.body, err = a.request.Tokenize(target)
	} else {
		out.answer = anthropicAnswer{anthropic.NewAnswer(a.request, a.id)}
		out.body, err = a.request.Chat(target)
	}
	if err != nil {
		return prepared{}, errBadRequest(err, "")
	}
	return out, nil
}

// answerItself counts tokens where no engine does.
func (a *anthropicCall) answerItself(g *Gateway, w http.ResponseWriter, _ *http.Request, c *call) bool {
	if a.path != countPath {
		return false
	}
	routes := g.resolve(a.field.Name)
	if len(routes) == 0 {
		return false // and there is an error for it
	}
	for _, route := range routes {
		if route.Engine != engineVLLM {
			c.model = routes[0].Model
			w.Header().Set(headerCounted, "estimated")
			data := anthropic.Count(a.request.Estimate())
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", strconv.Itoa(len(data)))
			w.WriteHeader(http.StatusOK)
			_, _ = w.Write(data) // a client that left needs no answer
			return true
		}
	}
	w.Header().Set(headerCounted, "engine")
	return false
}

// anthropicAnswer is a translation into Anthropic's words.
type anthropicAnswer struct{ *anthropic.Answer }

func (a anthropicAnswer) document(body []byte) ([]byte, error)   { return a.Document(body) }
func (a anthropicAnswer) streamType() string                     { return "text/event-stream; charset=utf-8" }
func (a anthropicAnswer) event(dst, data []byte) ([]byte, error) { return a.Event(dst, data) }
func (a anthropicAnswer) end(dst []byte) ([]byte, error)         { return a.End(dst) }

// countAnswer is a number of tokens, which no engine streams.
type countAnswer struct{}

var errStreamedCount = errors.New("it is a stream")

func (countAnswer) document(body []byte) ([]byte, error) { return anthropic.Counted(body) }
func (countAnswer) streamType() string                   { return "text/event-stream" }
func (countAnswer) event(dst, _ []byte) ([]byte, error)  { return dst, errStreamedCount }
func (countAnswer) end(dst []byte) ([]byte, error)       { return dst, errStreamedCount }

// anthropicModel is a model as Anthropic lists it.
type anthropicModel struct {
	Type        string    `json:"type"`
	ID          string    `json:"id"`
	DisplayName string    `json:"display_name"`
	CreatedAt   time.Time `json:"created_at"`
}

func anthropicModelOf(info model.ModelInfo) anthropicModel {
	m := anthropicModel{Type: "model", ID: info.ID, DisplayName: info.ID, CreatedAt: time.Unix(0, 0).UTC()}
	if !info.Created.IsZero() {
		m.CreatedAt = info.Created.UTC().Truncate(time.Second)
	}
	return m
}

// anthropicModels lists all models on one page.
func anthropicModels(infos []model.ModelInfo) any {
	list := struct {
		Data    []anthropicModel `json:"data"`
		HasMore bool             `json:"has_more"`
		FirstID *string          `json:"first_id"`
		LastID  *string          `json:"last_id"`
	}{Data: []anthropicModel{}}
	for _, info := range infos {
		list.Data = append(list.Data, anthropicModelOf(info))
	}
	if n := len(list.Data); n > 0 {
		list.FirstID, list.LastID = &list.Data[0].ID, &list.Data[n-1].ID
	}
	return list
}
