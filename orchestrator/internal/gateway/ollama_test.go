package gateway

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/gateway/meter"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/model"
	"github.com/orchion/orchion/orchestrator/internal/store/memory"
)

const ollamaStream = `{"model":"m","message":{"role":"assistant","content":"Hi"},"done":false}` + "\n" +
	`{"model":"m","message":{"role":"assistant","content":""},"done_reason":"stop","done":true,"total_duration":5,"prompt_eval_count":3,"eval_count":4}` + "\n"

func (r *rig) ollamaChat(t *testing.T, body string) *http.Response {
	t.Helper()
	return r.do(t, http.MethodPost, "/ollama/api/chat", body)
}

// checkOllamaError checks an answer's status and its error in Ollama's shape.
func checkOllamaError(t *testing.T, res *http.Response, status int, message string) {
	t.Helper()
	body := readAll(t, res)
	var got struct{ Error string }
	if err := json.Unmarshal([]byte(body), &got); err != nil || res.StatusCode != status || got.Error != message {
		t.Errorf("answer %s %s, want %d with %q", res.Status, body, status, message)
	}
}

// To an Ollama a request goes as it came, and comes back so.
func TestOllamaPassesThrough(t *testing.T) {
	m, err := meter.New(meter.Config{Store: memory.New()})
	if err != nil {
		t.Fatal(err)
	}
	var path, body atomic.Value
	engine := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		data, _ := io.ReadAll(req.Body)
		path.Store(req.URL.Path)
		body.Store(string(data))
		w.Header().Set("Content-Type", "application/x-ndjson")
		io.WriteString(w, ollamaStream)
	})
	routes := fixedRoutes{
		{Model: "m", ServedModel: "m:latest", NodeID: "n1", ReplicaID: "r1", Engine: "ollama"},
		{Model: "alias", ServedModel: "real:7b", NodeID: "n1", ReplicaID: "r2", Engine: "ollama"},
	}
	r := newRig(t, Config{Routes: routes, Meter: m}, map[string]http.Handler{"n1": engine})
	for _, endpoint := range []string{"chat", "generate", "embed", "embeddings"} {
		for asked, want := range map[string]string{
			`{ "unknown" : [1.0,null], "model":"m", "prompt":"hello", "messages":[{}]}`: "",
			`{"model":"m:latest","prompt":"hello","messages":[{}]}`:                     "",
			`{"model":"alias","prompt":"hello","messages":[{}]}`:                        `{"model":"real:7b","prompt":"hello","messages":[{}]}`,
		} {
			if want == "" {
				want = asked
			}
			res := r.do(t, http.MethodPost, "/ollama/api/"+endpoint, asked)
			if got := readAll(t, res); got != ollamaStream || res.Header.Get("Content-Type") != "application/x-ndjson" || res.Header.Get("X-Orchion-Node") != "n1" {
				t.Errorf("%s answers %s, %v\n%s", endpoint, res.Status, res.Header, got)
			}
			if path.Load() != "/api/"+endpoint || body.Load() != want {
				t.Errorf("the engine got %s with %s, want %s", path.Load(), body.Load(), want)
			}
			calls, _ := m.Recent(meter.Filter{Limit: 1})
			if c := calls[0].Call; c.TokensIn != 3 || c.TokensOut != 4 || c.Estimated || c.Endpoint != "/ollama/api/"+endpoint {
				t.Errorf("metered as %+v", c)
			}
		}
	}
}

