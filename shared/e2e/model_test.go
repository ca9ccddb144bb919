package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/testbed/engine"
	"github.com/orchion/orchion/shared/testbed/offlinemodel"
)

// deploy serves a model of the offline image and waits until it is ready; it
// answers the highest progress below 100 that was seen on the way.
func (c *cluster) deploy(model string, constraints ...string) (seen float64) {
	c.t.Helper()
	d := &orchionv1.Deployment{}
	if err := c.call(http.MethodPost, "/api/deployments", &orchionv1.CreateDeploymentRequest{Spec: &orchionv1.DeploymentSpec{
		Model: model, Engine: orchionv1.Engine_ENGINE_OLLAMA, Image: offlinemodel.Image, Constraints: constraints,
	}}, d); err != nil {
		c.t.Fatalf("deploying %s: %v", model, err)
	}
	last := -1.0
	c.eventually("model "+model+" is ready", func() error {
		if err := c.get("/api/deployments/"+d.GetName(), d); err != nil {
			return err
		}
		for _, r := range d.GetReplicas() {
			if r.GetState() == orchionv1.ReplicaState_REPLICA_STATE_PULLING && r.GetTotalBytes() > 0 {
				if r.GetProgressPercent() < 100 {
					seen = max(seen, r.GetProgressPercent())
				}
				if r.GetProgressPercent() < last {
					c.t.Errorf("the progress of %s went back from %v to %v", model, last, r.GetProgressPercent())
				}
				last = r.GetProgressPercent()
			}
		}
		if d.GetState() != orchionv1.DeploymentState_DEPLOYMENT_STATE_READY {
			return fmt.Errorf("it is %v: %s %v", d.GetState(), d.GetReason(), d.GetReplicas())
		}
		return nil
	})
	return seen
}

func (c *cluster) openAI() openai.Client {
	return openai.NewClient(option.WithBaseURL(c.url+"/v1"), option.WithAPIKey("none"), option.WithMaxRetries(0))
}

// streamChat asks a model and answers its streamed text.
func streamChat(ctx context.Context, client openai.Client, model string) (string, error) {
	stream := client.Chat.Completions.NewStreaming(ctx, openai.ChatCompletionNewParams{
		Model: model, Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("hello")},
	})
	var text strings.Builder
	for stream.Next() {
		for _, choice := range stream.Current().Choices {
			text.WriteString(choice.Delta.Content)
		}
	}
	return text.String(), stream.Err()
}

