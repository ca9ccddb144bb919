package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/ollama/ollama/api"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/testbed/offlinemodel"
)

// ollamaCLI runs the real ollama command line against the cluster.
func (c *cluster) ollamaCLI(stdin string, args ...string) (string, error) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Getenv("ORCHION_TEST_OLLAMA_BIN"), args...)
	cmd.Env = append(os.Environ(), "OLLAMA_HOST="+c.url+"/ollama", "HOME="+c.dir)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return plain.ReplaceAllString(string(out), ""), err
}

// plain finds what the command line writes for terminals.
var plain = regexp.MustCompile(`\x1b\[[?0-9;]*[a-zA-Z]`)

// TestOllamaAPI has Ollama's own clients use the cluster as if it were one
// Ollama, and compares what it answers with what the engine answers directly.
func TestOllamaAPI(t *testing.T) {
	t.Parallel()
	needOllama(t)
	direct := startOllama(t, offlinemodel.Tiny)
	c := newCluster(t)
	a := c.addAgent("ollama", built.engines[0], "--adopt", direct)
	c.eventually("the adopted model is served", func() error {
		out, err := c.ollamaCLI("", "list")
		if err == nil && !strings.Contains(out, "tiny:latest") {
			err = errors.New(out)
		}
		return err
	})

	t.Run("answers as the engine does", func(t *testing.T) { compareOllama(t, direct, c.url+"/ollama") })
	t.Run("command line", func(t *testing.T) { c.ollamaCommands(t) })
	t.Run("Go client", func(t *testing.T) { c.ollamaGoClient(t, a.id) })
	t.Run("pull and rm", func(t *testing.T) { c.ollamaPulls(t) })
}

func (c *cluster) ollamaCommands(t *testing.T) {
	for _, step := range []struct {
		stdin string
		args  []string
		want  []string
		fails bool
	}{
		{"hello\n", []string{"run", "tiny"}, []string{offlinemodel.TinyText}, false},
		{"", []string{"ps"}, []string{"tiny:latest", "100% CPU", "from now"}, false},
		{"", []string{"show", "tiny"}, []string{"llama", "completion"}, false},
		{"", []string{"pull", "tiny"}, []string{"success"}, false},
		{"", []string{"stop", "tiny"}, nil, false},
		{"", []string{"show", "nope"}, []string{"not found", "tiny"}, true},
		{"", []string{"stop", "nope"}, []string{"couldn't find model"}, true},
		{"", []string{"rm", "tiny"}, []string{"Orchion did not start"}, true},
		{"", []string{"cp", "tiny", "other"}, []string{"/api/copy is not served here"}, true},
	} {
		out, err := c.ollamaCLI(step.stdin, step.args...)
		if (err != nil) != step.fails {
			t.Errorf("ollama %v: %v\n%s", step.args, err, out)
		}
		for _, want := range step.want {
			if !strings.Contains(out, want) {
				t.Errorf("ollama %v prints\n%s\nwithout %q", step.args, out, want)
			}
		}
	}
	c.eventually("the stopped model is not loaded", func() error {
		out, err := c.ollamaCLI("", "ps")
		if err == nil && strings.Contains(out, "tiny") && !strings.Contains(out, "Stopping") {
			err = errors.New(out)
		}
		return err
	})
}