func TestOllamaStreamThatBreaksOff(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n"
	const chunked = head + "Transfer-Encoding: chunked\r\n\r\n"
	const broke = `{"error":"the engine on node n1 broke off its answer"}` + "\n"
	chunk := func(s string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(s), s) }
	first, _, _ := strings.Cut(ollamaStream, "\n")
	first += "\n"
	long := `{"model":"m","response":"","done":true,"done_reason":"stop","context":[` + strings.Repeat("1,", 2000) + `1],"total_duration":5,"eval_count":4}` + "\n"
	tool := `{"message":{"tool_calls":[{"function":{"arguments":{"done":true}}}]},"done":false}` + "\n"
	for name, c := range map[string]struct{ answer, want string }{
		"whole":                         {chunked + chunk(ollamaStream) + "0\r\n\r\n", ollamaStream},
		"whole with a long last line":   {chunked + chunk(first) + chunk(long) + "0\r\n\r\n", first + long},
		"whole, ending with its line":   {head + "\r\n" + ollamaStream, ollamaStream},
		"error of the engine's":         {chunked + chunk(first) + chunk(`{"error":"out of memory"}`+"\n") + "0\r\n\r\n", first + `{"error":"out of memory"}` + "\n"},
		"cut in its framing":            {chunked + chunk(first), first + broke},
		"ended without its last line":   {chunked + chunk(first) + "0\r\n\r\n", first + broke},
		"ended within a line":           {chunked + chunk(first+`{"model`) + "0\r\n\r\n", first + broke},
		"only a tool that says done":    {chunked + chunk(tool) + "0\r\n\r\n", tool + broke},
		"empty":                         {chunked + "0\r\n\r\n", broke},
		"cut within its last long line": {chunked + chunk(first) + chunk(long[:3000]), first + broke},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Config{Routes: oneRoute, Dial: rawEngine(t, c.answer)}, nil)
			if got := readAll(t, r.ollamaChat(t, `{"model":"m","messages":[{"role":"user","content":"hi"}]}`)); got != c.want {
				t.Errorf("the client got\n%q, want\n%q", got, c.want)
			}
		})
	}
}

var vllmRoute = fixedRoutes{{Model: "m", ServedModel: "org/m", NodeID: "n1", ReplicaID: "r1", Engine: "vllm", Deployment: "d"}}

func TestOllamaTranslated(t *testing.T) {
	m, err := meter.New(meter.Config{Store: memory.New()})
	if err != nil {
		t.Fatal(err)
	}
	var got atomic.Value
	answer := "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":\"stop\"}]}\n\n" +
		"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\ndata: [DONE]\n\n"
	kind := "text/event-stream"
	r := newRig(t, Config{Routes: vllmRoute, Meter: m}, map[string]http.Handler{"n1": http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		data, _ := io.ReadAll(req.Body)
		got.Store(req.URL.Path + " " + string(data))
		w.Header().Set("Content-Type", kind)
		io.WriteString(w, answer)
	})})
	res := r.ollamaChat(t, `{"model":"m","messages":[{"role":"user","content":"hi"}],"options":{"top_k":5}}`)
	lines := strings.Split(readAll(t, res), "\n")
	if len(lines) != 3 || !strings.Contains(lines[0], `"content":"Hi"`) || !strings.Contains(lines[1], `"done":true`) ||
		!strings.Contains(lines[1], `"prompt_eval_count":3`) || res.Header.Get("Content-Type") != "application/x-ndjson" || res.Header.Get("X-Orchion-Model") != "m" {
		t.Errorf("answered %v\n%q", res.Header, lines)
	}
	want := `/v1/chat/completions {"model":"org/m","messages":[{"role":"user","content":"hi"}],"stream":true,"stream_options":{"include_usage":true},"top_k":5}`
	if got.Load() != want {
		t.Errorf("the engine got\n%s\nwant\n%s", got.Load(), want)
	}
	calls, _ := m.Recent(meter.Filter{Limit: 1})
	if c := calls[0].Call; c.TokensIn != 3 || c.TokensOut != 4 || c.Estimated || !c.Streamed {
		t.Errorf("metered as %+v", c)
	}

	answer, kind = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\n", "text/event-stream"
	if body := readAll(t, r.ollamaChat(t, `{"model":"m","messages":[{"role":"user","content":"hi"}]}`)); !strings.HasSuffix(body, "\n"+`{"error":"the engine on node n1 broke off its answer"}`+"\n") {
		t.Errorf("a stream that was cut is\n%s", body)
	}
	answer, kind = `{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}]}`, "application/json"
	if body := readAll(t, r.ollamaChat(t, `{"model":"m","stream":false,"messages":[{"role":"user","content":"hi"}]}`)); !strings.Contains(body, `"message":{"role":"assistant","content":"Hi"},"done_reason":"stop","done":true`) {
		t.Errorf("a whole answer is %s", body)
	}
	checkOllamaError(t, r.ollamaChat(t, `{"model":"m","options":{"seed":0.5},"messages":[{"role":"user"}]}`), 400, "options.seed must be a whole number")
	// Nothing asked: it is always loaded, and cannot be unloaded.
	got.Store("")
	for body, reason := range map[string]string{`{"model":"m"}`: "load", `{"model":"m","keep_alive":0}`: "unload"} {
		res := r.do(t, http.MethodPost, "/ollama/api/generate", body)
		if text := readAll(t, res); res.StatusCode != http.StatusOK || !strings.Contains(text, `"done_reason":"`+reason+`"`) || got.Load() != "" {
			t.Errorf("%s: %s %s; the engine got %q", body, res.Status, text, got.Load())
		}
	}
}

