package vllmstub

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

func start(t *testing.T, env map[string]string, args ...string) string {
	t.Helper()
	s, err := New(args, func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return "http://" + l.Addr().String()
}

func call(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func TestLoading(t *testing.T) {
	url := start(t, map[string]string{LoadVar: "1h"}, "--model", "org/m")
	if code, _ := call(t, "GET", url+"/health", ""); code != http.StatusServiceUnavailable {
		t.Errorf("health while loading = %d, want 503", code)
	}
}

func TestAnswers(t *testing.T) {
	url := start(t, map[string]string{LoadVar: "0s"}, "--model", "org/m", "--served-model-name", "m", "--max-model-len", "123")
	for {
		if code, _ := call(t, "GET", url+"/health", ""); code == http.StatusOK {
			break
		}
	}
	for _, tt := range []struct{ method, path, body, want string }{
		{"GET", "/v1/models", "", `"max_model_len":123`},
		{"GET", "/metrics", "", `vllm:num_requests_running{model_name="m"} 0`},
		{"POST", "/v1/chat/completions", `{"model":"m"}`, Reply},
		{"POST", "/v1/completions", `{"model":"m"}`, Reply},
		{"POST", "/v1/embeddings", `{"model":"m","input":"x"}`, `"embedding":[0.6,0.8]`},
		{"POST", "/v1/chat/completions", `{"model":"other"}`, "The model `other` does not exist."},
		{"POST", "/v1/chat/completions", `{`, "unexpected EOF"},
	} {
		if _, got := call(t, tt.method, url+tt.path, tt.body); !strings.Contains(got, tt.want) {
			t.Errorf("%s %s = %s, want %s in it", tt.path, tt.body, got, tt.want)
		}
	}
	_, stream := call(t, "POST", url+"/v1/chat/completions", `{"model":"m","stream":true}`)
	var text strings.Builder
	var last string
	for scan := bufio.NewScanner(strings.NewReader(stream)); scan.Scan(); {
		data, found := strings.CutPrefix(scan.Text(), "data: ")
		if !found {
			continue
		}
		last = data
		var chunk struct {
			Choices []struct{ Delta struct{ Content string } }
		}
		if json.Unmarshal([]byte(data), &chunk) == nil {
			text.WriteString(chunk.Choices[0].Delta.Content)
		}
	}
	if text.String() != Reply || last != "[DONE]" {
		t.Errorf("streamed %q, last %q", text.String(), last)
	}
}

func TestBadArguments(t *testing.T) {
	for args, want := range map[string]string{
		"":                     "want --model",
		"--model m --nonsense": "flag provided but not defined: -nonsense",
	} {
		if _, err := New(strings.Fields(args), func(string) string { return "" }); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New(%q): %v, want %q", args, err, want)
		}
	}
}
