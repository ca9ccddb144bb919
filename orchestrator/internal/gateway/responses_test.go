package gateway

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/gateway/meter"
	"github.com/orchion/orchion/orchestrator/internal/gateway/upstream"
	"github.com/orchion/orchion/orchestrator/internal/store/memory"
)

// chatOnly is an engine that knows chat completions and no responses.
type chatOnly struct {
	answer, kind string // of a chat; empty kind: JSON

	mu    sync.Mutex // guards what follows
	paths []string   // that were asked for
	chats []string   // that were asked
}

func (e *chatOnly) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.paths = append(e.paths, r.URL.Path)
	if r.URL.Path != chatPath {
		http.NotFound(w, r)
		return
	}
	e.chats = append(e.chats, string(body))
	kind := e.kind
	if kind == "" {
		kind = "application/json"
	}
	w.Header().Set("Content-Type", kind)
	io.WriteString(w, e.answer)
}

func (e *chatOnly) asked() (paths, lastChat string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if n := len(e.chats); n > 0 {
		lastChat = e.chats[n-1]
	}
	return strings.Join(e.paths, " "), lastChat
}

func (r *rig) respond(t *testing.T, body string, headers ...string) *http.Response {
	t.Helper()
	return r.do(t, http.MethodPost, responsesPath, body, headers...)
}

const (
	saysHi    = `{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":4}}`
	streamsHi = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\ndata: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n" +
		"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\ndata: [DONE]\n\n"
)

func TestResponsesTranslated(t *testing.T) {
	m, err := meter.New(meter.Config{Store: memory.New()})
	if err != nil {
		t.Fatal(err)
	}
	engine := &chatOnly{answer: saysHi}
	r := newRig(t, Config{Routes: fixedRoutes{{Model: "m", ServedModel: "org/m", NodeID: "n1", ReplicaID: "r1", Engine: "vllm"}}, Meter: m}, map[string]http.Handler{"n1": engine})
	res := r.respond(t, `{"model":"m","input":"hi","instructions":"be kind"}`)
	body := readAll(t, res)
	if want := `"model":"m","output":[{"id":"msg_`; res.StatusCode != http.StatusOK || !strings.HasPrefix(body, `{"id":"resp_`) || !strings.Contains(body, want) ||
		!strings.Contains(body, `"store":false`) || res.Header.Get(headerNode) != "n1" || res.Header.Get("Content-Type") != "application/json" {
		t.Errorf("answered %s %v\n%s\nwant %s", res.Status, res.Header, body, want)
	}
	const chat = `{"model":"org/m","messages":[{"role":"system","content":"be kind"},{"role":"user","content":"hi"}]`
	if paths, got := engine.asked(); paths != responsesPath+" "+chatPath || got != chat+"}" {
		t.Errorf("the engine was asked for %s:\n%s\nwant\n%s", paths, got, chat)
	}
	calls, _ := m.Recent(meter.Filter{Limit: 1})
	if c := calls[0].Call; c.TokensIn != 3 || c.TokensOut != 4 || c.Endpoint != responsesPath || c.Status != http.StatusOK {
		t.Errorf("metered as %+v", c)
	}
	// What it lacks it is not asked for again.
	engine.answer, engine.kind = streamsHi, "text/event-stream"
	res = r.respond(t, `{"model":"m","input":"hi","instructions":"be kind","stream":true}`)
	body = readAll(t, res)
	if !strings.HasPrefix(body, "event: response.created\ndata: {") || !strings.Contains(body, "\nevent: response.completed\ndata: {") || strings.Contains(body, "DONE") ||
		res.Header.Get("Content-Type") != "text/event-stream; charset=utf-8" {
		t.Errorf("streamed %v\n%s", res.Header, body)
	}
	if paths, got := engine.asked(); paths != responsesPath+" "+chatPath+" "+chatPath || got != chat+`,"stream":true,"stream_options":{"include_usage":true}}` {
		t.Errorf("the engine was asked for %s:\n%s", paths, got)
	}
	calls, _ = m.Recent(meter.Filter{Limit: 1})
	if c := calls[0].Call; c.TokensIn != 3 || c.TokensOut != 4 || !c.Streamed || c.Broken {
		t.Errorf("metered as %+v", c)
	}
}

