package gateway

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/model"
	"github.com/orchion/orchion/orchestrator/internal/tunnel"
)

func TestRequestPassesThrough(t *testing.T) {
	const question = "{ \"stream\" : false,\n\"model\":\"m\", \"unknown\": [1.50, \"\\u00e9\"] }"
	const answer = `{"id":"1","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}`
	for _, path := range []string{
		"/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/rerank", "/rerank",
		"/v1/audio/speech", "/v1/images/generations",
	} {
		r := newRig(t, Config{Routes: oneRoute}, map[string]http.Handler{"n1": http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			body, _ := io.ReadAll(req.Body)
			if string(body) != question || req.URL.Path != path || req.URL.RawQuery != "api-version=1" || req.Method != http.MethodPost {
				t.Errorf("the engine got %s %s: %s", req.Method, req.URL, body)
			}
			if req.Host != "localhost" || req.ContentLength != int64(len(question)) {
				t.Errorf("host %q, length %d", req.Host, req.ContentLength)
			}
			for name, want := range map[string]string{
				"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "test/1",
				"X-Request-Id": "my-id", "Traceparent": "00-1-2-01",
				"Authorization": "", "Cookie": "", "Origin": "", "X-Forwarded-For": "", "X-Other": "", "Idempotency-Key": "",
			} {
				if got := req.Header.Get(name); got != want {
					t.Errorf("the engine got %s: %q, want %q", name, got, want)
				}
			}
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Access-Control-Allow-Origin", "*")
			w.Header().Set("Set-Cookie", "a=b")
			io.WriteString(w, answer)
		})})
		res := r.do(t, http.MethodPost, path+"?api-version=1", question,
			"Authorization", "Bearer secret", "Cookie", "a=b", "Origin", "http://x", "X-Forwarded-For", "1.2.3.4", "X-Other", "x",
			"Accept", "application/json", "User-Agent", "test/1", "X-Request-Id", "my-id", "Traceparent", "00-1-2-01",
			"Idempotency-Key", "k", "Content-Type", "text/plain")
		if got := readAll(t, res); got != answer || res.StatusCode != http.StatusOK {
			t.Errorf("answer %s: %s", res.Status, got)
		}
		for name, want := range map[string]string{
			"Content-Type": "application/json", "X-Request-Id": "my-id", "X-Orchion-Node": "n1", "X-Orchion-Replica": "r1",
			"X-Orchion-Route-Reason": "the only replica", "Access-Control-Allow-Origin": "", "Set-Cookie": "",
		} {
			if got := res.Header.Get(name); got != want {
				t.Errorf("the client got %s: %q, want %q", name, got, want)
			}
		}
	}
}

func TestModelIsRewrittenOnlyWhenItDiffers(t *testing.T) {
	routes := fixedRoutes{
		{Model: "tiny:latest", ServedModel: "tiny:latest", NodeID: "n1", ReplicaID: "r1"},
		{Model: "big", ServedModel: "/models/\"big\"", NodeID: "n1", ReplicaID: "r2"},
		{Model: "plain", NodeID: "n1", ReplicaID: "r3"},
	}
	r := newRig(t, Config{Routes: routes}, map[string]http.Handler{"n1": http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { io.Copy(w, req.Body) })})
	for question, want := range map[string]string{
		`{"model":"big","x":1}`:              `{"model":"/models/\"big\"","x":1}`,
		`{"x":1,"model":"tiny"}`:             `{"x":1,"model":"tiny:latest"}`,
		`{"x":1, "model" : "tiny:latest"}`:   `{"x":1, "model" : "tiny:latest"}`,
		`{"model":"plain:latest"}`:           `{"model":"plain:latest"}`, // the engine has no name of its own for it
		`{"model":"\u0070lain","keep":"\t"}`: `{"model":"\u0070lain","keep":"\t"}`,
	} {
		if got := readAll(t, r.chat(t, question)); got != want {
			t.Errorf("the engine got %s, want %s", got, want)
		}
	}
}

