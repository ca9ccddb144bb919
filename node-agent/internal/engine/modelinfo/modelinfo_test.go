package modelinfo

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/orchion/orchion/shared/modelfit"
	"github.com/orchion/orchion/shared/testbed/modelregistry"
	"github.com/orchion/orchion/shared/testbed/tinygguf"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// fakeOllama knows one model, as Ollama 0.6.5 describes it.
func fakeOllama(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/api/tags":
		io.WriteString(w, `{"models":[{"name":"qwen3:0.6b","size":522653767}]}`)
	case "/api/show":
		io.WriteString(w, `{"license":"...","details":{"quantization_level":"Q4_K_M"},"model_info":{"general.architecture":"qwen3","general.parameter_count":751632384,
			"qwen3.block_count":28,"qwen3.context_length":40960,"qwen3.embedding_length":1024,"qwen3.attention.head_count":16,"qwen3.attention.head_count_kv":8,
			"qwen3.attention.key_length":128,"qwen3.attention.value_length":128,"tokenizer.ggml.tokens":null}}`)
	default:
		http.NotFound(w, r)
	}
}

func describer(t *testing.T, cfg Config) *Describer {
	t.Helper()
	d := New(cfg)
	t.Cleanup(d.Close)
	return d
}

func TestFromAnOllamaThatHasIt(t *testing.T) {
	ollama, broken := serve(t, http.HandlerFunc(fakeOllama)), serve(t, http.NotFoundHandler())
	d := describer(t, Config{Endpoints: func(context.Context) []string { return []string{broken, "http://127.0.0.1:1", ollama} }})
	for _, engine := range []string{"ollama", "external"} {
		m, err := d.Describe(t.Context(), engine, "library/QWEN3:0.6b")
		if err != nil {
			t.Fatal(err)
		}
		want := modelfit.Model{
			Source: "an Ollama that has it", Architecture: "qwen3", Quantization: "Q4_K_M", Parameters: 751632384, WeightBytes: 522653767,
			CacheValues: 28 * 8 * 256, Layers: 28, ContextLength: 40960,
		}
		if *m != want {
			t.Errorf("%s: %+v, want %+v", engine, *m, want)
		}
	}
	if _, err := d.Describe(t.Context(), "external", "other"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a model that is not there: %v", err)
	}
}

func TestFromARegistry(t *testing.T) {
	weights, err := tinygguf.New(tinygguf.Options{Text: "hello", Layers: 3})
	if err != nil {
		t.Fatal(err)
	}
	tiny, err := modelregistry.NewModel(modelregistry.Spec{Name: "tiny", Weights: weights})
	if err != nil {
		t.Fatal(err)
	}
	html, err := modelregistry.NewModel(modelregistry.Spec{Name: "html", Weights: []byte("<html>no model</html>")})
	if err != nil {
		t.Fatal(err)
	}
	var registry http.Handler
	host := strings.TrimPrefix(serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { registry.ServeHTTP(w, r) })), "http://")
	host = strings.Replace(host, "127.0.0.1", "localhost", 1)
	registry = modelregistry.NewHandler([]*modelregistry.Model{tiny, html}, modelregistry.Options{BlobBase: "http://" + host})
	d := describer(t, Config{})
	m, err := d.Describe(t.Context(), "ollama", host+"/library/tiny")
	if err != nil {
		t.Fatal(err)
	}
	// What is not weights in the file is its header and padding.
	if m.Layers != 3 || m.Architecture != "llama" || m.CacheValues <= 0 || m.WeightBytes > int64(len(weights)) || m.WeightBytes < int64(len(weights))/2 ||
		!strings.HasPrefix(m.Source, "the header of its file at localhost:") {
		t.Errorf("read %+v of %d bytes", m, len(weights))
	}
	if _, err := d.Describe(t.Context(), "ollama", host+"/library/none"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a model that is not there: %v", err)
	}
	if _, err := d.Describe(t.Context(), "ollama", host+"/library/html"); err == nil || !strings.Contains(err.Error(), "does not begin with GGUF") {
		t.Errorf("a file that is no model: %v", err)
	}
}

// A registry must not send us where only this machine gets to.
func TestRedirects(t *testing.T) {
	inner := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("%s was asked for %s", r.Host, r.URL)
	}))
	for target, want := range map[string]string{
		inner + "/secret":                          "without TLS",
		strings.Replace(inner, "http", "https", 1): "not a public address",
		"https://169.254.169.254/latest":           "not a public address",
		"https://[::ffff:10.0.0.1]/":               "not a public address",
	} {
		outer := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, target, http.StatusTemporaryRedirect)
		}))
		d := describer(t, Config{HuggingFace: outer})
		for _, ask := range [][2]string{{"ollama", strings.TrimPrefix(outer, "http://") + "/library/m"}, {"vllm", "Qwen/Qwen3-8B"}} {
			if _, err := d.Describe(t.Context(), ask[0], ask[1]); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s to %s: %v, want %q", ask[0], target, err, want)
			}
		}
	}
	// To itself it may.
	endless := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/again", http.StatusFound) }))
	if _, err := describer(t, Config{HuggingFace: endless}).Describe(t.Context(), "vllm", "a/b"); err == nil || !strings.Contains(err.Error(), "more than 5 times") {
		t.Errorf("in a circle: %v", err)
	}
}

