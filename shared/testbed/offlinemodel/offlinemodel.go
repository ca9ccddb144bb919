// Package offlinemodel names the models that can be pulled from the offline
// Ollama image, and what each of them says, so that tests can check for it.
package offlinemodel

import (
	"fmt"

	"github.com/orchion/orchion/shared/testbed/modelregistry"
	"github.com/orchion/orchion/shared/testbed/tinygguf"
)

// Image is the offline Ollama image. The tag keeps it apart from the real one.
const Image = "docker.io/ollama/ollama:orchion-offline"

// Names that can be pulled.
const (
	// Tiny answers TinyText. When tools are offered and the user spoke last, it
	// calls ToolName with ToolArguments instead.
	Tiny = "tiny"
	// Tiny2 is another model that answers Tiny2Text.
	Tiny2 = "tiny2"
	// TinyLoop never stops by itself; its limit is the client's patience.
	TinyLoop = "tiny-loop"
)

// What the models say.
const (
	TinyText     = "Hello from a tiny model. It says the same thing every time."
	Tiny2Text    = "A second tiny model answers here, with words of its own."
	TinyLoopText = "round and round it goes, "

	// The tool is one that the example agent has (shared/examples/agent).
	ToolName      = "machine"
	ToolArguments = `{}`
)

// All makes the models. They are the same, to the byte, each time.
func All() ([]*modelregistry.Model, error) {
	specs := []tinygguf.Options{
		{
			Name: Tiny, Text: TinyText,
			ToolCall: `{"name": "` + ToolName + `", "parameters": ` + ToolArguments + `}`,
		},
		{Name: Tiny2, Text: Tiny2Text},
		{Name: TinyLoop, Text: TinyLoopText, Loop: true},
	}
	models := make([]*modelregistry.Model, len(specs))
	for i, spec := range specs {
		weights, err := tinygguf.New(spec)
		if err != nil {
			return nil, fmt.Errorf("make model %s: %w", spec.Name, err)
		}
		parameters := map[string]any{"stop": []string{"<|end|>"}}
		if spec.Loop {
			// Ollama itself ends an answer that repeats itself; without a limit
			// of ours the model would stop there.
			parameters["num_predict"] = -1
		}
		models[i], err = modelregistry.NewModel(modelregistry.Spec{
			Name: spec.Name, Weights: weights, Template: tinygguf.OllamaTemplate, Parameters: parameters,
		})
		if err != nil {
			return nil, err
		}
	}
	return models, nil
}