func TestOllamaErrors(t *testing.T) {
	deployed := func() []model.Deployment {
		return []model.Deployment{{Name: "big", Spec: model.Spec{Model: "big", Replicas: 1}}}
	}
	r := newRig(t, Config{Routes: oneRoute, MaxBody: 2 << 20, Deployments: deployed}, map[string]http.Handler{
		"n1": engineThat(400, "application/json; charset=utf-8", `{"error":"\"m\" does not support generate"}`),
	})
	chat := "/ollama/api/chat"
	for name, c := range map[string]struct {
		method, path, body string
		status             int
		message            string
	}{
		"unknown model":      {"POST", chat, `{"model":"nope","messages":[]}`, 404, `model not found: the model "nope" does not exist; there is "m"`},
		"unknown model, old": {"POST", "/ollama/api/show", `{"name":"nope"}`, 404, `model not found: the model "nope" does not exist; there is "m"`},
		"not ready":          {"POST", chat, `{"model":"big:latest","messages":[]}`, 503, `the model "big:latest" is deployed but not ready: it waits for a node`},
		"JSON":               {"POST", chat, `{"model":"m",}`, 400, `invalid JSON at byte 13: expected a key in double quotes`},
		"JSON of show":       {"POST", "/ollama/api/show", `{"model":"m"`, 400, `invalid JSON at byte 12: expected ',' or '}' in an object (the body ends here)`},
		"after the end":      {"POST", "/ollama/api/show", `{"model":"m"} x`, 400, `invalid JSON at byte 14: something follows the JSON object`},
		"no model":           {"POST", chat, `{}`, 400, "model is missing"},
		"no model to show":   {"POST", "/ollama/api/show", `{"name":""}`, 400, "model is missing"},
		"model's type":       {"POST", "/ollama/api/show", `{"name":7}`, 400, "name must be a string"},
		"model twice":        {"POST", "/ollama/api/show", `{"model":"m","Model":"x"}`, 400, "model must be given once, spelled so"},
		"too large":          {"POST", chat, `{"model":"m","x":"` + strings.Repeat("x", 2<<20) + `"}`, 413, "the request's body is larger than 2 MiB, the most allowed"},
		"show too large":     {"POST", "/ollama/api/show", `{"model":"m","x":"` + strings.Repeat("x", 1<<20) + `"}`, 413, "the request's body is larger than 1 MiB, the most allowed"},
		"engine's own":       {"POST", chat, `{"model":"m","messages":[{}]}`, 400, `"m" does not support generate`},
		"method":             {"GET", chat, "", 405, "/ollama/api/chat takes POST, not GET"},
		"method of tags":     {"POST", "/ollama/api/tags", "", 405, "/ollama/api/tags takes GET, not POST"},
		"push":               {"POST", "/ollama/api/push", "", 501, "/api/push is not served here: models are made and copied on one machine; ask the Ollama of that machine"},
		"blobs":              {"HEAD", "/ollama/api/blobs/sha256:x", "", 501, ""},
		"no manager":         {"POST", "/ollama/api/pull", `{"model":"m"}`, 501, "models cannot be pulled or deleted here"},
		"twice a slash":      {"GET", "/ollama//api/tags", "", 404, ollamaPathsThere("/ollama//api/tags")},
		"unknown path":       {"GET", "/ollama/api/what", "", 404, ollamaPathsThere("/ollama/api/what")},
	} {
		t.Run(name, func(t *testing.T) {
			res := r.do(t, c.method, c.path, c.body)
			if c.method == http.MethodHead {
				if res.StatusCode != c.status {
					t.Errorf("answered %s", res.Status)
				}
				return
			}
			checkOllamaError(t, res, c.status, c.message)
		})
	}
	for _, path := range []string{"/ollama", "/ollama/"} {
		for _, method := range []string{"GET", "HEAD"} {
			if res := r.do(t, method, path, ""); res.StatusCode != http.StatusOK || (method == "GET" && readAll(t, res) != "Ollama is running") {
				t.Errorf("%s %s: %s", method, path, res.Status)
			}
		}
	}
	if text := readAll(t, r.do(t, "GET", "/ollama/api/version", "")); text != `{"version":"0.6.5"}` {
		t.Errorf("version: %s", text)
	}
}