func TestFromHuggingFace(t *testing.T) {
	mux := http.NewServeMux()
	config := `{"model_type":"qwen3","num_hidden_layers":36,"hidden_size":4096,"num_attention_heads":32,"num_key_value_heads":8,"head_dim":128,"max_position_embeddings":40960,"torch_dtype":"bfloat16"}`
	answer := func(path, body string) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer secret" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(body))
		})
	}
	for _, repo := range []string{"many", "one", "none", "huge"} {
		answer("/Qwen/"+repo+"/resolve/main/config.json", config)
	}
	answer("/Qwen/many/resolve/main/model.safetensors.index.json", `{"metadata":{"total_size":16381470720}}`)
	answer("/Qwen/one/resolve/main/model.safetensors", strings.Repeat("x", 12345))
	answer("/Qwen/huge/resolve/main/model.safetensors.index.json", strings.Repeat(" ", modelfit.MaxConfig+1))
	base := serve(t, mux)
	d := describer(t, Config{HuggingFace: base + "/", Token: "secret"})
	for model, want := range map[string]int64{"Qwen/many": 16381470720, "Qwen/one": 12345} {
		m, err := d.Describe(t.Context(), "vllm", model)
		if err != nil || m.WeightBytes != want || m.CacheValues != 36*8*256 || m.Quantization != "bfloat16" {
			t.Errorf("%s: %+v, %v", model, m, err)
		}
	}
	for model, want := range map[string]string{
		"Qwen/none": "it has no safetensors", "Qwen/huge": "has more than 33554432 bytes", "Qwen/other": "there is no such model",
	} {
		if _, err := d.Describe(t.Context(), "vllm", model); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", model, err, want)
		}
	}
	if _, err := describer(t, Config{HuggingFace: base}).Describe(t.Context(), "vllm", "Qwen/one"); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "not for everybody") {
		t.Errorf("without a token: %v", err)
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"qwen3:0.6b": "qwen3:0.6b", "library/tiny": "tiny:latest", "user/m:q4": "user/m:q4",
		"hf.co/OWNER/NAME-GGUF:Q4_K_M": "hf.co/OWNER/NAME-GGUF:Q4_K_M", "localhost:5000/library/m": "localhost:5000/library/m:latest",
	} {
		if n, err := parseOllama(name); err != nil || n.canonical() != want {
			t.Errorf("%s: %s, %v; want %s", name, n.canonical(), err, want)
		}
	}
	d := describer(t, Config{})
	for _, ask := range [][2]string{
		{"ollama", ""}, {"ollama", "../../etc"}, {"ollama", "a/b/c/d"}, {"ollama", "m?x=1"}, {"ollama", "a@b/c/d"}, {"ollama", "m\r\nX: y"},
		{"vllm", "a/b/c"}, {"vllm", "../x"}, {"vllm", "a/b#c"}, {"vllm", "%2e%2e/x"}, {"magic", "m"}, {"", "m"},
	} {
		if _, err := d.Describe(t.Context(), ask[0], ask[1]); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q of %q: %v", ask[1], ask[0], err)
		}
	}
}

func TestOverHTTP(t *testing.T) {
	ollama := serve(t, http.HandlerFunc(fakeOllama))
	d := describer(t, Config{Endpoints: func(context.Context) []string { return []string{ollama} }})
	ask := func(engine, model string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		d.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/models/describe?"+url.Values{"engine": {engine}, "model": {model}}.Encode(), http.NoBody))
		return w
	}
	var m modelfit.Model
	if w := ask("ollama", "qwen3:0.6b"); w.Code != http.StatusOK || json.Unmarshal(w.Body.Bytes(), &m) != nil || m.Layers != 28 {
		t.Errorf("answered %d %s", w.Code, w.Body)
	}
	for status, q := range map[int][2]string{400: {"x", "m"}, 404: {"external", "m"}, 502: {"ollama", "localhost:1/a/b"}} {
		if w := ask(q[0], q[1]); w.Code != status {
			t.Errorf("%v: %d %s, want %d", q, w.Code, w.Body, status)
		}
	}
	for range maxAsking {
		d.places <- struct{}{}
	}
	if w := ask("ollama", "qwen3:0.6b"); w.Code != http.StatusServiceUnavailable {
		t.Errorf("too many at once: %d", w.Code)
	}
}

func TestPublicAddresses(t *testing.T) {
	for text, public := range map[string]bool{
		"8.8.8.8": true, "2606:4700::1111": true, "127.0.0.1": false, "10.1.2.3": false, "192.168.0.1": false, "172.16.0.1": false, "169.254.169.254": false,
		"100.64.0.1": false, "0.0.0.0": false, "224.0.0.1": false, "255.255.255.255": false, "::1": false, "::": false, "fe80::1": false, "fd00::1": false,
		"::ffff:192.168.0.1": false, "64:ff9b::a00:1": false, "2002:a00:1::": false,
	} {
		if err := checkPublic(netip.MustParseAddr(text)); (err == nil) != public {
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := neverLocalLink("tcp", "169.254.169.254:80", nil); err == nil {
		t.Error("a cloud's credentials are asked for")
	}
	if err := onlyPublic("tcp", "10.0.0.1:443", nil); err == nil {
		t.Error("a private address is dialled")
	}
}
