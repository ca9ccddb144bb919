package external

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/orchion/orchion/node-agent/internal/engine"
	"github.com/orchion/orchion/node-agent/internal/engine/enginetest"
	"github.com/orchion/orchion/node-agent/internal/engine/hosting"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The far sides, each by the answers that tell it apart (path to body). What LM Studio does
// not know it answers with 200 and an error; the others with 404.
var servers = map[string]struct {
	answers map[string]string
	other   string
}{
	"ollama": {answers: map[string]string{
		"/api/version": `{"version":"0.6.5"}`,
		"/v1/models":   `{"object":"list","data":[{"id":"qwen3:0.6b","owned_by":"library"},{"id":"llama3:latest","owned_by":"library"}]}`,
	}},
	"vllm": {answers: map[string]string{
		"/version":   `{"version":"0.11.0"}`,
		"/v1/models": `{"data":[{"id":"Qwen/Qwen3-0.6B","owned_by":"vllm"}]}`,
	}},
	"llama-server": {answers: map[string]string{
		"/props":     `{"build_info":"b6000-abcdef0"}`,
		"/v1/models": `{"data":[{"id":"model.gguf","owned_by":"llamacpp"}]}`,
	}},
	"lmstudio": {answers: map[string]string{
		"/lmstudio-greeting": `{"lmstudio":true}`,
		"/v1/models":         `{"data":[{"id":"qwen3","owned_by":"organization_owner"}]}`,
	}, other: `{"error":"Unexpected endpoint or method."}`},
	"sglang":  {answers: map[string]string{"/v1/models": `{"data":[{"id":"m","owned_by":"sglang"}]}`}},
	"localai": {answers: map[string]string{"/version": `{"version":"v2.20.1 (abc)"}`, "/v1/models": `{"data":[{"id":"m"}]}`}},
	"openai":  {answers: map[string]string{"/v1/models": `{"data":[{"id":"m","owned_by":"me"}]}`}},
	"orchion": {answers: map[string]string{
		"/api/version": `{"name":"orchion","version":"1"}`, "/v1/models": `{"data":[{"id":"m","owned_by":"orchion"}]}`,
	}},
	"orchion behind a proxy": {answers: map[string]string{"/v1/models": `{"data":[{"id":"m","owned_by":"orchion"}]}`}},
	"web site":               {other: `<html>hello</html>`},
	"nothing known":          {},
}

