package ollama

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/orchion/orchion/node-agent/internal/engine"
	"github.com/orchion/orchion/node-agent/internal/engine/hosting"
)

// api is the part of Ollama's API that is needed (docs/api.md of Ollama).
type api struct {
	base   string
	client *http.Client
}

// answerTimeout bounds what takes Ollama no time when it is well. A port that is published
// before the server listens may accept a connection and then say nothing.
const answerTimeout = 3 * time.Second

func (a *api) healthy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	var answer struct {
		Version string `json:"version"`
	}
	if err := hosting.GetJSON(ctx, a.client, a.base+"/api/version", &answer); err != nil {
		return err
	}
	if answer.Version == "" {
		return errors.New("the server does not answer as Ollama does")
	}
	return nil
}

// models lists the names of the models on the machine.
func (a *api) models(ctx context.Context) ([]string, error) {
	var answer struct {
		Models []struct {
			Name string `json:"name"`
		} `json:"models"`
	}
	if err := hosting.GetJSON(ctx, a.client, a.base+"/api/tags", &answer); err != nil {
		return nil, err
	}
	names := make([]string, len(answer.Models))
	for i, m := range answer.Models {
		names[i] = m.Name
	}
	return names, nil
}

// has says whether a model, by its canonical name, is on the machine.
func (a *api) has(ctx context.Context, model string) (bool, error) {
	names, err := a.models(ctx)
	for _, name := range names {
		if strings.EqualFold(canonical(name), model) { // Ollama's names ignore case
			return true, nil
		}
	}
	return false, err
}

// load brings a model into memory, to stay there for so long, or for ever with 0. Loading
// is what an empty request does.
func (a *api) load(ctx context.Context, model string, stay time.Duration) error {
	var keep any = -1
	if stay > 0 {
		keep = keepAlive(stay)
	}
	err := hosting.PostJSON(ctx, a.client, a.base+"/api/generate", map[string]any{
		"model": model, "stream": false, "keep_alive": keep,
	})
	var status *hosting.StatusError
	if errors.As(err, &status) && status.Code == http.StatusBadRequest {
		// An embedding model does not generate.
		if a.embed(ctx, model, keep) == nil {
			return nil
		}
	}
	return err
}

func (a *api) embed(ctx context.Context, model string, keep any) error {
	return hosting.PostJSON(ctx, a.client, a.base+"/api/embed", map[string]any{
		"model": model, "input": "", "keep_alive": keep,
	})
}

// unload takes a model out of memory. One that is not there is no error.
func (a *api) unload(ctx context.Context, model string) error {
	err := hosting.PostJSON(ctx, a.client, a.base+"/api/generate", map[string]any{
		"model": model, "stream": false, "keep_alive": 0,
	})
	var status *hosting.StatusError
	if errors.As(err, &status) {
		switch status.Code {
		case http.StatusNotFound:
			return nil
		case http.StatusBadRequest:
			return a.embed(ctx, model, 0)
		}
	}
	return err
}

// remove deletes a model's files. One that is not there is no error.
func (a *api) remove(ctx context.Context, model string) error {
	resp, err := hosting.Do(ctx, a.client, http.MethodDelete, a.base+"/api/delete", map[string]any{"model": model})
	var status *hosting.StatusError
	if errors.As(err, &status) && status.Code == http.StatusNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// hasBlob says whether a file of a model is on the machine.
func (a *api) hasBlob(ctx context.Context, digest string) (bool, error) {
	status, err := a.blob(ctx, http.MethodHead, digest, http.NoBody, 0)
	switch {
	case err != nil:
		return false, err
	case status == http.StatusOK:
		return true, nil
	case status == http.StatusNotFound:
		return false, nil
	}
	return false, &hosting.StatusError{Code: status, Message: "when asked for a file of a model"}
}

// putBlob gives Ollama a file of a model; it verifies the digest.
func (a *api) putBlob(ctx context.Context, digest string, content io.Reader, size int64) error {
	status, err := a.blob(ctx, http.MethodPost, digest, io.NopCloser(content), size)
	if err == nil && status != http.StatusCreated && status != http.StatusOK {
		err = &hosting.StatusError{Code: status, Message: "when given a file of a model"}
	}
	return err
}

func (a *api) blob(ctx context.Context, method, digest string, body io.ReadCloser, size int64) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, method, a.base+"/api/blobs/"+digest, body)
	if err != nil {
		return 0, err
	}
	req.ContentLength = size
	res, err := a.client.Do(req)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, res.Body.Close()
}

// pullEvent is a line of the answer to a pull.
type pullEvent struct {
	Status    string `json:"status"`
	Digest    string `json:"digest"`
	Total     int64  `json:"total"`
	Completed int64  `json:"completed"`
	Error     string `json:"error"`
}

// pull downloads a model, handing each line to handle, whose error ends it.
func (a *api) pull(ctx context.Context, model string, handle func(pullEvent) error) error {
	resp, err := hosting.Do(ctx, a.client, http.MethodPost, a.base+"/api/pull", map[string]any{
		"model": model, "stream": true, "insecure": insecure(model),
	})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for dec := json.NewDecoder(resp.Body); ; {
		var event pullEvent
		if err := dec.Decode(&event); err != nil {
			return err // io.EOF at the end
		}
		if event.Error != "" {
			code, hint := classify(event.Error)
			return &engine.Error{Code: code, Engine: name, Op: "pull model " + model, Message: event.Error, Hint: hint}
		}
		if err := handle(event); err != nil {
			return err
		}
	}
}

// classify sorts Ollama's errors, which are nothing but texts.
func classify(message string) (engine.Code, string) {
	text := strings.ToLower(message)
	has := func(parts ...string) bool {
		for _, part := range parts {
			if strings.Contains(text, part) {
				return true
			}
		}
		return false
	}
	switch {
	case has("manifest: file does not exist", "manifest unknown", "not found, try pulling", "model not found",
		"repository not found", "invalid username or password"):
		return engine.CodeModelNotFound, "check the name and tag at https://ollama.com/library"
	case has("newer version of ollama"):
		return engine.CodeInvalid, "give a newer image of Ollama in the deployment's image field"
	case has("requires more system memory", "out of memory", "cudamalloc failed", "not enough memory"):
		return engine.CodeNoResources, "choose a smaller model or a node with more memory"
	case has("no space left"):
		return engine.CodeNoResources, "free disk space where the container engine keeps its volumes"
	case has("no such host", "dial tcp", "timeout", "connection reset", "connection refused", "max retries exceeded",
		"unexpected eof", "server busy", "too many requests"):
		return engine.CodeUnavailable, "check that the node reaches the model registry"
	}
	return engine.CodeFailed, ""
}
