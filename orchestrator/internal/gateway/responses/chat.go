package responses

import (
	"encoding/json"
	"strings"

	"github.com/orchion/orchion/orchestrator/internal/gateway/completions"
)

// Target says how an engine wants to be asked.
type Target struct {
	// Model is what the engine calls the model.
	Model string
	// ChoosesItself is true when it passes tool_choice over (Ollama).
	ChoosesItself bool
}

// chatRequest is a request of OpenAI's chat completions.
type chatRequest struct {
	Model             string                     `json:"model"`
	Messages          []completions.Message      `json:"messages"`
	MaxTokens         int64                      `json:"max_tokens,omitempty"`
	Temperature       *float64                   `json:"temperature,omitempty"`
	TopP              *float64                   `json:"top_p,omitempty"`
	ReasoningEffort   string                     `json:"reasoning_effort,omitempty"`
	Verbosity         string                     `json:"verbosity,omitempty"`
	ResponseFormat    *responseFormat            `json:"response_format,omitempty"`
	Tools             []completions.Tool         `json:"tools,omitempty"`
	ToolChoice        any                        `json:"tool_choice,omitempty"`
	ParallelToolCalls *bool                      `json:"parallel_tool_calls,omitempty"`
	User              string                     `json:"user,omitempty"`
	Stream            bool                       `json:"stream,omitempty"`
	StreamOptions     *completions.StreamOptions `json:"stream_options,omitempty"`
}

type responseFormat struct {
	Type       string      `json:"type"`
	JSONSchema *jsonSchema `json:"json_schema,omitempty"`
}

type jsonSchema struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Schema      json.RawMessage `json:"schema"`
	Strict      *bool           `json:"strict,omitempty"`
}

// Chat gives the request in the words of chat completions.
func (r *Request) Chat(target Target) ([]byte, error) {
	if target.ChoosesItself && r.choice.forces() {
		return nil, wrong("tool_choice", "asks for a call, and this engine chooses itself; want auto or none")
	}
	out := chatRequest{
		Model: target.Model, Messages: r.chatMessages(), MaxTokens: r.maxTokens, Temperature: r.temperature, TopP: r.topP,
		ReasoningEffort: r.effort, Verbosity: r.verbosity, User: r.user,
	}
	if r.stream {
		out.Stream, out.StreamOptions = true, &completions.StreamOptions{IncludeUsage: true}
	}
	if f := r.format; f != nil {
		out.ResponseFormat = &responseFormat{Type: f.Type}
		if f.Type == "json_schema" {
			out.ResponseFormat.JSONSchema = &jsonSchema{Name: f.Name, Description: f.Description, Schema: f.Schema, Strict: f.Strict}
		}
	}
	// Without tools no engine calls one, whatever it makes of "none".
	if len(r.tools) > 0 && r.choice.mode != "none" {
		r.offer(&out)
	}
	return json.Marshal(out)
}

// offer tells of the tools.
func (r *Request) offer(out *chatRequest) {
	for _, t := range r.tools {
		out.Tools = append(out.Tools, completions.Tool{Type: "function", Function: completions.Function{
			Name: t.Name, Description: t.Description, Parameters: t.Parameters, Strict: t.Strict,
		}})
	}
	switch r.choice.mode {
	case "":
	case "function":
		out.ToolChoice = completions.Tool{Type: "function", Function: completions.Function{Name: r.choice.name}}
	default:
		out.ToolChoice = r.choice.mode
	}
	if r.single {
		out.ParallelToolCalls = new(bool)
	}
}

func (r *Request) chatMessages() []completions.Message {
	messages := r.talk.messages
	var out []completions.Message
	system := r.instructions
	if len(messages) > 0 && messages[0].role == "system" && system != "" {
		system += "\n\n" + textOf(messages[0].pieces) // one, as some models' templates want
		messages = messages[1:]
	}
	if system != "" {
		out = append(out, completions.Message{Role: "system", Content: system})
	}
	for _, m := range messages {
		c := completions.Message{Role: m.role, ToolCallID: m.callID, Content: content(m.pieces)}
		for _, f := range m.calls {
			call := completions.Call{ID: f.id, Type: "function"}
			call.Function.Name, call.Function.Arguments = f.name, f.arguments
			c.ToolCalls = append(c.ToolCalls, call)
		}
		if len(m.pieces) == 0 && len(m.calls) > 0 {
			c.Content = nil
		}
		out = append(out, c)
	}
	return out
}

func textOf(pieces []piece) string {
	texts := make([]string, len(pieces))
	for i, p := range pieces {
		texts[i] = p.text
	}
	return strings.Join(texts, "\n\n")
}

// content is a string where that will do, which every engine understands.
func content(pieces []piece) any {
	parts := make([]completions.Part, len(pieces))
	pictures := false
	for i, p := range pieces {
		if p.image == "" {
			parts[i] = completions.Part{Type: "text", Text: p.text}
			continue
		}
		pictures = true
		parts[i] = completions.Part{Type: "image_url", ImageURL: &completions.ImageURL{URL: p.image, Detail: p.detail}}
	}
	if !pictures {
		return textOf(pieces)
	}
	return parts
}