func serve(t *testing.T, which string) string {
	t.Helper()
	s, found := servers[which]
	if !found {
		t.Fatalf("no server %q", which)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			t.Errorf("%s %s: an adopted engine must not be changed", r.Method, r.URL)
		}
		body, found := s.answers[r.URL.Path]
		if !found && s.other == "" {
			http.NotFound(w, r)
			return
		} else if !found {
			body = s.other
		}
		w.Write([]byte(body))
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func client(t *testing.T) *http.Client {
	t.Helper()
	c := hosting.NewClient()
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func TestIdentify(t *testing.T) {
	for which, want := range map[string]engine.Local{
		"ollama":       {Name: "ollama", Version: "0.6.5", Models: []string{"llama3:latest", "qwen3:0.6b"}},
		"vllm":         {Name: "vllm", Version: "0.11.0", Models: []string{"Qwen/Qwen3-0.6B"}},
		"llama-server": {Name: "llama-server", Version: "b6000-abcdef0", Models: []string{"model.gguf"}},
		"lmstudio":     {Name: "lmstudio", Models: []string{"qwen3"}},
		"sglang":       {Name: "sglang", Models: []string{"m"}},
		"localai":      {Name: "localai", Version: "v2.20.1", Models: []string{"m"}},
		"openai":       {Name: "openai", Models: []string{"m"}},
	} {
		t.Run(which, func(t *testing.T) {
			want.Endpoint = serve(t, which)
			for _, suffix := range []string{"", "/", "/v1", "/v1/"} {
				got, err := Identify(t.Context(), client(t), want.Endpoint+suffix)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("Identify(%q) (-want +got):\n%s", suffix, diff)
				}
			}
		})
	}
}

func TestIdentifyNot(t *testing.T) {
	for _, which := range []string{"orchion", "orchion behind a proxy"} {
		if _, err := Identify(t.Context(), client(t), serve(t, which)); !errors.Is(err, ErrOrchion) {
			t.Errorf("%s: error = %v, want ErrOrchion", which, err)
		}
	}
	for _, which := range []string{"web site", "nothing known"} {
		if got, err := Identify(t.Context(), client(t), serve(t, which)); err == nil || !strings.Contains(err.Error(), "ask for its models") {
			t.Errorf("%s: %+v, %v", which, got, err)
		}
	}
	for _, endpoint := range []string{"ftp://x", "http://", "http://user:pass@host", "http://host?x=y"} {
		if _, err := Identify(t.Context(), client(t), endpoint); err == nil || !strings.Contains(err.Error(), "endpoint:") {
			t.Errorf("%s: error = %v", endpoint, err)
		}
	}
}

func portOf(t *testing.T, base string) int {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestProbe(t *testing.T) {
	vllm, ollama, ours := portOf(t, serve(t, "vllm")), portOf(t, serve(t, "ollama")), portOf(t, serve(t, "openai"))
	orchion := portOf(t, serve(t, "orchion"))
	gone := httptest.NewServer(nil)
	gone.Close()
	ports := []int{vllm, portOf(t, gone.URL), ours, orchion, ollama}
	var got []string
	for _, local := range Probe(t.Context(), client(t), ports, func(port int) bool { return port == ours }) {
		got = append(got, local.Name)
	}
	if diff := cmp.Diff([]string{"vllm", "ollama"}, got); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
}

func engineOf(t *testing.T, endpoints ...string) engine.Engine {
	t.Helper()
	e := New(Config{Endpoints: func() []string { return endpoints }})
	t.Cleanup(e.Close)
	return e
}

func TestEnsure(t *testing.T) {
	base := serve(t, "ollama")
	for model, want := range map[string]string{"qwen3:0.6b": "qwen3:0.6b", "llama3": "llama3:latest"} {
		got, err := engineOf(t, serve(t, "nothing known"), base).Ensure(t.Context(), engine.Spec{ReplicaID: "r", Model: model}, nil)
		if err != nil || got != (engine.Replica{Endpoint: base, Model: want}) {
			t.Errorf("Ensure(%s) = %+v, %v", model, got, err)
		}
	}
	_, err := engineOf(t, base).Ensure(t.Context(), engine.Spec{ReplicaID: "r", Model: "other"}, nil)
	if engine.CodeOf(err) != engine.CodeModelNotFound || !strings.Contains(err.Error(), "llama3:latest, qwen3:0.6b") {
		t.Errorf("error = %v, want one that lists the models", err)
	}
	_, err = engineOf(t).Ensure(t.Context(), engine.Spec{ReplicaID: "r", Model: "other"}, nil)
	if engine.CodeOf(err) != engine.CodeUnavailable || !strings.Contains(err.Error(), "--adopt URL") {
		t.Errorf("error = %v", err)
	}
}

func TestConformance(t *testing.T) {
	base := serve(t, "ollama")
	enginetest.Run(t, enginetest.Target{
		New:     func(t *testing.T) engine.Engine { return engineOf(t, base) },
		Spec:    engine.Spec{ReplicaID: "r1", Model: "qwen3:0.6b"},
		Second:  engine.Spec{ReplicaID: "r2", Model: "llama3"},
		Missing: engine.Spec{ReplicaID: "r3", Model: "none"}, MissingCode: engine.CodeModelNotFound,
	})
}

// TestRealOllama adopts a real Ollama that runs as a process of this machine.
func TestRealOllama(t *testing.T) {
	binary := os.Getenv("ORCHION_TEST_OLLAMA_BIN")
	if binary == "" {
		t.Skip("ORCHION_TEST_OLLAMA_BIN is not set: it names the program of a real Ollama")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	base := startOllama(t, ctx, binary)
	c := client(t)
	create(t, ctx, c, base)

	local, err := Identify(ctx, c, base)
	if err != nil {
		t.Fatal(err)
	}
	if local.Name != "ollama" || local.Version == "" || !cmp.Equal(local.Models, []string{"tiny:latest"}) {
		t.Errorf("identified as %+v", local)
	}
	if found := Probe(ctx, c, []int{portOf(t, base)}, nil); len(found) != 1 || found[0].Name != "ollama" {
		t.Errorf("Probe = %+v", found)
	}
	enginetest.Run(t, enginetest.Target{
		New:     func(t *testing.T) engine.Engine { return engineOf(t, base) },
		Spec:    engine.Spec{ReplicaID: "r1", Model: "tiny"},
		Second:  engine.Spec{ReplicaID: "r2", Model: "tiny:latest"},
		Missing: engine.Spec{ReplicaID: "r3", Model: "none"}, MissingCode: engine.CodeModelNotFound,
	})
	if local, err := Identify(ctx, c, base); err != nil || len(local.Models) != 1 {
		t.Errorf("afterwards the server has %+v, %v: it was touched", local, err)
	}
}
