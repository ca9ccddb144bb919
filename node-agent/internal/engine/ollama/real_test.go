package ollama_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/driver/docker"
	"github.com/orchion/orchion/node-agent/internal/engine"
	"github.com/orchion/orchion/node-agent/internal/engine/enginetest"
	"github.com/orchion/orchion/node-agent/internal/engine/ollama"
	"github.com/orchion/orchion/node-agent/internal/modelshare"
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
	open := func(t *testing.T) *ollama.Engine {
		e := ollama.New(ollama.Config{Driver: d, NodeID: node})
		t.Cleanup(e.Close)
		return e
	}
	enginetest.Run(t, enginetest.Target{
		New:  func(t *testing.T) engine.Engine { return open(t) },
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
		testFromNeighbour(t, d, node, e, spec)
	})
	t.Run("makes a model of a Modelfile, with settings of its own", func(t *testing.T) {
		testRecipe(t, open(t), replica("r5", "helper"))
	})
}

// neighbour is another node as a source of models, without an orchestrator between.
type neighbour struct {
	engine    *ollama.Engine
	replicaID string

	mu    sync.Mutex // guards asked
	asked []string   // digests
	spoil bool       // gives what does not have the digest
}

func (n *neighbour) copy(ctx context.Context, digest string) ([]byte, error) {
	var content bytes.Buffer
	err := n.engine.CopyFile(ctx, n.replicaID, digest, 0, func(int64) (io.Writer, error) { return &content, nil })
	return content.Bytes(), err
}

func (n *neighbour) Manifest(ctx context.Context, _ string, _ func(string)) ([]byte, string, error) {
	data, err := n.copy(ctx, "")
	return data, "neighbour", err
}

func (n *neighbour) File(ctx context.Context, _, digest string, progress func(int64)) (ollama.PeerFile, error) {
	n.mu.Lock()
	n.asked = append(n.asked, digest)
	n.mu.Unlock()
	content, err := n.copy(ctx, digest)
	progress(int64(len(content)))
	if n.spoil {
		content[0]++
	}
	return inMemory(content), err
}

type inMemory []byte

func (m inMemory) Open() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(m)), nil }
func (m inMemory) Release()                     {}

// testFromNeighbour: a model is copied from another node, and is the same there. What does
// not have its digest is not taken, and the model pulled instead.
func testFromNeighbour(t *testing.T, d driver.Driver, node string, source *ollama.Engine, spec engine.Spec) {
	for _, spoil := range []bool{false, true} {
		t.Run(fmt.Sprintf("spoilt: %v", spoil), func(t *testing.T) {
			near := &neighbour{engine: source, replicaID: spec.ReplicaID, spoil: spoil}
			other := fmt.Sprintf("%s-copy-%v", node, spoil)
			e := ollama.New(ollama.Config{Driver: d, NodeID: other, Peers: near})
			defer e.Close()
			copied := spec
			copied.ReplicaID = "copied"
			defer func() {
				err := e.Remove(context.Background(), copied, engine.RemoveOptions{})
				if err := errors.Join(err, enginetest.RemoveVolumes(context.Background(), d, other)); err != nil {
					t.Error(err)
				}
			}()
			var reasons []string
			served, err := e.Ensure(t.Context(), copied, func(s engine.Status) {
				if !slices.Contains(reasons, s.Reason) {
					reasons = append(reasons, s.Reason)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := chat(t, served); got != offlinemodel.TinyText {
				t.Errorf("answer = %q, want %q", got, offlinemodel.TinyText)
			}
			if len(near.asked) < 1 {
				t.Errorf("the files %v were copied", near.asked)
			}
			all := strings.Join(reasons, "; ")
			pulled := strings.Contains(all, "pulling model tiny:latest, since it could not be copied from another node: ")
			if !strings.Contains(all, "copying model tiny:latest from node neighbour") || pulled != spoil {
				t.Errorf("the reasons were %s", all)
			}
			if err := e.CopyFile(t.Context(), "copied", "sha256:"+strings.Repeat("0", 64), 0, nil); !errors.Is(err, modelshare.ErrNoFile) {
				t.Errorf("a file that is not of the model: %v", err)
			}
			if err := e.CopyFile(t.Context(), "nobody", "", 0, nil); !errors.Is(err, modelshare.ErrNoFile) {
				t.Errorf("a replica that is not here: %v", err)
			}
		})
	}
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

// testRecipe has a model made, and looks at what the real Ollama made of it.
func testRecipe(t *testing.T, e *ollama.Engine, spec engine.Spec) {
	spec.Ollama = engine.OllamaSettings{
		Modelfile:   "FROM " + offlinemodel.Tiny + "\nSYSTEM \"\"\"Be\nbrief.\"\"\"\nPARAMETER num_ctx 1024\nPARAMETER stop <end>\nMESSAGE user hello",
		NumParallel: 1, ContextLength: 2048, KeepAlive: time.Hour,
	}
	served, err := e.Ensure(t.Context(), spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Remove(context.Background(), spec, engine.RemoveOptions{DeleteModel: true}); err != nil {
			t.Error(err)
		}
	})
	if got := chat(t, served); got != offlinemodel.TinyText {
		t.Errorf("answer = %q, want %q", got, offlinemodel.TinyText)
	}
	var shown struct{ System, Parameters string }
	ask(t, http.MethodPost, served.Endpoint+"/api/show", `{"model": "helper"}`, &shown)
	if shown.System != "Be\nbrief." || !strings.Contains(shown.Parameters, "1024") || !strings.Contains(shown.Parameters, "<end>") {
		t.Errorf("the model is %+v", shown)
	}
	var running struct {
		Models []struct {
			Name      string
			ExpiresAt time.Time `json:"expires_at"`
		}
	}
	ask(t, http.MethodGet, served.Endpoint+"/api/ps", "", &running)
	if len(running.Models) != 1 || running.Models[0].Name != "helper:latest" {
		t.Fatalf("in memory are %+v", running)
	}
	if left := time.Until(running.Models[0].ExpiresAt); left < 50*time.Minute || left > time.Hour {
		t.Errorf("it stays for %v", left)
	}
}

// ask asks Ollama's own API.
func ask(t *testing.T, method, url, body string, answer any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(answer); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v", resp.Status, err)
	}
}