func (c *cluster) ollamaGoClient(t *testing.T, nodeID string) {
	base, err := url.Parse(c.url + "/ollama")
	if err != nil {
		t.Fatal(err)
	}
	client := api.NewClient(base, http.DefaultClient)
	ctx := t.Context()
	if err := client.Heartbeat(ctx); err != nil {
		t.Errorf("heartbeat: %v", err)
	}
	if version, err := client.Version(ctx); err != nil || version == "" {
		t.Errorf("version %q, %v", version, err)
	}
	models, err := client.List(ctx)
	if err != nil || len(models.Models) != 1 || models.Models[0].Name != "tiny:latest" || models.Models[0].Size == 0 ||
		models.Models[0].Details.Family != "llama" {
		t.Errorf("models are %+v, %v", models, err)
	}
	var text strings.Builder
	var last api.ChatResponse
	chat := &api.ChatRequest{Model: "tiny", Messages: []api.Message{{Role: "user", Content: "hello"}}}
	err = client.Chat(ctx, chat, func(r api.ChatResponse) error {
		text.WriteString(r.Message.Content)
		last = r
		return nil
	})
	if err != nil || text.String() != offlinemodel.TinyText || !last.Done || last.EvalCount == 0 {
		t.Errorf("the chat is %q, %+v, %v", text.String(), last, err)
	}
	left := errors.New("enough")
	if err := client.Chat(ctx, chat, func(api.ChatResponse) error { return left }); !errors.Is(err, left) {
		t.Errorf("a chat that is left: %v", err)
	}
	chat.Tools = api.Tools{{Type: "function", Function: api.ToolFunction{Name: offlinemodel.ToolName}}}
	called := ""
	err = client.Chat(ctx, chat, func(r api.ChatResponse) error {
		for _, call := range r.Message.ToolCalls {
			called += call.Function.Name
		}
		return nil
	})
	if err != nil || called != offlinemodel.ToolName {
		t.Errorf("it calls %q, %v", called, err)
	}
	if vectors, err := client.Embed(ctx, &api.EmbedRequest{Model: "tiny", Input: []string{"a", "b"}}); err != nil || len(vectors.Embeddings) != 2 {
		t.Errorf("embeddings: %v, %v", vectors, err)
	}
	chat.Model = "nope"
	var status api.StatusError
	if err := client.Chat(ctx, chat, func(api.ChatResponse) error { return nil }); err == nil || !strings.Contains(err.Error(), "not found") {
		t.Errorf("an unknown model: %v", err)
	}
	if _, err := client.Show(ctx, &api.ShowRequest{Model: "nope"}); !errors.As(err, &status) || status.StatusCode != http.StatusNotFound {
		t.Errorf("an unknown model is shown: %v", err)
	}
	// What it took is counted.
	c.eventually("the usage is told", func() error {
		usage := &orchionv1.GetUsageResponse{}
		if err := c.get("/api/usage?model=tiny:latest&nodeId="+nodeID, usage); err != nil {
			return err
		}
		if total := usage.GetTotal(); total.GetTokensIn() == 0 || total.GetTokensOut() == 0 {
			return fmt.Errorf("it is %v", usage)
		}
		return nil
	})
}

// ollamaPulls deploys with the offline image and has the command line wait for
// it; a pull of its own would want Ollama's image from the internet.
func (c *cluster) ollamaPulls(t *testing.T) {
	d := &orchionv1.Deployment{}
	if err := c.call(http.MethodPost, "/api/deployments", &orchionv1.CreateDeploymentRequest{Spec: &orchionv1.DeploymentSpec{
		Model: offlinemodel.Tiny2, Engine: orchionv1.Engine_ENGINE_OLLAMA, Image: offlinemodel.Image,
	}}, d); err != nil {
		t.Fatal(err)
	}
	out, err := c.ollamaCLI("", "pull", "tiny2:latest")
	if err != nil || !strings.Contains(out, "success") || !strings.Contains(out, "pulling") {
		t.Errorf("ollama pull: %v\n%s", err, out)
	}
	if out, err := c.ollamaCLI("hi\n", "run", "tiny2"); err != nil || !strings.Contains(out, offlinemodel.Tiny2Text) {
		t.Errorf("ollama run: %v\n%s", err, out)
	}
	if out, err := c.ollamaCLI("", "rm", "tiny2"); err != nil || !strings.Contains(out, "deleted 'tiny2'") {
		t.Errorf("ollama rm: %v\n%s", err, out)
	}
	if out, err := c.ollamaCLI("", "list"); err != nil || strings.Contains(out, "tiny2") {
		t.Errorf("ollama list: %v\n%s", err, out)
	}
	c.eventually("the deployment is gone", func() error {
		if err := c.get("/api/deployments/tiny2", d); err == nil {
			return fmt.Errorf("it is %v", d.GetState())
		}
		return nil
	})
}

// TestOllamaWithoutNodes pulls and removes where nothing can be served yet.
func TestOllamaWithoutNodes(t *testing.T) {
	t.Parallel()
	if os.Getenv("ORCHION_TEST_OLLAMA_BIN") == "" {
		t.Skip("needs Ollama: set ORCHION_TEST_OLLAMA_BIN")
	}
	c := newCluster(t, "--cold-model-timeout=1s")
	pulled := make(chan string, 1)
	go func() {
		out, err := c.ollamaCLI("", "pull", "qwen3:0.6b")
		pulled <- fmt.Sprint(out, err)
	}()
	d := &orchionv1.Deployment{}
	c.eventually("the pull has deployed the model", func() error { return c.get("/api/deployments/qwen3-0-6b", d) })
	if spec := d.GetSpec(); spec.GetModel() != "qwen3:0.6b" || spec.GetEngine() != orchionv1.Engine_ENGINE_OLLAMA || spec.GetReplicas() != 1 {
		t.Errorf("deployed is %v", spec)
	}
	if out, err := c.ollamaCLI("", "show", "qwen3:0.6b"); err == nil || !strings.Contains(out, "is deployed but not ready") {
		t.Errorf("ollama show: %v\n%s", err, out)
	}
	if out, err := c.ollamaCLI("", "rm", "qwen3:0.6b"); err != nil {
		t.Errorf("ollama rm: %v\n%s", err, out)
	}
	if out := <-pulled; !strings.Contains(out, "pulling manifest") || !strings.Contains(out, "Error: ") || !strings.Contains(out, "qwen3-0-6b") {
		t.Errorf("ollama pull: %s", out)
	}
	c.eventually("the deployment is gone", func() error {
		if err := c.get("/api/deployments/qwen3-0-6b", d); err == nil {
			return fmt.Errorf("it is %v", d.GetState())
		}
		return nil
	})
}