func ollamaPathsThere(path string) string {
	return "unknown URL " + path + "; there are POST /ollama/api/chat, POST /ollama/api/generate, POST /ollama/api/embed, " +
		"POST /ollama/api/embeddings, POST /ollama/api/show, GET /ollama/api/tags, GET /ollama/api/ps, POST /ollama/api/pull, DELETE /ollama/api/delete, GET /ollama/api/version"
}

// A model that a request would start is there, though nothing serves it.
func TestIdleModelsAreListed(t *testing.T) {
	scales := model.Spec{Model: "idle", Engine: model.Ollama, MaxReplicas: 1}
	other := scales
	other.Model, other.Engine = "org/idle", model.VLLM
	fixed := model.Spec{Model: "fixed", Engine: model.Ollama}
	r := newRig(t, Config{Routes: fixedRoutes{}, Deployments: func() []model.Deployment {
		return []model.Deployment{{Name: "a", Spec: scales}, {Name: "b", Spec: scales}, {Name: "c", Spec: other}, {Name: "d", Spec: fixed}, {Name: "e", Spec: scales, Deleting: true}}
	}}, nil)
	for path, want := range map[string]string{
		"/v1/models":       `"id":"(idle|org/idle)"`,
		"/ollama/api/tags": `"name":"(idle:latest|org/idle)"`,
	} {
		got := readAll(t, r.do(t, "GET", path, ""))
		if n := len(regexp.MustCompile(want).FindAllString(got, -1)); n != 2 || strings.Contains(got, "fixed") {
			t.Errorf("%s lists %s", path, got)
		}
	}
}