func TestModels(t *testing.T) {
	t.Parallel()
	needOllama(t)
	forEachEngine(t, func(t *testing.T, e *engine.Engine) {
		c := newCluster(t)
		a := c.addAgent("models", e)
		if seen := c.deploy(offlinemodel.Tiny); seen == 0 {
			t.Error("no progress of the pull was seen")
		}
		client := c.openAI()

		t.Run("openai-go", func(t *testing.T) {
			models, err := client.Models.List(t.Context())
			if err != nil || len(models.Data) != 1 || models.Data[0].ID != offlinemodel.Tiny {
				t.Errorf("models are %v, %v", models, err)
			}
			if text, err := streamChat(t.Context(), client, offlinemodel.Tiny); err != nil || text != offlinemodel.TinyText {
				t.Errorf("the stream is %q, %v", text, err)
			}
			answer, err := client.Chat.Completions.New(t.Context(), openai.ChatCompletionNewParams{
				Model: offlinemodel.Tiny, Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("hello")},
			})
			if err != nil || answer.Choices[0].Message.Content != offlinemodel.TinyText {
				t.Errorf("the answer is %v, %v", answer, err)
			}
		})
		t.Run("openai for Node", func(t *testing.T) {
			runNode(t, "openai.mjs", "openai", []string{"OPENAI_BASE_URL=" + c.url + "/v1", "OPENAI_API_KEY=none"},
				"models: tiny", "stream: "+offlinemodel.TinyText, "unknown: 404 model_not_found")
		})
		t.Run("anthropic for Node", func(t *testing.T) {
			runNode(t, "anthropic.mjs", "@anthropic-ai/sdk", []string{"ANTHROPIC_BASE_URL=" + c.url, "ANTHROPIC_API_KEY=none"},
				"models: tiny", "message: assistant end_turn "+offlinemodel.TinyText, "usage: true true",
				"stream: true end_turn "+offlinemodel.TinyText, "count: true", "left: true",
				"error: 404 not_found_error true", "error: 400 invalid_request_error true")
		})
		t.Run("an alias leads to the model", func(t *testing.T) {
			if err := c.call(http.MethodPut, "/api/gateway/aliases/fast",
				&orchionv1.PutAliasRequest{Models: []string{"not-there", offlinemodel.Tiny}}, &orchionv1.Alias{}); err != nil {
				t.Fatal(err)
			}
			if text, err := streamChat(t.Context(), client, "fast"); err != nil || text != offlinemodel.TinyText {
				t.Errorf("the stream is %q, %v", text, err)
			}
			if model, err := client.Models.Get(t.Context(), "fast"); err != nil || model.ID != "fast" {
				t.Errorf("as a model it is %v, %v", model, err)
			}
			if err := c.call(http.MethodDelete, "/api/gateway/aliases/fast", nil, nil); err != nil {
				t.Fatal(err)
			}
		})
		t.Run("what is too much at once waits", func(t *testing.T) {
			d, one := &orchionv1.Deployment{}, int32(1)
			if err := c.call(http.MethodPatch, "/api/deployments/"+offlinemodel.Tiny,
				&orchionv1.UpdateDeploymentRequest{Spec: &orchionv1.DeploymentSpec{MaxInFlight: &one}}, d); err != nil {
				t.Fatal(err)
			}
			if r := d.GetReplicas(); len(r) != 1 || r[0].GetOutdated() {
				t.Errorf("a new limit replaces the replica: %v", r)
			}
			var asking sync.WaitGroup
			for range 4 {
				asking.Go(func() {
					if text, err := streamChat(t.Context(), client, offlinemodel.Tiny); err != nil || text != offlinemodel.TinyText {
						t.Errorf("the stream is %q, %v", text, err)
					}
				})
			}
			asking.Wait()
			// A client has its answer a moment before the gateway is done with it.
			c.eventually("the queue of "+offlinemodel.Tiny+" is empty", func() error {
				queues := &orchionv1.ListModelQueuesResponse{}
				if err := c.get("/api/gateway/queues?model="+offlinemodel.Tiny, queues); err != nil {
					return err
				}
				if q := queues.GetQueues(); len(q) != 1 || q[0].GetMaxInFlight() != 1 || q[0].GetInFlight() != 0 || q[0].GetMaxQueued() == 0 {
					return fmt.Errorf("it is %v", q)
				}
				return nil
			})
		})
		t.Run("an unknown model is not found", func(t *testing.T) {
			_, err := streamChat(t.Context(), client, "nope")
			var failure *openai.Error
			if !errors.As(err, &failure) || failure.StatusCode != http.StatusNotFound || failure.Code != "model_not_found" ||
				!strings.Contains(failure.Message, offlinemodel.Tiny) {
				t.Errorf("got %v, want a 404 that lists what there is", err)
			}
		})
		t.Run("the answer says where it came from", func(t *testing.T) {
			response, err := http.Post(c.url+"/v1/chat/completions", "application/json",
				strings.NewReader(`{"model":"tiny","messages":[{"role":"user","content":"hi"}]}`))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = response.Body.Close() }() // only read from
			if _, err := io.Copy(io.Discard, response.Body); err != nil {
				t.Error(err)
			}
			if got := response.Header.Get("X-Orchion-Node"); got != a.id {
				t.Errorf("X-Orchion-Node is %q, want %q", got, a.id)
			}
		})
		t.Run("a chat job", func(t *testing.T) {
			id := strings.TrimSpace(c.cli("job", "submit", "--chat", offlinemodel.Tiny, "hello"))
			if job := c.waitJob(id, succeeded); job.GetResult().GetOutput() != offlinemodel.TinyText {
				t.Errorf("the output is %q", job.GetResult().GetOutput())
			}
		})
		t.Run("an agent in a container", func(t *testing.T) {
			// The model calls the tool, then answers: the loop goes twice
			// through container, node, gateway, node and engine.
			id := c.submit([]string{"where are you?"}, func(r *orchionv1.SubmitJobRequest) {
				container := r.Spec.GetContainer()
				container.Image, container.Models = agentImage, []string{offlinemodel.Tiny}
				container.Env = map[string]string{"AGENT_MODEL": offlinemodel.Tiny}
			})
			job := c.waitJob(id, succeeded)
			if got := strings.TrimSpace(job.GetResult().GetOutput()); got != offlinemodel.TinyText {
				t.Errorf("the agent answered %q", got)
			}
			if log := c.logText(id); !strings.Contains(log, `tool machine({}) = {`) || !strings.Contains(log, `"node":"`+a.id+`"`) {
				t.Errorf("the log tells of no tool call:\n%s", log)
			}
		})
		t.Run("a job may call only the models it declares", func(t *testing.T) {
			id := c.submit([]string{"hello"}, func(r *orchionv1.SubmitJobRequest) {
				container := r.Spec.GetContainer()
				container.Image, container.Models = agentImage, []string{"another"}
				container.Env = map[string]string{"AGENT_MODEL": offlinemodel.Tiny}
			})
			c.waitJob(id, failed)
			if log := c.logText(id); !strings.Contains(log, "403") || !strings.Contains(log, "another") {
				t.Errorf("the log is\n%s", log)
			}
		})
		t.Run("a client that leaves stops the engine", func(t *testing.T) {
			c.deploy(offlinemodel.TinyLoop)
			ctx, cancel := context.WithCancel(t.Context())
			stream := client.Chat.Completions.NewStreaming(ctx, openai.ChatCompletionNewParams{
				Model: offlinemodel.TinyLoop, Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("go")},
			})
			if !stream.Next() {
				t.Fatalf("no first token: %v", stream.Err())
			}
			inFlight := func(want int32) error {
				d := &orchionv1.Deployment{}
				if err := c.get("/api/deployments/"+offlinemodel.TinyLoop, d); err != nil {
					return err
				}
				if len(d.GetReplicas()) != 1 || d.GetReplicas()[0].GetInFlight() != want {
					return fmt.Errorf("replicas are %v, want %d in flight", d.GetReplicas(), want)
				}
				return nil
			}
			if err := inFlight(1); err != nil {
				t.Error(err)
			}
			cancel()
			left := time.Now()
			c.nothingInFlight()
			c.eventually("the replica has nothing to do", func() error { return inFlight(0) })
			if took := time.Since(left); took > 2*time.Second {
				t.Errorf("stopping took %v", took)
			}
			_ = stream.Close() // it was cancelled
		})
		t.Run("is removed", func(t *testing.T) {
			c.cli("model", "rm", offlinemodel.TinyLoop, offlinemodel.Tiny)
			c.eventually("no container is left", func() error {
				states, err := e.ContainerStates(context.Background(), "orchion.node="+a.id)
				if err == nil && len(states) > 0 {
					err = fmt.Errorf("containers are %v", states)
				}
				return err
			})
		})
	})
}