func compareOllama(t *testing.T, direct, through string) {
	const hello = `"messages":[{"role":"user","content":"hello"}]`
	const tool = `"tools":[{"type":"function","function":{"name":"machine","description":"d","parameters":{"type":"object","required":[],"properties":{}}}}]`
	for i, row := range [][2]string{
		{"/api/chat", `{"model":"tiny",` + hello + `}`},
		{"/api/chat", `{"model":"tiny","stream":true,` + hello + `}`},
		{"/api/chat", `{"model":"tiny","stream":false,` + hello + `}`},
		{"/api/chat", `{"model":"tiny:latest",` + hello + `}`},
		{"/api/chat", `{"model":"tiny","options":{"seed":7,"temperature":0.5,"num_predict":6},` + hello + `}`},
		{"/api/chat", `{"model":"tiny","stream":false,"options":{"num_predict":3},` + hello + `}`},
		{"/api/chat", `{"model":"tiny","options":{"stop":["tiny"]},` + hello + `}`},
		{"/api/chat", `{"model":"tiny","unknown":{"x":[1,2,{"y":null}]},` + hello + `}`},
		{"/api/chat", `{"model":"tiny",` + tool + `,` + hello + `}`},
		{"/api/chat", `{"model":"tiny","stream":false,` + tool + `,` + hello + `}`},
		{"/api/chat", `{"model":"tiny","messages":[{"role":"system","content":"be brief"},{"role":"user","content":"äöü \u00e9 \ud83d\ude00"}]}`},
		{"/api/chat", `{"model":"tiny","messages":[]}`},
		{"/api/chat", `{"model":"tiny","keep_alive":"5m",` + hello + `}`},
		{"/api/chat", `{"model":"tiny","messages":[{"role":"user","content":7}]}`},
		{"/api/generate", `{"model":"tiny","prompt":"hello"}`},
		{"/api/generate", `{"model":"tiny","prompt":"hello","stream":false}`},
		{"/api/generate", `{"model":"tiny","prompt":"hello","system":"be brief","options":{"num_predict":4}}`},
		{"/api/generate", `{"model":"tiny","prompt":"hello","raw":true,"options":{"num_predict":4}}`},
		{"/api/generate", `{"model":"tiny","prompt":"hello","raw":true,"template":"x"}`},
		{"/api/generate", `{"model":"tiny","prompt":"hello","template":"{{ .Prompt }}<|assistant|>","stream":false}`},
		{"/api/generate", `{"model":"tiny","prompt":"a","suffix":"b"}`},
		{"/api/generate", `{"model":"tiny","prompt":"hello","context":[1,2,3],"options":{"num_predict":4}}`},
		{"/api/generate", `{"model":"tiny"}`},
		{"/api/generate", `{"model":"tiny","prompt":"hello","options":{"temperature":"hot"}}`},
		{"/api/embed", `{"model":"tiny","input":"hello"}`},
		{"/api/embed", `{"model":"tiny","input":["hello","world"],"truncate":true}`},
		{"/api/embed", `{"model":"tiny","input":7}`},
		{"/api/embed", `{"model":"tiny"}`},
		{"/api/embeddings", `{"model":"tiny","prompt":"hello"}`},
		{"/api/show", `{"model":"tiny"}`},
		{"/api/show", `{"model":"","name":"tiny","verbose":false}`},
		{"/api/show", `{"model":"tiny","verbose":true}`},
		{"/api/generate", `{"model":"tiny","keep_alive":0}`},
		{"/api/chat", `{"model":"tiny","messages":[],"keep_alive":0}`},
	} {
		t.Run(fmt.Sprintf("%02d%s", i, row[0]), func(t *testing.T) {
			conformance{request: "POST " + row[0], body: row[1]}.compare(t, direct, through)
		})
	}
}