func TestOllamaModels(t *testing.T) {
	digest := strings.Repeat("ab", 32)
	var asked, unloaded atomic.Int64
	engine := func(loaded bool) http.Handler {
		mux := http.NewServeMux()
		mux.HandleFunc("GET /api/tags", func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			fmt.Fprintf(w, `{"models":[{"name":"other:latest"},{"name":"tiny:latest","model":"tiny:latest","size":7,"digest":"%s","modified_at":"2026-01-02T03:04:05Z","new":1}]}`, digest)
		})
		mux.HandleFunc("GET /api/ps", func(w http.ResponseWriter, _ *http.Request) {
			if !loaded {
				io.WriteString(w, `{"models":[]}`)
				return
			}
			io.WriteString(w, `{"models":[{"name":"tiny:latest","digest":"short","size_vram":5}]}`)
		})
		mux.HandleFunc("POST /api/show", func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			io.Copy(w, req.Body)
		})
		mux.HandleFunc("POST /api/generate", func(w http.ResponseWriter, req *http.Request) {
			if data, _ := io.ReadAll(req.Body); string(data) == `{"model":"tiny","keep_alive":0}` {
				unloaded.Add(1)
			}
		})
		return mux
	}
	routes := fixedRoutes{
		{Model: "tiny", ServedModel: "tiny", NodeID: "n1", ReplicaID: "r1", Engine: "ollama"},
		{Model: "tiny", ServedModel: "tiny", NodeID: "n2", ReplicaID: "r2", Engine: "ollama"},
		{Model: "org/big", NodeID: "n1", ReplicaID: "r3", Engine: "vllm", Deployment: "big"},
		{Model: "gone", NodeID: "n9", ReplicaID: "r4", Engine: "ollama"},
	}
	deployments := func() []model.Deployment {
		return []model.Deployment{{Name: "big", Replicas: []model.Replica{{ID: "r3", TotalBytes: 99}}}}
	}
	r := newRig(t, Config{Routes: routes, Deployments: deployments}, map[string]http.Handler{"n1": engine(true), "n2": engine(false)})
	list := func(path string) string {
		var got struct{ Models []map[string]any }
		if err := json.Unmarshal([]byte(readAll(t, r.do(t, "GET", path, ""))), &got); err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, m := range got.Models {
			if text, ok := m["expires_at"].(string); ok {
				if until, err := time.Parse(time.RFC3339, text); err != nil || time.Until(until) < 20*365*24*time.Hour {
					t.Errorf("it is unloaded at %s", text)
				}
			}
			if d := m["digest"].(string); len(d) != 64 {
				t.Errorf("the digest of %v is %q", m["name"], d)
			}
			lines = append(lines, fmt.Sprint(m["name"], m["model"], m["size"], m["size_vram"], m["node"], m["replica"], m["nodes"], m["new"]))
		}
		return strings.Join(lines, "\n")
	}
	for range 2 { // the second time it is remembered
		want := "gone:latestgone:latest0<nil><nil><nil>[n9]<nil>\norg/bigorg/big0<nil><nil><nil>[n1]<nil>\ntiny:latesttiny:latest7<nil><nil><nil>[n1 n2]1"
		got := list("/ollama/api/tags")
		if squeeze(got) != squeeze(want) {
			t.Errorf("tags are\n%s\nwant\n%s", got, want)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("an engine was asked %d times", n)
	}
	want := "org/bigorg/big9999n1r3<nil><nil>\ntiny:latesttiny:latest05n1r1<nil><nil>"
	if got := list("/ollama/api/ps"); squeeze(got) != squeeze(want) {
		t.Errorf("loaded are\n%s\nwant\n%s", got, want)
	}
	if got := readAll(t, r.do(t, "POST", "/ollama/api/show", `{"model":"","name":"tiny:latest"}`)); got != `{"model":"","name":"tiny:latest"}` {
		t.Errorf("the engine was asked to show %s", got)
	}
	if got := readAll(t, r.do(t, "POST", "/ollama/api/show", `{"model":"org/big"}`)); !strings.Contains(got, `"modelfile":"# served by vllm"`) || strings.Contains(got, "model_info") {
		t.Errorf("it shows %s", got)
	}
	if got := readAll(t, r.do(t, "POST", "/ollama/api/generate", `{"model":"tiny:latest","keep_alive":0}`)); unloaded.Load() != 2 || !strings.Contains(got, `"done_reason":"unload"`) {
		t.Errorf("%d engines unloaded it: %s", unloaded.Load(), got)
	}
}

func squeeze(text string) string { return strings.ReplaceAll(text, " ", "") }

// Jobs see and call what they declare, and change nothing.
func TestOllamaOfJobs(t *testing.T) {
	r := newRig(t, Config{
		Routes: fixedRoutes{oneRoute[0], {Model: "secret", NodeID: "n1", ReplicaID: "r2", Engine: "ollama"}}, Manager: &fakeManager{},
		JobModels: func(string, job.Ref) ([]string, bool) { return []string{"m"}, true },
	}, map[string]http.Handler{"n1": engineThat(200, "application/json", `{"models":[]}`)})
	serve(t, r, asJob(r.gateway))
	if got := readAll(t, r.do(t, "GET", "/ollama/api/tags", "")); !strings.Contains(got, `"m:latest"`) || strings.Contains(got, "secret") {
		t.Errorf("a job sees %s", got)
	}
	const denied = `this job may not call the model "secret"; it declared "m" in spec.container.models`
	checkOllamaError(t, r.do(t, "POST", "/ollama/api/show", `{"model":"secret"}`), 403, denied)
	checkOllamaError(t, r.ollamaChat(t, `{"model":"secret"}`), 403, denied)
	const managing = "jobs may call models; they may not pull or delete them"
	checkOllamaError(t, r.do(t, "POST", "/ollama/api/pull", `{"model":"m"}`), 403, managing)
	checkOllamaError(t, r.do(t, "DELETE", "/ollama/api/delete", `{"model":"m"}`), 403, managing)
}