func TestBadRequests(t *testing.T) {
	r := newRig(t, Config{Routes: oneRoute, MaxBody: 1 << 20}, map[string]http.Handler{"n1": http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		t.Errorf("the engine got %s", req.URL)
	})})
	unknown := func(path string) string {
		return "unknown URL " + path + "; there are GET /v1/models, POST /rerank, POST /v1/audio/speech, POST /v1/audio/transcriptions, " +
			"POST /v1/audio/translations, POST /v1/chat/completions, POST /v1/completions, POST /v1/embeddings, POST /v1/images/generations, POST /v1/messages, POST /v1/messages/count_tokens, " +
			"POST /v1/rerank, POST /v1/responses"
	}
	big := `{"model":"m","x":"` + strings.Repeat("x", 1<<20) + `"}`
	cases := []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		code, param, message     string
	}{
		{"not JSON", "POST", "/v1/chat/completions", "model=m", nil, 400, "invalid_request", "", "invalid JSON at byte 0: the body must be a JSON object"},
		{"empty", "POST", "/v1/completions", "", nil, 400, "invalid_request", "", "invalid JSON at byte 0: the body must be a JSON object (the body ends here)"},
		{"no model", "POST", "/v1/embeddings", "{}", nil, 400, "invalid_request", "model", "model is missing"},
		{"two models", "POST", "/v1/chat/completions", `{"model":"m","Model":"n"}`, nil, 400, "invalid_request", "model", `the key "Model" must be spelled "model"`},
		{"too large", "POST", "/v1/chat/completions", big, nil, 413, "request_too_large", "", "the request's body is larger than 1 MiB, the most allowed"},
		{"compressed", "POST", "/v1/chat/completions", "x", []string{"Content-Encoding", "gzip"}, 415, "unsupported_encoding", "", `Content-Encoding "gzip" is not supported: send the body uncompressed`},
		{"method", "GET", "/v1/chat/completions", "", nil, 405, "method_not_allowed", "", "/v1/chat/completions takes POST, not GET"},
		{"method of models", "DELETE", "/v1/models/m", "", nil, 405, "method_not_allowed", "", "/v1/models/m takes GET, not DELETE"},
		{"path", "POST", "/v1/realtime", "{}", nil, 404, "unknown_url", "", unknown("/v1/realtime")},
		{"doubled slash", "POST", "//v1/chat/completions", "{}", nil, 404, "unknown_url", "", unknown("//v1/chat/completions")},
		{"unknown model", "POST", "/v1/chat/completions", `{"model":"gpt-4"}`, nil, 404, "model_not_found", "model", `the model "gpt-4" does not exist; there is "m"`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			res := r.do(t, c.method, c.path, c.body, c.headers...)
			checkError(t, res, c.status, c.code, c.param, c.message)
		})
	}
	t.Run("too large without a length", func(t *testing.T) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+"/v1/chat/completions", io.MultiReader(strings.NewReader(big)))
		if err != nil {
			t.Fatal(err)
		}
		res, err := r.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		checkError(t, res, 413, "request_too_large", "", "the request's body is larger than 1 MiB, the most allowed")
	})
}

func TestRequestIDs(t *testing.T) {
	r := newRig(t, Config{Routes: oneRoute}, nil)
	for given, kept := range map[string]bool{"abc-1": true, strings.Repeat("x", 128): true, strings.Repeat("x", 129): false, "a b": false, "": false} {
		got := r.do(t, http.MethodGet, "/v1/models", "", "X-Request-Id", given).Header.Get("X-Request-Id")
		if (got == given) != kept || got == "" {
			t.Errorf("id %q came back as %q", given, got)
		}
	}
}

func TestNoModelAtAll(t *testing.T) {
	r := newRig(t, Config{Routes: fixedRoutes{}}, nil)
	checkError(t, r.chat(t, `{"model":"m"}`), 404, "model_not_found", "model",
		`the model "m" does not exist; no model is deployed yet: deploy one with "orchion model deploy" or POST /api/deployments`)
	if got := readAll(t, r.do(t, http.MethodGet, "/v1/models", "")); got != `{"object":"list","data":[]}` {
		t.Errorf("models = %s", got)
	}
}

func TestModelNotReady(t *testing.T) {
	deployment := func(replicas ...model.Replica) []model.Deployment {
		return []model.Deployment{{Name: "d", Spec: model.Spec{Model: "qwen3:latest", Replicas: 1}, Replicas: replicas}}
	}
	cases := []struct {
		deployments []model.Deployment
		progress    string
	}{
		{deployment(), "it waits for a node"},
		{deployment(model.Replica{State: model.Pulling, ProgressPercent: 41.6, NodeID: "n1"}), "pulling, 42 % on node n1"},
		{deployment(model.Replica{State: model.Loading, NodeID: "n1"}, model.Replica{State: model.Failed, NodeID: "n2", Reason: "no memory"}),
			"loading on node n1; failed on node n2 (no memory)"},
		{deployment(model.Replica{State: model.Pending, Reason: "no node fits"}, model.Replica{State: model.Pending, Reason: "no node fits"}),
			"pending (no node fits)"},
	}
	for _, c := range cases {
		r := newRig(t, Config{Routes: oneRoute, Deployments: func() []model.Deployment { return c.deployments }}, nil)
		res := r.chat(t, `{"model":"qwen3"}`)
		if got := res.Header.Get("Retry-After"); got != "5" {
			t.Errorf("Retry-After %q", got)
		}
		checkError(t, res, 503, "model_not_ready", "model", `the model "qwen3" is deployed but not ready: `+c.progress)
	}
}

