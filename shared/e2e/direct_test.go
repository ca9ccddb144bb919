package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestDirectPath has an engine answer on the orchestrator's own machine. That its
// answer goes on when the node agent is killed shows that it does not go through it.
func TestDirectPath(t *testing.T) {
	t.Parallel()
	if len(built.engines) == 0 {
		t.Skip("needs a container engine: set ORCHION_TEST_DOCKER_HOST or ORCHION_TEST_PODMAN_HOST")
	}
	goOn := make(chan struct{}, 1)
	stub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/chat/completions" {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"object":"list","data":[{"id":"near","object":"model"}]}`)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: {\"n\":1}\n\n")
		w.(http.Flusher).Flush()
		select {
		case <-goOn:
		case <-r.Context().Done(): // the node agent was its client
			return
		}
		_, _ = io.WriteString(w, "data: {\"n\":2}\n\ndata: [DONE]\n\n")
	}))
	t.Cleanup(stub.Close)
	for _, direct := range []bool{true, false} {
		t.Run(fmt.Sprintf("direct-path=%t", direct), func(t *testing.T) {
			c := newCluster(t, fmt.Sprintf("--direct-path=%t", direct))
			a := c.addAgent("near", built.engines[0], "--adopt", stub.URL)
			client := c.openAI()
			c.eventually("the engine's model is served", func() error {
				models, err := client.Models.List(t.Context())
				if err == nil && len(models.Data) != 1 {
					err = fmt.Errorf("models are %v", models.Data)
				}
				return err
			})
			response, err := http.Post(c.url+"/v1/chat/completions", "application/json",
				strings.NewReader(`{"model":"near","stream":true,"messages":[{"role":"user","content":"hi"}]}`))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = response.Body.Close() }() // only read from
			body := bufio.NewReader(response.Body)
			if line, err := body.ReadString('\n'); err != nil || line != "data: {\"n\":1}\n" {
				t.Fatalf("the stream begins with %q, %v", line, err)
			}
			a.kill()
			if direct {
				goOn <- struct{}{}
			}
			rest, err := io.ReadAll(body)
			if err != nil || strings.Contains(string(rest), `{"n":2}`) != direct || strings.Contains(string(rest), `"error"`) == direct {
				t.Errorf("the stream goes on with %q, %v", rest, err)
			}
		})
	}
}
