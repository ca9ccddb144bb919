// Package modelinfo finds out what a model is, for those who want to know where it
// could run: it asks engines of this machine that have it, or else reads the
// beginning of its files where they are published. It serves
//
//	GET /models/describe?engine=ollama&model=NAME
//
// with a modelfit.Model as JSON.
package modelinfo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/orchion/orchion/node-agent/internal/engine/hosting"
	"github.com/orchion/orchion/shared/modelfit"
)

// ErrNotFound says that there is no such model, as far as this machine can see.
var ErrNotFound = errors.New("there is no such model")

// ErrInvalid says that a question is wrong.
var ErrInvalid = errors.New("invalid")

// Config says whom a Describer asks.
type Config struct {
	// Endpoints gives the base URLs of engines of this machine that may be
	// Ollamas. Default: there are none.
	Endpoints func(ctx context.Context) []string
	// HuggingFace is where models for vLLM are. Default: https://huggingface.co.
	HuggingFace string
	// Token is shown to HuggingFace, and to nobody else.
	Token string
	// Timeout bounds one question. Default: 30 s.
	Timeout time.Duration
}

// Describer answers questions about models.
type Describer struct {
	cfg    Config
	local  *http.Client
	places chan struct{}
}

// maxAsking bounds the questions that are answered at once.
const maxAsking = 4

// New makes a Describer. Close releases its connections.
func New(cfg Config) *Describer {
	if cfg.Endpoints == nil {
		cfg.Endpoints = func(context.Context) []string { return nil }
	}
	if cfg.HuggingFace == "" {
		cfg.HuggingFace = "https://huggingface.co"
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 30 * time.Second
	}
	return &Describer{cfg: cfg, local: hosting.NewClient(), places: make(chan struct{}, maxAsking)}
}

// Close releases connections.
func (d *Describer) Close() { d.local.CloseIdleConnections() }

// ServeHTTP answers a question.
func (d *Describer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case d.places <- struct{}{}:
		defer func() { <-d.places }()
	default:
		http.Error(w, "this node answers as many questions about models as it does at once; ask again", http.StatusServiceUnavailable)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), d.cfg.Timeout)
	defer cancel()
	m, err := d.Describe(ctx, r.URL.Query().Get("engine"), r.URL.Query().Get("model"))
	switch {
	case errors.Is(err, ErrInvalid):
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	case errors.Is(err, ErrNotFound):
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(m) // whoever has gone away needs no answer
}

// Describe finds out what a model of an engine is. Errors: ErrInvalid, ErrNotFound, and
// those of whoever was asked.
func (d *Describer) Describe(ctx context.Context, engine, model string) (*modelfit.Model, error) {
	switch engine {
	case "ollama":
		name, err := parseOllama(model)
		if err != nil {
			return nil, err
		}
		if m := d.fromEngines(ctx, name.canonical()); m != nil {
			return m, nil
		}
		return d.fromRegistry(ctx, name)
	case "external":
		name, err := parseOllama(model)
		if err != nil {
			return nil, err
		}
		if m := d.fromEngines(ctx, name.canonical()); m != nil {
			return m, nil
		}
		return nil, fmt.Errorf("%w that an Ollama of this machine could describe; other engines do not say how large their models are", ErrNotFound)
	case "vllm":
		if err := checkHuggingFace(model); err != nil {
			return nil, err
		}
		return d.fromHuggingFace(ctx, model)
	}
	return nil, fmt.Errorf("%w: engine: is %q; it must be ollama, vllm or external", ErrInvalid, clip(engine))
}

func clip(text string) string { return text[:min(len(text), 200)] }