func TestModels(t *testing.T) {
	routes := fixedRoutes{
		{Model: "tiny:latest", NodeID: "n2", ReplicaID: "r1", Engine: "ollama"},
		{Model: "tiny:latest", NodeID: "n1", EngineEndpoint: "http://127.0.0.1:11434", Engine: "ollama"},
		{Model: "org/big", NodeID: "n1", ReplicaID: "r2", Engine: "vllm"},
	}
	r := newRig(t, Config{Routes: routes}, nil)
	const big = `{"id":"org/big","object":"model","created":0,"owned_by":"orchion","engines":["vllm"],"nodes":["n1"]}`
	const tiny = `{"id":"tiny:latest","object":"model","created":0,"owned_by":"orchion","engines":["ollama"],"nodes":["n1","n2"]}`
	for path, want := range map[string]string{
		"/v1/models":             `{"object":"list","data":[` + big + `,` + tiny + `]}`,
		"/v1/models/tiny":        tiny,
		"/v1/models/tiny:latest": tiny,
		"/v1/models/org/big":     big,
		"/v1/models/org%2Fbig":   big,
	} {
		if got := readAll(t, r.do(t, http.MethodGet, path, "")); got != want {
			t.Errorf("%s = %s, want %s", path, got, want)
		}
	}
	checkError(t, r.do(t, http.MethodGet, "/v1/models/none", ""), 404, "model_not_found", "model",
		`the model "none" does not exist; there is "org/big", "tiny:latest"`)
}

// asJob makes requests come from a job, as those of Start's listener do.
func asJob(g http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller := tunnel.Caller{NodeID: "n9", Ref: job.Ref{JobID: "j1", Attempt: 2}}
		g.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, caller)))
	})
}

func TestJobsCallOnlyWhatTheyDeclared(t *testing.T) {
	routes := fixedRoutes{{Model: "mine:latest", NodeID: "n1", ReplicaID: "r1"}, {Model: "other", NodeID: "n1", ReplicaID: "r2"}}
	var allowed []string
	running := true
	g := New(Config{
		Routes: routes,
		JobModels: func(nodeID string, ref job.Ref) ([]string, bool) {
			if nodeID != "n9" || ref != (job.Ref{JobID: "j1", Attempt: 2}) {
				t.Errorf("asked for %s %+v", nodeID, ref)
			}
			return allowed, running
		},
		Dial: rawEngine(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
	})
	t.Cleanup(g.Close)
	r := &rig{gateway: g}
	serve(t, r, asJob(g))

	allowed = []string{"mine"}
	if got := readAll(t, r.do(t, http.MethodGet, "/v1/models", "")); !strings.Contains(got, "mine:latest") || strings.Contains(got, "other") {
		t.Errorf("models = %s", got)
	}
	checkError(t, r.chat(t, `{"model":"other"}`), 403, "model_not_allowed", "model",
		`this job may not call the model "other"; it declared "mine" in spec.container.models`)
	checkError(t, r.do(t, http.MethodGet, "/v1/models/other", ""), 403, "model_not_allowed", "model",
		`this job may not call the model "other"; it declared "mine" in spec.container.models`)
	if res := r.chat(t, `{"model":"mine:latest"}`); res.StatusCode != http.StatusOK {
		t.Errorf("the job's own model: %s %s", res.Status, readAll(t, res))
	}
	allowed = nil
	checkError(t, r.chat(t, `{"model":"mine"}`), 403, "model_not_allowed", "model",
		`this job may not call the model "mine"; it declared none in spec.container.models`)
	running = false
	checkError(t, r.chat(t, `{"model":"mine"}`), 403, "attempt_not_running", "",
		"this attempt of the job is over or belongs to another node now")
}

// What comes through Start's listener without being a job's connection may call
// nothing.
func TestStartTrustsNobody(t *testing.T) {
	g := New(Config{Routes: oneRoute, Dial: func(context.Context, string, tunnel.Target) (net.Conn, error) { panic("dialled") }})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g.Start(listener)
	r := &rig{gateway: g, url: "http://" + listener.Addr().String(), client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	checkError(t, r.chat(t, `{"model":"m"}`), 403, "attempt_not_running", "",
		"this attempt of the job is over or belongs to another node now")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	g.Stop(ctx)
	g.Stop(ctx)
	if _, err := net.Dial("tcp", listener.Addr().String()); err == nil {
		t.Error("the listener is still open")
	}
}

func TestNamesWithAndWithoutTheirTag(t *testing.T) {
	for engine, want := range map[string]string{
		// It knows both, and answers with the one that it was asked by.
		"ollama": `{"model":"m", "x":1}`,
		"vllm":   `{"model":"m:latest", "x":1}`,
	} {
		r := newRig(t, Config{Routes: fixedRoutes{{Model: "m:latest", ServedModel: "m:latest", NodeID: "n1", ReplicaID: "r1", Engine: engine}}},
			map[string]http.Handler{"n1": http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				io.Copy(w, req.Body)
			})})
		res := r.do(t, http.MethodPost, "/v1/chat/completions", `{"model":"m", "x":1}`)
		if got := readAll(t, res); got != want || res.Header.Get(headerModel) != "m:latest" {
			t.Errorf("%s is asked %s, as model %s; want %s", engine, got, res.Header.Get(headerModel), want)
		}
	}
}
