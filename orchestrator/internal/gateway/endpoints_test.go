package gateway

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// engineThat answers everything in one way.
func engineThat(status int, contentType, answer string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		io.Copy(io.Discard, req.Body)
		if contentType != "" {
			w.Header().Set("Content-Type", contentType)
		}
		w.WriteHeader(status)
		io.WriteString(w, answer)
	})
}

// Engines tell in many ways that they lack an endpoint. That is neither a model
// that is not there nor a reason to doubt the replica.
func TestEngineWithoutTheEndpoint(t *testing.T) {
	const json = "application/json"
	for name, c := range map[string]struct {
		status            int
		kind, body        string
		wantCode, wantMsg string
	}{
		"Ollama":              {404, "text/plain", "404 page not found", "", ""},
		"vLLM":                {404, json, `{"detail":"Not Found"}`, "", ""},
		"vLLM, other method":  {405, json, `{"detail":"Method Not Allowed"}`, "", ""},
		"llama-server":        {404, json, `{"error":{"code":404,"message":"File Not Found","type":"not_found_error"}}`, "", ""},
		"LM Studio":           {404, json, `{"error":"Unexpected endpoint or method. (POST /v1/rerank)"}`, "", ""},
		"an orchestrator":     {404, json, `{"error":{"message":"unknown URL /v1/rerank","type":"invalid_request_error","param":null,"code":"unknown_url"}}`, "", ""},
		"a proxy":             {404, "text/html; charset=utf-8", "<html><h1>404 Not Found</h1></html>", "", ""},
		"without a word":      {404, "", "", "", ""},
		"Ollama, no model":    {404, json, `{"error":{"message":"model \"m\" not found, try pulling it first","type":"api_error","param":null,"code":null}}`, "engine_error", `model "m" not found, try pulling it first`},
		"vLLM, no model":      {404, json, `{"error":{"message":"The model m does not exist.","type":"NotFoundError","param":"model","code":404}}`, "engine_error", "The model m does not exist."},
		"vLLM, other details": {404, json, `{"detail":"Not Found here"}`, "engine_error", `"Not Found here"`},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Config{Routes: oneRoute}, map[string]http.Handler{"n1": engineThat(c.status, c.kind, c.body)})
			code, message := "endpoint_not_supported", `the engine ollama on node n1, which serves the model "m", has no /v1/rerank`
			if c.wantCode != "" {
				code, message = c.wantCode, c.wantMsg
			}
			param := ""
			if strings.Contains(c.body, `"param":"model"`) {
				param = "model"
			}
			checkError(t, r.do(t, http.MethodPost, "/v1/rerank", `{"model":"m"}`), 404, code, param, message)
		})
	}
}

func TestEngineThatAnswersHTML(t *testing.T) {
	page := engineThat(200, "text/html; charset=utf-8", "<html>Welcome to nginx!</html>")
	r := newRig(t, Config{Routes: oneRoute}, map[string]http.Handler{"n1": page})
	checkError(t, r.chat(t, `{"model":"m"}`), 502, "engine_failed", "", "the engine on node n1 answered text/html, as a web site does")
	r = newRig(t, Config{Routes: oneRoute}, map[string]http.Handler{"n1": engineThat(500, "text/html", "<html>Oops</html>")})
	checkError(t, r.chat(t, `{"model":"m"}`), 500, "engine_error", "", "the engine on node n1 answered 500")
}

// Sound and the like pass as they are, and one that breaks off breaks off.
func TestBinaryAnswer(t *testing.T) {
	sound := strings.Repeat("\x00\xff\r\n\n", 50_000)
	r := newRig(t, Config{Routes: oneRoute}, map[string]http.Handler{"n1": engineThat(200, "audio/mpeg", sound)})
	res := r.do(t, http.MethodPost, "/v1/audio/speech", `{"model":"m","input":"hi","voice":"a"}`)
	if got := readAll(t, res); got != sound || res.Header.Get("Content-Type") != "audio/mpeg" {
		t.Errorf("%s, %s, %d bytes", res.Status, res.Header.Get("Content-Type"), len(got))
	}
	cut := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: %d\r\n\r\n%s", len(sound), sound[:100_000])
	r = newRig(t, Config{Routes: oneRoute, Dial: rawEngine(t, cut)}, nil)
	res = r.do(t, http.MethodPost, "/v1/audio/speech", `{"model":"m"}`)
	if got, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("a sound of %d bytes that was cut after %d seemed whole", len(sound), len(got))
	}
}

func TestResponsesStream(t *testing.T) {
	const sse = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
	delta := "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"x\"}\n\n"
	long := `data: {"type":"response.completed","response":{"output":"` + strings.Repeat("x", 4000) + `","usage":{"input_tokens":1,"output_tokens":2}}}` + "\n\n"
	const broke = "event: error\ndata: {\"type\":\"error\",\"code\":\"engine_failed\",\"message\":\"the engine on node n1 broke off its answer\",\"param\":null," +
		`"error":{"message":"the engine on node n1 broke off its answer","type":"server_error","param":null,"code":"engine_failed"}}` + "\n\n"
	for name, c := range map[string]struct{ stream, want string }{
		"whole":                     {delta + "event: response.completed\n" + long, delta + "event: response.completed\n" + long},
		"failed":                    {"event: response.failed\ndata: {\"type\":\"response.failed\"}\n\n", "event: response.failed\ndata: {\"type\":\"response.failed\"}\n\n"},
		"cut between events":        {delta, delta + broke},
		"cut within the last event": {delta + "event: response.completed\n" + long[:2000], delta + broke},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Config{Routes: oneRoute, Dial: rawEngine(t, sse+c.stream)}, nil)
			if got := readAll(t, r.do(t, http.MethodPost, "/v1/responses", streamQuestion)); got != c.want {
				t.Errorf("the client got\n%q, want\n%q", got, c.want)
			}
		})
	}
}
