// Package vllmstub is a stub of vLLM's OpenAI server: it keeps the contract that a node
// leans on (arguments, port, health, metrics, the shape of the answers) and runs no model.
// It says the same words to everybody. Use it to test lifecycle and routing; whatever is
// about generation is tested with the real Ollama.
package vllmstub

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// Image is the name of the stub's image: vLLM's own, with a tag that keeps it apart.
const Image = "docker.io/vllm/vllm-openai:orchion-stub"

// LoadVar names the environment variable with the time that "loading" takes, such as "2s".
const LoadVar = "VLLM_STUB_LOAD"

// Reply is what the stub answers.
const Reply = "This is a stub of vLLM."

// MissingModel is a model that fails to load, as one does that is not on Hugging Face.
const MissingModel = "orchion/missing"

// Server is one stub.
type Server struct {
	// Addr is where to listen, from the arguments.
	Addr string

	model, served  string
	maxModelLength int
	load           time.Duration
	loaded         atomic.Bool
	running        atomic.Int64
}

// New reads vLLM's arguments; those it does not know are errors, as with vLLM.
func New(args []string, getenv func(string) string) (*Server, error) {
	s := &Server{load: time.Second}
	fs := flag.NewFlagSet("vllm", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	host := fs.String("host", "", "")
	port := fs.Int("port", 8000, "")
	fs.StringVar(&s.model, "model", "", "")
	fs.StringVar(&s.served, "served-model-name", "", "")
	fs.IntVar(&s.maxModelLength, "max-model-len", 4096, "")
	fs.Int("tensor-parallel-size", 1, "")
	fs.Float64("gpu-memory-utilization", 0.9, "")
	if err := fs.Parse(args); err != nil {
		return nil, fmt.Errorf("vllm: error: %w", err)
	}
	if s.model == "" || fs.NArg() > 0 {
		return nil, fmt.Errorf("vllm: error: want --model and no arguments besides flags, got %q", args)
	}
	if s.served == "" {
		s.served = s.model
	}
	if text := getenv(LoadVar); text != "" {
		var err error
		if s.load, err = time.ParseDuration(text); err != nil {
			return nil, fmt.Errorf("%s: %w", LoadVar, err)
		}
	}
	s.Addr = net.JoinHostPort(*host, fmt.Sprint(*port))
	return s, nil
}

// Serve serves on l until ctx ends. It closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	if s.model == MissingModel {
		return errors.Join(l.Close(), fmt.Errorf("OSError: %s is not a valid model identifier listed on 'https://huggingface.co/models'", s.model))
	}
	loading := time.AfterFunc(s.load, func() { s.loaded.Store(true) })
	defer loading.Stop()
	srv := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) { answer(w, map[string]any{"version": "0.0.0+stub"}) })
	mux.HandleFunc("GET /v1/models", s.models)
	mux.HandleFunc("GET /metrics", s.metrics)
	mux.HandleFunc("POST /v1/chat/completions", s.complete(true))
	mux.HandleFunc("POST /v1/completions", s.complete(false))
	mux.HandleFunc("POST /v1/embeddings", s.embed)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.loaded.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func (s *Server) models(w http.ResponseWriter, _ *http.Request) {
	answer(w, map[string]any{"object": "list", "data": []any{map[string]any{
		"id": s.served, "object": "model", "owned_by": "vllm", "root": s.model, "max_model_len": s.maxModelLength,
	}}})
}

func (s *Server) metrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	fmt.Fprintf(w, "vllm:num_requests_running{model_name=%q} %d\n", s.served, s.running.Load())
	fmt.Fprintf(w, "vllm:num_requests_waiting{model_name=%q} 0\n", s.served)
	fmt.Fprintf(w, "vllm:kv_cache_usage_perc{model_name=%q} 0\n", s.served)
}

type request struct {
	Model  string          `json:"model"`
	Stream bool            `json:"stream"`
	Input  json.RawMessage `json:"input"`
}

const maxBody = 32 << 20

// read takes a request about the model; false: it is answered already.
func (s *Server) read(w http.ResponseWriter, r *http.Request) (request, bool) {
	var req request
	if err := json.NewDecoder(io.LimitReader(r.Body, maxBody)).Decode(&req); err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return req, false
	}
	if req.Model != s.served {
		fail(w, http.StatusNotFound, fmt.Sprintf("The model `%s` does not exist.", req.Model))
		return req, false
	}
	return req, true
}

// complete answers chats and completions, word by word when they are streamed.
func (s *Server) complete(chat bool) http.HandlerFunc {
	object := "text_completion"
	if chat {
		object = "chat.completion"
	}
	choice := func(field, text string, reason any) []any {
		c := map[string]any{"index": 0, "finish_reason": reason, "text": text}
		if chat {
			delete(c, "text")
			c[field] = map[string]any{"role": "assistant", "content": text}
		}
		return []any{c}
	}
	return func(w http.ResponseWriter, r *http.Request) {
		s.running.Add(1)
		defer s.running.Add(-1)
		req, ok := s.read(w, r)
		if !ok {
			return
		}
		body := map[string]any{"id": "stub-1", "object": object, "created": 0, "model": s.served}
		words := strings.SplitAfter(Reply, " ")
		if !req.Stream {
			body["choices"] = choice("message", Reply, "stop")
			body["usage"] = map[string]any{"prompt_tokens": 1, "completion_tokens": len(words), "total_tokens": 1 + len(words)}
			answer(w, body)
			return
		}
		if chat {
			body["object"] = "chat.completion.chunk"
		}
		w.Header().Set("Content-Type", "text/event-stream")
		out := http.NewResponseController(w)
		for i, word := range words {
			var reason any
			if i == len(words)-1 {
				reason = "stop"
			}
			body["choices"] = choice("delta", word, reason)
			data, err := json.Marshal(body)
			if err != nil {
				return
			}
			fmt.Fprintf(w, "data: %s\n\n", data)
			if out.Flush() != nil {
				return // the client is gone
			}
		}
		fmt.Fprint(w, "data: [DONE]\n\n")
	}
}

func (s *Server) embed(w http.ResponseWriter, r *http.Request) {
	if _, ok := s.read(w, r); !ok {
		return
	}
	answer(w, map[string]any{
		"object": "list", "model": s.served,
		"data":  []any{map[string]any{"object": "embedding", "index": 0, "embedding": []float64{0.6, 0.8}}},
		"usage": map[string]any{"prompt_tokens": 1, "total_tokens": 1},
	})
}

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body) // fails only when the client is gone
}

func fail(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{
		"message": message, "type": "NotFoundError", "code": status,
	}})
}
