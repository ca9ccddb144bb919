package ollama_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver/docker"
	"github.com/orchion/orchion/node-agent/internal/engine"
	"github.com/orchion/orchion/node-agent/internal/engine/enginetest"
	"github.com/orchion/orchion/node-agent/internal/engine/ollama"
	testengine "github.com/orchion/orchion/shared/testbed/engine"
	"github.com/orchion/orchion/shared/testbed/offlinemodel"
	"github.com/orchion/orchion/shared/testbed/ollamaimage"
)

// The real Ollama in real containers, pulling tiny models from the registry within its image.
func TestDockerConformance(t *testing.T) { testReal(t, "ORCHION_TEST_DOCKER_HOST") }

func TestPodmanConformance(t *testing.T) { testReal(t, "ORCHION_TEST_PODMAN_HOST") }

func testReal(t *testing.T, variable string) {
	t.Parallel()
	host, binary := os.Getenv(variable), os.Getenv("ORCHION_TEST_OLLAMA_BIN")
	if host == "" || binary == "" {
		t.Skipf("needs %s and ORCHION_TEST_OLLAMA_BIN: the socket of a container engine and the program of a real Ollama", variable)
	}
	build, err := testengine.Connect(t.Context(), host)
	if err != nil {
		t.Fatal(err)
	}
	defer build.Close()
	root := filepath.Join("..", "..", "..", "..")
	if err := ollamaimage.Build(t.Context(), []*testengine.Engine{build}, root, binary, t.Output()); err != nil {
		t.Fatal(err)
	}
	d, err := docker.Open(t.Context(), host)
	if err != nil {
		t.Fatal(err)
	}
	node := "ollama-test-" + time.Now().Format("150405.000000")
	t.Cleanup(func() {
		if err := enginetest.RemoveVolumes(context.Background(), d, node); err != nil {
			t.Error(err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	replica := func(id, model string) engine.Spec {
		return engine.Spec{ReplicaID: id, Model: model, Image: offlinemodel.Image}
	}
	open := func(t *testing.T) engine.Engine {
		e := ollama.New(ollama.Config{Driver: d, NodeID: node})
		t.Cleanup(e.Close)
		return e
	}
	enginetest.Run(t, enginetest.Target{
		New:  open,
		Spec: replica("r1", offlinemodel.Tiny), Second: replica("r2", offlinemodel.Tiny2),
		Missing: replica("r3", "no-such-model"), MissingCode: engine.CodeModelNotFound,
		Pulls: true, Driver: d, NodeID: node, Shared: true,
	})

	t.Run("answers", func(t *testing.T) {
		e, spec := open(t), replica("r4", offlinemodel.Tiny)
		served, err := e.Ensure(t.Context(), spec, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := e.Remove(context.Background(), spec, engine.RemoveOptions{}); err != nil {
				t.Error(err)
			}
		})
		if got := chat(t, served); got != offlinemodel.TinyText {
			t.Errorf("answer = %q, want %q", got, offlinemodel.TinyText)
		}
	})
}

func chat(t *testing.T, replica engine.Replica) string {
	t.Helper()
	body := `{"model": "` + replica.Model + `", "messages": [{"role": "user", "content": "hi"}]}`
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, replica.Endpoint+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Choices []struct{ Message struct{ Content string } }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || len(answer.Choices) == 0 {
		t.Fatalf("%s: %+v, %v", resp.Status, answer, err)
	}
	return answer.Choices[0].Message.Content
}