// What the engine calls an error, and how it breaks off, is told in the words of responses.
func TestResponsesThatFail(t *testing.T) {
	engine := &chatOnly{kind: "text/event-stream", answer: "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n"}
	r := newRig(t, Config{Routes: oneRoute}, map[string]http.Handler{"n1": engine})
	const ask = `{"model":"m","input":"hi","stream":true}`
	body := readAll(t, r.respond(t, ask))
	_, end, _ := strings.Cut(body, "event: response.failed\n")
	const broke = `"message":"the engine on node n1 broke off its answer"`
	if !strings.Contains(end, `"error":{"code":"server_error",`+broke+`}`) || !strings.Contains(end, `"text":"Hi"`) ||
		!strings.HasSuffix(end, `event: error`+"\n"+`data: {"type":"error","sequence_number":6,"code":"engine_failed",`+broke+`,"param":null,"error":{"code":"engine_failed",`+broke+`,"type":"server_error","param":null}}`+"\n\n") {
		t.Errorf("a stream that was cut is\n%s", body)
	}
	engine.answer = "data: {\"error\":{\"message\":\"out of memory\"}}\n\ndata: [DONE]\n\n"
	if body := readAll(t, r.respond(t, ask)); strings.Contains(body, "response.completed") || !strings.Contains(body, "event: error\n") {
		t.Errorf("a stream with an error is\n%s", body)
	}
	engine.answer, engine.kind = "<html>", "text/html"
	checkError(t, r.respond(t, ask), 502, "engine_failed", "", "the engine on node n1 answered text/html, as a web site does")
	engine.answer, engine.kind = "{}", ""
	checkError(t, r.respond(t, ask), 502, "engine_failed", "", "the engine on node n1 answered what cannot be understood: it has no choices")

	const refused = "previous_response_id cannot be used with this engine: no response is kept; send what was said before as input"
	checkError(t, r.respond(t, `{"model":"m","input":"hi","previous_response_id":"resp_1"}`), 400, "invalid_request", "previous_response_id", refused)
	checkError(t, r.respond(t, `{"model":"m","input":"hi","tools":[{"type":"function","name":"f"}],"tool_choice":"required"}`), 400, "invalid_request", "tool_choice",
		"tool_choice asks for a call, and this engine chooses itself; want auto or none")
	checkError(t, r.respond(t, `{"model":"m","input":`), 400, "invalid_request", "", "invalid JSON at byte 21: expected a value (the body ends here)")
	checkError(t, r.respond(t, `{"model":"nope","input":"hi"}`), 404, "model_not_found", "model", `the model "nope" does not exist; there is "m"`)
	if paths, _ := engine.asked(); strings.Count(paths, responsesPath) != 1 {
		t.Errorf("the engine was asked for %s", paths)
	}
}

// An engine that has responses gets and gives them byte for byte, errors as well.
func TestResponsesOfTheEngine(t *testing.T) {
	var status atomic.Int64
	status.Store(http.StatusOK)
	r := newRig(t, Config{Routes: oneRoute}, map[string]http.Handler{"n1": http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(int(status.Load()))
		if status.Load() != http.StatusOK {
			fmt.Fprintf(w, `{"error":{"message":"no model at %s","type":"NotFoundError","param":null,"code":404}}`, req.URL.Path)
			return
		}
		w.Write(body)
	})})
	const asked = `{"model":"m",  "input":"hi", "previous_response_id":"resp_1", "nonsense":[1]}`
	if got := readAll(t, r.respond(t, asked)); got != asked {
		t.Errorf("the engine got %s, want %s", got, asked)
	}
	status.Store(http.StatusNotFound)
	checkError(t, r.respond(t, asked), 404, "engine_error", "", "no model at /v1/responses")
	status.Store(http.StatusOK)
	if got := readAll(t, r.respond(t, asked)); got != asked {
		t.Errorf("afterwards the engine got %s, want %s", got, asked)
	}
}

// Where one replica has responses and another does not, what only the one can do goes there.
func TestResponsesGoWhereTheyCan(t *testing.T) {
	native := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.Copy(w, req.Body)
	})
	r := newRig(t, Config{Routes: fixedRoutes{
		{Model: "m", NodeID: "n1", ReplicaID: "r1", Engine: "ollama"}, {Model: "m", NodeID: "n2", ReplicaID: "r2", Engine: "vllm"},
	}}, map[string]http.Handler{"n1": &chatOnly{answer: saysHi}, "n2": native})
	const asked = `{"model":"m","input":"hi","previous_response_id":"resp_1"}`
	past := 0
	for range 6 {
		res := r.respond(t, asked)
		if got := readAll(t, res); got != asked || res.Header.Get(headerNode) != "n2" {
			t.Errorf("answered %s by %s: %s", res.Status, res.Header.Get(headerNode), got)
		}
		if strings.Contains(res.Header.Get(headerRouteReason), "before it, n1 cannot do what is asked") {
			past++
		}
	}
	if past == 0 {
		t.Error("the one that cannot was never asked first")
	}
}

// Requests that find out at the same time that an engine has no responses are all answered.
func TestResponsesAtOnce(t *testing.T) {
	const clients = 8
	engine := &chatOnly{answer: saysHi}
	all := make(chan struct{})
	var came atomic.Int64
	r := newRig(t, Config{Routes: oneRoute}, map[string]http.Handler{"n1": http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == responsesPath {
			if came.Add(1) == clients {
				close(all)
			}
			<-all
		}
		engine.ServeHTTP(w, req)
	})})
	var group sync.WaitGroup
	for range clients {
		group.Go(func() {
			res, err := r.client.Post(r.url+responsesPath, "application/json", strings.NewReader(`{"model":"m","input":"hi"}`))
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			if res.StatusCode != http.StatusOK {
				t.Errorf("answered %s", res.Status)
			}
		})
	}
	group.Wait()
}

func TestLacksAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lacks
		key := upstream.Key{NodeID: "n1", ReplicaID: "r1"}
		if l.has(key) {
			t.Error("nothing is known yet")
		}
		l.note(key)
		time.Sleep(lackFor - time.Second)
		if !l.has(key) || l.has(upstream.Key{NodeID: "n1", ReplicaID: "r2"}) {
			t.Error("it is not remembered, or of another")
		}
		time.Sleep(time.Second)
		if l.has(key) {
			t.Error("it is remembered for ever")
		}
		for i := range maxLacks + 1 {
			l.note(upstream.Key{NodeID: fmt.Sprint(i)})
		}
		if len(l.until) > maxLacks {
			t.Errorf("%d are remembered", len(l.until))
		}
	})
}

// TestResponsesTool has a function called and its result told, as an agent does.
func TestResponsesTool(t *testing.T) {
	engine := &chatOnly{kind: "text/event-stream", answer: `data: {"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c1","function":{"name":"f","arguments":"{\"x\":1}"}}]}}]}` + "\n\n" +
		`data: {"choices":[{"delta":{},"finish_reason":"tool_calls"}]}` + "\n\ndata: [DONE]\n\n"}
	r := newRig(t, Config{Routes: oneRoute}, map[string]http.Handler{"n1": engine})
	const tools = `"tools":[{"type":"function","name":"f","parameters":{"type":"object"},"strict":true}]`
	stream := readAll(t, r.respond(t, `{"model":"m","stream":true,"input":[{"role":"user","content":"go"}],`+tools+`}`))
	_, data, _ := strings.Cut(stream, "event: response.completed\ndata: ")
	var last struct {
		Response struct{ Output json.RawMessage }
	}
	if err := json.Unmarshal([]byte(data), &last); err != nil {
		t.Fatalf("%v in %s", err, stream)
	}
	if _, got := engine.asked(); !strings.Contains(got, `"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"},"strict":true}}]`) {
		t.Errorf("the engine was asked %s", got)
	}
	engine.answer, engine.kind = saysHi, ""
	items := strings.TrimSuffix(string(last.Response.Output), "]") + `,{"type":"function_call_output","call_id":"c1","output":"one"}]`
	body := readAll(t, r.respond(t, `{"model":"m","input":`+strings.Replace(items, "[", `[{"role":"user","content":"go"},`, 1)+`,`+tools+`}`))
	if !strings.Contains(body, `"text":"Hi"`) {
		t.Errorf("answered %s", body)
	}
	want := `"messages":[{"role":"user","content":"go"},{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}]},{"role":"tool","content":"one","tool_call_id":"c1"}]`
	if _, got := engine.asked(); !strings.Contains(got, want) {
		t.Errorf("the engine was asked %s, want %s", got, want)
	}
}

func TestNoResponseIsStored(t *testing.T) {
	r := newRig(t, Config{Routes: oneRoute}, nil)
	const message = `there is no response "resp_1": the gateway keeps none; send what was said before as input`
	for _, asked := range []string{"GET /resp_1", "GET /resp_1?stream=true", "DELETE /resp_1", "POST /resp_1/cancel", "GET /resp_1/input_items"} {
		method, path, _ := strings.Cut(asked, " ")
		checkError(t, r.do(t, method, responsesPath+path, ""), 404, "response_not_found", "response_id", message)
	}
	for _, asked := range []string{"POST /input_tokens", "POST /compact", "PUT /resp_1", "GET /resp_1/other", "GET /resp_1/input_items/x"} {
		method, path, _ := strings.Cut(asked, " ")
		res := r.do(t, method, responsesPath+path, "")
		if body := readAll(t, res); res.StatusCode != http.StatusNotFound || !strings.Contains(body, `"code":"unknown_url"`) {
			t.Errorf("%s answered %s: %s", asked, res.Status, body)
		}
	}
	res := r.do(t, http.MethodGet, responsesPath, "")
	checkError(t, res, 405, "method_not_allowed", "", "/v1/responses takes POST, not GET")
}

// Comments tell of progress before the stream of a model that had to be loaded.
func TestResponsesWaitWithComments(t *testing.T) {
	m := newColdModel()
	r := newRig(t, m.config(), map[string]http.Handler{"n1": &chatOnly{answer: streamsHi, kind: "text/event-stream"}})
	answer := make(chan *http.Response)
	go func() {
		answer <- r.respond(t, `{"model":"m","input":"hi","stream":true}`, headerProgress, "true")
	}()
	for r.gateway.waiting.Load() < 1 {
		runtime.Gosched()
	}
	m.change(func() { m.routes = oneRoute })
	if body := readAll(t, <-answer); !strings.Contains(body, "event: response.created\n") || !strings.Contains(body, "event: response.completed\n") {
		t.Errorf("streamed %s", body)
	}
}
