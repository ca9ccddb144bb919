package ollama

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/orchion/orchion/node-agent/internal/engine"
	"github.com/orchion/orchion/node-agent/internal/engine/hosting"
	"github.com/orchion/orchion/shared/modelfile"
)

// recipeOf is what a replica's model is made of; nil: it is one of a registry.
func recipeOf(spec engine.Spec) (*modelfile.File, error) {
	if spec.Ollama.Modelfile == "" {
		return nil, nil
	}
	recipe, err := modelfile.Parse(spec.Ollama.Modelfile)
	if err != nil {
		return nil, fmt.Errorf("modelfile: %w", err)
	}
	if err := validateModel(recipe.From); err != nil {
		return nil, fmt.Errorf("modelfile: FROM %w", err)
	}
	if strings.EqualFold(canonical(recipe.From), canonical(spec.Model)) {
		return nil, fmt.Errorf("modelfile: FROM %s is the model that it makes", recipe.From)
	}
	return &recipe, nil
}

// provide sees to it that the server has a replica's model.
func (e *Engine) provide(ctx context.Context, c *api, containerID string, spec engine.Spec, r *engine.Reporter) error {
	recipe, err := recipeOf(spec)
	if err != nil {
		return err // it was checked before
	}
	model := canonical(spec.Model)
	needed := model
	if recipe != nil {
		needed = canonical(recipe.From)
	}
	present, err := c.has(ctx, needed)
	if err != nil {
		return e.fail(ctx, "list models", err)
	}
	if !present {
		r.Part(100)
		if err := e.obtain(ctx, c, containerID, spec, needed, r); err != nil {
			return err
		}
	}
	if recipe == nil {
		return nil
	}
	// Also when there is one of the name: it may be of an older Modelfile. Ollama keeps the
	// files that stay the same.
	r.Note("making " + model + " of " + needed)
	if err := c.create(ctx, model, recipe); err != nil {
		return e.fail(ctx, "make model "+model, err)
	}
	return nil
}

// createTimeout bounds the making of a model, for which no weights are copied.
const createTimeout = 5 * time.Minute

// create makes a model of another one.
func (a *api) create(ctx context.Context, model string, recipe *modelfile.File) error {
	ctx, cancel := context.WithTimeout(ctx, createTimeout)
	defer cancel()
	body := map[string]any{"model": model, "from": canonical(recipe.From), "stream": true}
	for name, value := range map[string]string{"template": recipe.Template, "system": recipe.System} {
		if value != "" {
			body[name] = value
		}
	}
	if len(recipe.Parameters) > 0 {
		body["parameters"] = recipe.Parameters
	}
	if len(recipe.Messages) > 0 {
		body["messages"] = recipe.Messages
	}
	if len(recipe.Licenses) > 0 {
		body["license"] = recipe.Licenses
	}
	resp, err := hosting.Do(ctx, a.client, http.MethodPost, a.base+"/api/create", body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for dec := json.NewDecoder(resp.Body); ; {
		var event pullEvent
		switch err := dec.Decode(&event); {
		case errors.Is(err, io.EOF):
			return errors.New("the answer ended early")
		case err != nil:
			return err
		case event.Error != "":
			return &engine.Error{
				Code: engine.CodeInvalid, Engine: name, Op: "make model " + model, Message: event.Error,
				Hint: "look at the deployment's Modelfile (spec.ollama.modelfile)",
			}
		case event.Status == "success":
			return nil
		}
	}
}

// keepAlive is a time in Ollama's words, in which less than none is for ever.
func keepAlive(d time.Duration) string {
	if d <= 0 {
		return "-1"
	}
	return d.String()
}
