package gateway

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/gateway/meter"
	"github.com/orchion/orchion/orchestrator/internal/model"
	"github.com/orchion/orchion/orchestrator/internal/store/memory"
)

const helloClaude = `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}`

func (r *rig) messages(t *testing.T, body string) *http.Response {
	t.Helper()
	return r.do(t, http.MethodPost, messagesPath, body, "Content-Type", "application/json", "Anthropic-Version", "2023-06-01", "X-Api-Key", "none")
}

func checkAnthropicError(t *testing.T, res *http.Response, status int, kind, message string) {
	t.Helper()
	body := readAll(t, res)
	var got struct {
		Type      string
		Error     struct{ Type, Message string }
		RequestID string `json:"request_id"`
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatalf("no error of Anthropic's shape: %s", body)
	}
	if res.StatusCode != status || got.Type != "error" || got.Error.Type != kind || got.Error.Message != message {
		t.Errorf("answered %s: %s\nwant %d, %s, %s", res.Status, body, status, kind, message)
	}
	if id := res.Header.Get("Request-Id"); id == "" || id != got.RequestID || id != res.Header.Get("X-Request-Id") {
		t.Errorf("the request's id is %q in the header and %q in the body", id, got.RequestID)
	}
}

func TestAnthropicTranslated(t *testing.T) {
	m, err := meter.New(meter.Config{Store: memory.New()})
	if err != nil {
		t.Fatal(err)
	}
	var got, header atomic.Value
	answer, kind := "", "application/json"
	r := newRig(t, Config{Routes: vllmRoute, Meter: m}, map[string]http.Handler{"n1": http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		data, _ := io.ReadAll(req.Body)
		got.Store(req.URL.Path + " " + string(data))
		header.Store(req.Header.Get("X-Api-Key"))
		w.Header().Set("Content-Type", kind)
		io.WriteString(w, answer)
	})})
	answer = `{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":4}}`
	res := r.messages(t, helloClaude)
	body := readAll(t, res)
	if want := `"type":"message","role":"assistant","model":"m","content":[{"text":"Hi","type":"text"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":4,`; !strings.Contains(body, want) ||
		!strings.HasPrefix(body, `{"id":"msg_`) || res.Header.Get("X-Orchion-Node") != "n1" {
		t.Errorf("answered %v\n%s\nwant %s", res.Header, body, want)
	}
	if want := `/v1/chat/completions {"model":"org/m","messages":[{"role":"user","content":"hi"}],"max_tokens":9}`; got.Load() != want || header.Load() != "" {
		t.Errorf("the engine got\n%s, key %q\nwant\n%s", got.Load(), header.Load(), want)
	}
	calls, _ := m.Recent(meter.Filter{Limit: 1})
	if c := calls[0].Call; c.TokensIn != 3 || c.TokensOut != 4 || c.Endpoint != messagesPath {
		t.Errorf("metered as %+v", c)
	}

	answer, kind = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\ndata: {\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}]}\n\n"+
		"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\ndata: [DONE]\n\n", "text/event-stream"
	streaming := strings.Replace(helloClaude, `"max_tokens"`, `"stream":true,"max_tokens"`, 1)
	res = r.messages(t, streaming)
	body = readAll(t, res)
	if !strings.HasPrefix(body, "event: message_start\n") || !strings.Contains(body, `"stop_reason":"max_tokens"`) ||
		!strings.HasSuffix(body, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n") || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		t.Errorf("streamed %v\n%s", res.Header, body)
	}
	answer = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n"
	const broke = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"the engine on node n1 broke off its answer\"}}\n\n"
	if body := readAll(t, r.messages(t, streaming)); !strings.HasSuffix(body, "\n\n"+broke) || strings.Contains(body, "message_stop") {
		t.Errorf("a stream that was cut is\n%s", body)
	}
	answer, kind = "<html>", "text/html"
	checkAnthropicError(t, r.messages(t, helloClaude), 502, "api_error", "the engine on node n1 answered text/html, as a web site does")
}

func TestAnthropicErrors(t *testing.T) {
	r := newRig(t, Config{Routes: vllmRoute}, nil)
	checkAnthropicError(t, r.messages(t, `{"model":"m",`), 400, "invalid_request_error", "invalid JSON at byte 13: expected a key in double quotes (the body ends here)")
	checkAnthropicError(t, r.messages(t, `{"model":"m","messages":[]}`), 400, "invalid_request_error", "max_tokens is required")
	checkAnthropicError(t, r.messages(t, strings.Replace(helloClaude, `"m"`, `"nope"`, 1)), 404, "not_found_error", `the model "nope" does not exist; there is "m"`)
	checkAnthropicError(t, r.messages(t, helloClaude), 503, "overloaded_error", "node n1 is not connected")
	checkAnthropicError(t, r.do(t, http.MethodGet, messagesPath, ""), 405, "invalid_request_error", "/v1/messages takes POST, not GET")
	checkAnthropicError(t, r.do(t, http.MethodGet, "/v1/models/nope", "", "Anthropic-Version", "2023-06-01"), 404, "not_found_error", `the model "nope" does not exist; there is "m"`)
}

func TestAnthropicCountsTokens(t *testing.T) {
	r := newRig(t, Config{Routes: vllmRoute}, map[string]http.Handler{"n1": http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if req.URL.Path != "/tokenize" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		io.WriteString(w, `{"count":12,"max_model_len":99,"tokens":[1]}`)
	})})
	const count = `{"model":"m","messages":[{"role":"user","content":"hello world"}]}`
	res := r.do(t, http.MethodPost, countPath, count)
	if body := readAll(t, res); body != `{"input_tokens":12}` || res.Header.Get("X-Orchion-Token-Count") != "engine" {
		t.Errorf("counted %s, %v", body, res.Header)
	}
	r = newRig(t, Config{Routes: oneRoute}, nil)
	res = r.do(t, http.MethodPost, countPath, count)
	if body := readAll(t, res); body != `{"input_tokens":7}` || res.Header.Get("X-Orchion-Token-Count") != "estimated" || res.Header.Get("Content-Type") != "application/json" {
		t.Errorf("estimated %s, %v", body, res.Header)
	}
	checkAnthropicError(t, r.do(t, http.MethodPost, countPath, strings.Replace(count, `"m"`, `"nope"`, 1)), 404, "not_found_error", `the model "nope" does not exist; there is "m"`)
}

func TestAnthropicModels(t *testing.T) {
	r := newRig(t, Config{Routes: fixedRoutes{{Model: "a", NodeID: "n1"}, {Model: "b", NodeID: "n1"}}}, nil)
	const a = `{"type":"model","id":"a","display_name":"a","created_at":"1970-01-01T00:00:00Z"}`
	const b = `{"type":"model","id":"b","display_name":"b","created_at":"1970-01-01T00:00:00Z"}`
	if got, want := readAll(t, r.do(t, http.MethodGet, "/v1/models", "", "Anthropic-Version", "2023-06-01")), `{"data":[`+a+`,`+b+`],"has_more":false,"first_id":"a","last_id":"b"}`; got != want {
		t.Errorf("listed\n%s\nwant\n%s", got, want)
	}
	if got := readAll(t, r.do(t, http.MethodGet, "/v1/models/a", "", "Anthropic-Version", "2023-06-01")); got != a {
		t.Errorf("got %s, want %s", got, a)
	}
	if got, want := anthropicModelOf(model.ModelInfo{ID: "x", Created: time.Unix(5, 7)}).CreatedAt, time.Unix(5, 0).UTC(); !got.Equal(want) {
		t.Errorf("made at %v, want %v", got, want)
	}
}
