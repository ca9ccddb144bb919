package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

// model answers as a model behind an OpenAI-compatible API would: each request
// gets the next reply, and what was asked is kept.
type model struct {
	t       *testing.T
	replies []string
	asked   []map[string]any
}

func (m *model) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body map[string]any
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		m.t.Errorf("request: %v", err)
	}
	m.asked = append(m.asked, body)
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,"finish_reason":"stop","message":%s}],"usage":{"total_tokens":7}}`,
		m.replies[min(len(m.asked), len(m.replies))-1])
}

func newAgent(t *testing.T, maxSteps int, replies ...string) (*agent, *model) {
	m := &model{t: t, replies: replies}
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	client := openai.NewClient(option.WithBaseURL(server.URL+"/v1"), option.WithAPIKey("key"), option.WithMaxRetries(0))
	return &agent{client: client, model: "m", maxSteps: maxSteps, tools: builtinTools()}, m
}

const callMachine = `{"role":"assistant","content":"","tool_calls":[{"id":"1","type":"function","function":{"name":"machine","arguments":"{}"}}]}`

func TestSolveUsesTools(t *testing.T) {
	t.Setenv("ORCHION_NODE_ID", "attic")
	a, m := newAgent(t, 4, callMachine, `{"role":"assistant","content":"<think>so</think>\n\nIt is attic."}`)
	answer, err := a.solve(t.Context(), "where are you?")
	if err != nil || answer != "It is attic." {
		t.Fatalf("got %q, %v", answer, err)
	}
	if len(m.asked) != 2 {
		t.Fatalf("the model was asked %d times, want 2", len(m.asked))
	}
	messages, _ := m.asked[1]["messages"].([]any)
	last, _ := messages[len(messages)-1].(map[string]any)
	if last["role"] != "tool" || last["tool_call_id"] != "1" || !strings.Contains(fmt.Sprint(last["content"]), `"node":"attic"`) {
		t.Errorf("the tool's result went back as %v", last)
	}
}

func TestSolveGivesUp(t *testing.T) {
	a, m := newAgent(t, 3, callMachine)
	_, err := a.solve(t.Context(), "where are you?")
	if err == nil || !strings.Contains(err.Error(), "no answer after 3 steps") {
		t.Errorf("got %v", err)
	}
	if len(m.asked) != 3 {
		t.Errorf("the model was asked %d times, want 3", len(m.asked))
	}
}

func TestRefusalsAreTold(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"error":{"message":"this job may call only small","type":"invalid_request_error","code":"model_not_allowed"}}`)
	}))
	defer server.Close()
	client := openai.NewClient(option.WithBaseURL(server.URL+"/v1"), option.WithAPIKey("key"), option.WithMaxRetries(0))
	a := &agent{client: client, model: "big", maxSteps: 1}
	if _, err := a.solve(t.Context(), "hello"); err == nil || !strings.Contains(err.Error(), "403") || !strings.Contains(err.Error(), "may call only small") {
		t.Errorf("got %v", err)
	}
}

func TestToolErrorsGoToTheModel(t *testing.T) {
	a, _ := newAgent(t, 1, callMachine)
	for call, want := range map[[2]string]string{
		{"fly", "{}"}:                  `error: there is no tool "fly"`,
		{"now", "soon"}:                "error: the arguments are no JSON object",
		{"now", `{"zone":"No/Where"}`}: "error: zone: ",
	} {
		if got := a.call(call[0], call[1]); !strings.HasPrefix(got, want) {
			t.Errorf("%s(%s) = %q, want %q…", call[0], call[1], got, want)
		}
	}
}

func TestRunNeedsAModel(t *testing.T) {
	t.Setenv("AGENT_MODEL", "")
	if code := run(t.Context(), nil); code != 2 {
		t.Errorf("exit status %d without a model, want 2", code)
	}
	t.Setenv("AGENT_MODEL", "m")
	t.Setenv("AGENT_MAX_STEPS", "0")
	if code := run(t.Context(), nil); code != 2 {
		t.Errorf("exit status %d with no steps, want 2", code)
	}
}
