package offlinemodel

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/orchion/orchion/shared/testbed/modelregistry"
)

// startOllama runs the real Ollama with the proxy as its way out and returns
// its URL.
func startOllama(t *testing.T, proxy *modelregistry.Proxy) string {
	t.Helper()
	binary := os.Getenv("ORCHION_TEST_OLLAMA_BIN")
	if binary == "" {
		t.Skip("ORCHION_TEST_OLLAMA_BIN is not set: it names the real Ollama to test with; test-all sets it")
	}
	trust := filepath.Join(t.TempDir(), "registry.pem")
	if err := os.WriteFile(trust, proxy.Certificate(), 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	listener.Close()

	var log bytes.Buffer
	cmd := exec.Command(binary, "serve")
	cmd.Env = append(os.Environ(), "OLLAMA_HOST="+addr, "OLLAMA_MODELS="+t.TempDir(), "HOME="+t.TempDir(),
		"HTTPS_PROXY="+proxy.URL(), "SSL_CERT_FILE="+trust)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// It says "Listening on" when it does; the rest is kept for a failure.
	listening := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		told := false
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			fmt.Fprintln(&log, lines.Text())
			if !told && strings.Contains(lines.Text(), "Listening on") {
				told = true
				close(listening)
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		<-ended
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("Ollama's log:\n%s", log.String())
		}
	})
	select {
	case <-listening:
	case <-ended:
		t.Fatal("Ollama ended at once")
	}
	return "http://" + addr
}

var client = &http.Client{Timeout: 2 * time.Minute}

func post(t *testing.T, url string, body any) *http.Response {
	t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Post(url, "application/json", bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

type pullStatus struct {
	Status, Error    string
	Total, Completed int64
}

func pull(t *testing.T, url, model string) []pullStatus {
	t.Helper()
	resp := post(t, url+"/api/pull", map[string]any{"model": model})
	var all []pullStatus
	for decoder := json.NewDecoder(resp.Body); ; {
		var s pullStatus
		if err := decoder.Decode(&s); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
}

type message struct {
	Role       string     `json:"role"`
	Content    string     `json:"content"`
	ToolCalls  []toolCall `json:"tool_calls,omitempty"`
	ToolCallID string     `json:"tool_call_id,omitempty"`
}

type toolCall struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	Function struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	} `json:"function"`
}

type choice struct {
	Message      message `json:"message"`
	Delta        message `json:"delta"`
	FinishReason string  `json:"finish_reason"`
}

// chat asks in OpenAI's protocol and returns what came, put together.
func chat(t *testing.T, url, model string, stream, tools bool, messages ...message) choice {
	t.Helper()
	body := map[string]any{"model": model, "messages": messages, "stream": stream}
	if tools {
		body["tools"] = []any{map[string]any{"type": "function", "function": map[string]any{
			"name": ToolName, "description": "tells about the machine",
			"parameters": map[string]any{"type": "object", "properties": map[string]any{}},
		}}}
	}
	resp := post(t, url+"/v1/chat/completions", body)
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(resp.Body)
		t.Fatalf("chat with %s: %s: %s", model, resp.Status, text)
	}
	type completion struct {
		Choices []choice `json:"choices"`
	}
	if !stream {
		var reply completion
		if err := json.NewDecoder(resp.Body).Decode(&reply); err != nil {
			t.Fatal(err)
		}
		return reply.Choices[0]
	}
	var whole choice
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok || data == "[DONE]" {
			continue
		}
		var reply completion
		if err := json.Unmarshal([]byte(data), &reply); err != nil {
			t.Fatal(err)
		}
		for _, c := range reply.Choices {
			whole.Message.Content += c.Delta.Content
			whole.Message.ToolCalls = append(whole.Message.ToolCalls, c.Delta.ToolCalls...)
			if c.FinishReason != "" {
				whole.FinishReason = c.FinishReason
			}
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return whole
}

func TestRealOllamaPullsAndAnswers(t *testing.T) {
	models, err := All()
	if err != nil {
		t.Fatal(err)
	}
	// Two seconds for the largest, so that there is progress to see.
	proxy, err := modelregistry.StartProxy(t.Context(), models, models[0].Size()/2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		if err := proxy.Close(); err != nil {
			t.Error(err)
		}
	})
	url := startOllama(t, proxy)

	t.Run("pull shows progress", func(t *testing.T) {
		statuses := pull(t, url, Tiny)
		between := 0
		for _, s := range statuses {
			if s.Error != "" {
				t.Fatalf("pull: %s", s.Error)
			}
			if s.Completed > 0 && s.Completed < s.Total {
				between++
			}
		}
		if last := statuses[len(statuses)-1]; last.Status != "success" || between < 3 {
			t.Errorf("pull ended with %q after %d partial progress reports; want success and 3 or more", last.Status, between)
		}
	})
	t.Run("pull of what is not there", func(t *testing.T) {
		statuses := pull(t, url, "no-such-model")
		last := statuses[len(statuses)-1]
		if want := "pull model manifest: file does not exist"; last.Error != want {
			t.Errorf("pull ended with %+v, want error %q", last, want)
		}
	})
	pull(t, url, Tiny2)
	pull(t, url, TinyLoop)

	user := message{Role: "user", Content: "Where do you run?"}
	for _, stream := range []bool{false, true} {
		t.Run(fmt.Sprintf("answers, stream %v", stream), func(t *testing.T) {
			for model, want := range map[string]string{Tiny: TinyText, Tiny2: Tiny2Text} {
				got := chat(t, url, model, stream, false, user)
				if got.Message.Content != want || got.FinishReason != "stop" {
					t.Errorf("%s said %q (%s), want %q (stop)", model, got.Message.Content, got.FinishReason, want)
				}
			}
		})
		t.Run(fmt.Sprintf("calls a tool, then answers, stream %v", stream), func(t *testing.T) {
			first := chat(t, url, Tiny, stream, true, user)
			if len(first.Message.ToolCalls) != 1 || first.FinishReason != "tool_calls" {
				t.Fatalf("with tools it replied %+v, want one tool call", first)
			}
			call := first.Message.ToolCalls[0]
			if got := strings.ReplaceAll(call.Function.Arguments, " ", ""); call.Function.Name != ToolName ||
				got != strings.ReplaceAll(ToolArguments, " ", "") {
				t.Errorf("it calls %s(%s), want %s(%s)", call.Function.Name, call.Function.Arguments, ToolName, ToolArguments)
			}
			second := chat(t, url, Tiny, stream, true, user,
				message{Role: "assistant", ToolCalls: first.Message.ToolCalls},
				message{Role: "tool", Content: `{"node": "attic"}`, ToolCallID: call.ID})
			if second.Message.Content != TinyText || len(second.Message.ToolCalls) != 0 {
				t.Errorf("after the tool's result it replied %+v, want %q", second, TinyText)
			}
		})
	}
	t.Run("loops until the client leaves", func(t *testing.T) {
		resp := post(t, url+"/v1/chat/completions", map[string]any{
			"model": TinyLoop, "messages": []message{user}, "stream": true,
		})
		lines := bufio.NewScanner(resp.Body)
		for range 2000 {
			if !lines.Scan() {
				t.Fatalf("it stopped: %v", lines.Err())
			}
		}
	})
}
