package gateway

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/orchion/orchion/orchestrator/internal/model"
	"github.com/orchion/orchion/orchestrator/internal/tunnel"
	"github.com/orchion/orchion/shared/testbed/vllmstub"
)

// TestOllamaOnVLLM has Ollama's requests answered by what keeps vLLM's contract.
func TestOllamaOnVLLM(t *testing.T) {
	stub, err := vllmstub.New([]string{"--model", "org/m"}, func(string) string { return "1ns" })
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- stub.Serve(ctx, listener) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	r := newRig(t, Config{
		Routes: fixedRoutes{{Model: "m", ServedModel: "org/m", NodeID: "n1", ReplicaID: "r1", Engine: model.VLLM.String()}},
		Dial: func(ctx context.Context, _ string, _ tunnel.Target) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", listener.Addr().String())
		},
	}, nil)
	for _, c := range []struct {
		path, body string
		want       string // of the words, or how the answer begins
	}{
		{"chat", `{"model":"m","messages":[{"role":"user","content":"hi"}]}`, vllmstub.Reply},
		{"chat", `{"model":"m","stream":false,"messages":[{"role":"user","content":"hi"}]}`, vllmstub.Reply},
		{"generate", `{"model":"m","prompt":"hi"}`, vllmstub.Reply},
		{"generate", `{"model":"m","prompt":"hi","stream":false}`, vllmstub.Reply},
		{"generate", `{"model":"m","prompt":"hi","raw":true}`, vllmstub.Reply},
		{"embed", `{"model":"m","input":"hi"}`, `{"model":"m","embeddings":[[0.6,0.8]]`},
		{"embeddings", `{"model":"m","prompt":"hi"}`, `{"embedding":[0.6,0.8]}`},
	} {
		res := r.do(t, http.MethodPost, "/ollama/api/"+c.path, c.body)
		body := readAll(t, res)
		if strings.HasPrefix(c.want, "{") {
			if !strings.HasPrefix(body, c.want) {
				t.Errorf("%s %s: %s %s", c.path, c.body, res.Status, body)
			}
			continue
		}
		words, done := "", false
		for line := range strings.Lines(body) {
			var l struct {
				Message  struct{ Content string }
				Response string
				Done     bool
			}
			if err := json.Unmarshal([]byte(line), &l); err != nil || done {
				t.Fatalf("%s %s: after its end or no JSON: %s", c.path, c.body, line)
			}
			words += l.Message.Content + l.Response
			done = l.Done
		}
		if words != c.want || !done {
			t.Errorf("%s %s: %s, done %v: %q", c.path, c.body, res.Status, done, words)
		}
	}
}
