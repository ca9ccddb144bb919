package api

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/orchion/orchion/orchestrator/internal/tunnel"
)

func TestModelFitOverREST(t *testing.T) {
	h := newHarness(t, settings{dial: func(context.Context, string, tunnel.Target) (net.Conn, error) {
		return nil, errors.New("nobody is there")
	}})
	for path, want := range map[string]string{
		"/api/models/qwen3:0.6b:fit":                   "no node is connected that could find out what the model qwen3:0.6b needs",
		"/api/models/hf.co/OWNER/NAME-GGUF:Q4_K_M:fit": "what the model hf.co/OWNER/NAME-GGUF:Q4_K_M needs",
		"/api/models/Qwen%2FQwen3-8B:fit?engine=vllm":  "what the model Qwen/Qwen3-8B needs",
		"/api/models/m:fit?context=-1":                 "context: is -1; it must be from 1 to 16777216, or 0 for the engine's default",
		"/api/models/m:fit?parallel=1025":              "parallel: is 1025; it must be from 1 to 1024, or 0 for one",
		"/api/models/m:fit?engine=magic":               `engine: is \"magic\"; allowed are ollama, vllm and external`,
		"/api/models/m:fit?contxt=1":                   "contxt: is not a query parameter here; there are engine, context, parallel",
		"/api/models/a%20b:fit":                        "the name of a model holds no spaces",
		"/api/models/m":                                "there is no /api/models/m",
	} {
		if got := h.call(t, "GET", path, ""); got.status < 400 || !strings.Contains(string(got.body), want) {
			t.Errorf("%s: %d %s, want %q", path, got.status, got.body, want)
		}
	}
}