// metric answers the value of a metric without labels, or the sum over them.
func (c *cluster) metric(name string) (string, error) {
	response, err := http.Get(c.url + "/metrics")
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }() // only read from
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	sum, found := 0.0, false
	for line := range strings.Lines(string(data)) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || (rest[0] != ' ' && rest[0] != '{') {
			continue
		}
		var value float64
		if _, err := fmt.Sscanf(rest[strings.LastIndexByte(rest, ' ')+1:], "%g", &value); err != nil {
			return "", fmt.Errorf("%q: %w", line, err)
		}
		sum, found = sum+value, true
	}
	if !found {
		return "", fmt.Errorf("there is no metric %s", name)
	}
	return fmt.Sprint(sum), nil
}

// TestTwoAgentsTwoModelsTwentyJobs is the whole at once, on every engine there
// is: where there are two, one agent on each.
func TestTwoAgentsTwoModelsTwentyJobs(t *testing.T) {
	// Not beside others: Chromium breaks off its requests when networks change, as
	// they do whenever containers start.
	needOllama(t)
	c := newCluster(t)
	first, last := built.engines[0], built.engines[len(built.engines)-1]
	one, two := c.addAgent("one", first), c.addAgent("two", last)
	c.deploy(offlinemodel.Tiny, "node="+one.id)
	c.deploy(offlinemodel.Tiny2, "node="+two.id)
	var ids []string
	for i := range 20 {
		ids = append(ids, c.submit([]string{"lines", "10", "20ms"}, func(r *orchionv1.SubmitJobRequest) { r.Name = fmt.Sprintf("job-%02d", i) }))
	}
	perNode := map[string]int{}
	for _, id := range ids {
		job := c.waitJob(id, succeeded)
		perNode[job.GetAttempts()[0].GetNodeId()]++
		wantLines(t, c.logText(id), 10)
	}
	if perNode[one.id] == 0 || perNode[two.id] == 0 {
		t.Errorf("jobs per node are %v, want both used", perNode)
	}
	client := c.openAI()
	for model, want := range map[string]string{offlinemodel.Tiny: offlinemodel.TinyText, offlinemodel.Tiny2: offlinemodel.Tiny2Text} {
		if text, err := streamChat(t.Context(), client, model); err != nil || text != want {
			t.Errorf("%s says %q, %v", model, text, err)
		}
	}

	list := &orchionv1.ListJobsResponse{}
	if err := c.get("/api/jobs?state=JOB_STATE_SUCCEEDED&pageSize=7", list); err != nil || len(list.GetJobs()) != 7 || list.GetNextPageToken() == "" {
		t.Errorf("the first page has %d jobs, %v", len(list.GetJobs()), err)
	}
	if out := c.cli("job", "ls"); strings.Count(out, "succeeded") != 20 {
		t.Errorf("orchion job ls:\n%s", out)
	}
	if out := c.cli("node", "ls"); !strings.Contains(out, one.id) || !strings.Contains(out, two.id) {
		t.Errorf("orchion node ls:\n%s", out)
	}
	if out := c.cli("model", "ls"); strings.Count(out, "ready") != 2 {
		t.Errorf("orchion model ls:\n%s", out)
	}
	if out := c.cli("chat", offlinemodel.Tiny, "hello"); out != offlinemodel.TinyText+"\n" {
		t.Errorf("orchion chat: %q", out)
	}
	c.browse(t, one.id, two.id, offlinemodel.Tiny, offlinemodel.Tiny2, "job-19")
}

// browse looks at the cluster through the dashboard in Chromium and the tree
// views in VS Code, where they can be had.
func (c *cluster) browse(t *testing.T, names ...string) {
	for workspace, script := range map[string]string{"dashboard": "test:browser", "vscode-extension": "test"} {
		t.Run(workspace, func(t *testing.T) {
			if os.Getenv("ORCHION_TEST_BROWSER") == "" {
				t.Skip("needs Chromium and npm install: set ORCHION_TEST_BROWSER=1")
			}
			cmd := exec.CommandContext(t.Context(), "npm", "run", script, "-w", workspace)
			cmd.Dir = built.root
			cmd.Env = append(os.Environ(), "ORCHION_E2E_URL="+c.url, "ORCHION_E2E_EXPECT="+strings.Join(names, ","))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("npm run %s -w %s: %v\n%s", script, workspace, err, out)
			}
		})
	}
}

// runNode runs a program that uses a package of Node's with the tiny model, and checks what
// it prints.
func runNode(t *testing.T, program, pkg string, env []string, want ...string) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("needs Node.js")
	}
	if _, err := os.Stat(filepath.Join(built.root, "node_modules", filepath.FromSlash(pkg))); err != nil {
		t.Skipf("needs the package %s: npm install", pkg)
	}
	cmd := exec.CommandContext(t.Context(), node, program, offlinemodel.Tiny)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if lines := strings.Join(want, "\n") + "\n"; err != nil || string(out) != lines {
		t.Errorf("it printed %q, %v; want %q", out, err, lines)
	}
}
