package anthropic

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/orchion/orchion/orchestrator/internal/gateway/completions"
)

// openRequest is a request of OpenAI's chat completions.
type openRequest struct {
	Model             string                     `json:"model"`
	Messages          []completions.Message      `json:"messages"`
	MaxTokens         int64                      `json:"max_tokens,omitempty"`
	Temperature       json.RawMessage            `json:"temperature,omitempty"`
	TopP              json.RawMessage            `json:"top_p,omitempty"`
	TopK              json.RawMessage            `json:"top_k,omitempty"`
	Stop              []string                   `json:"stop,omitempty"`
	Tools             []completions.Tool         `json:"tools,omitempty"`
	ToolChoice        any                        `json:"tool_choice,omitempty"`
	ParallelToolCalls *bool                      `json:"parallel_tool_calls,omitempty"`
	User              string                     `json:"user,omitempty"`
	Stream            bool                       `json:"stream,omitempty"`
	StreamOptions     *completions.StreamOptions `json:"stream_options,omitempty"`
}

// Chat gives the request in OpenAI's words.
func (r *Request) Chat(target Target) ([]byte, error) {
	out := openRequest{
		Model: target.Model, Messages: r.openMessages(), MaxTokens: r.maxTokens,
		Temperature: r.temperature, TopP: r.topP, Stop: r.stop, Tools: r.openTools(), User: r.user,
	}
	if target.Extended {
		out.TopK = r.topK
	}
	if r.stream {
		out.Stream, out.StreamOptions = true, &completions.StreamOptions{IncludeUsage: true}
	}
	if c := r.choice; c != nil && len(r.tools) > 0 {
		switch c.Type {
		case "any":
			out.ToolChoice = "required"
		case "tool":
			out.ToolChoice = completions.Tool{Type: "function", Function: completions.Function{Name: c.Name}}
		default:
			out.ToolChoice = c.Type
		}
		if c.DisableParallel {
			out.ParallelToolCalls = new(bool)
		}
	}
	return json.Marshal(out)
}

// Tokenize gives the request for vLLM's POST /tokenize.
func (r *Request) Tokenize(target Target) ([]byte, error) {
	return json.Marshal(struct {
		Model               string                `json:"model"`
		Messages            []completions.Message `json:"messages"`
		Tools               []completions.Tool    `json:"tools,omitempty"`
		AddGenerationPrompt bool                  `json:"add_generation_prompt"`
	}{target.Model, r.openMessages(), r.openTools(), true})
}

func (r *Request) openTools() []completions.Tool {
	var tools []completions.Tool
	for _, t := range r.tools {
		tools = append(tools, completions.Tool{Type: "function", Function: completions.Function{Name: t.Name, Description: t.Description, Parameters: t.InputSchema}})
	}
	return tools
}

func (r *Request) openMessages() []completions.Message {
	var out []completions.Message
	if len(r.system) > 0 {
		out = append(out, completions.Message{Role: "system", Content: textOf(r.system)})
	}
	for _, m := range r.messages {
		if m.role == "assistant" {
			out = append(out, assistantMessage(m.blocks))
		} else {
			out = append(out, userMessages(m.blocks)...)
		}
	}
	return out
}

// textOf joins blocks of text.
func textOf(blocks []block) string {
	var parts []string
	for _, b := range blocks {
		if b.kind == "text" {
			parts = append(parts, b.text)
		}
	}
	return strings.Join(parts, "\n\n")
}

// assistantMessage is what the model said. What it thought is for Anthropic's models only.
func assistantMessage(blocks []block) completions.Message {
	m := completions.Message{Role: "assistant"}
	for _, b := range blocks {
		if b.kind != "tool_use" {
			continue
		}
		call := completions.Call{ID: b.id, Type: "function"}
		call.Function.Name, call.Function.Arguments = b.name, string(b.input)
		m.ToolCalls = append(m.ToolCalls, call)
	}
	if text := textOf(blocks); text != "" || len(m.ToolCalls) == 0 {
		m.Content = text
	}
	return m
}

// userMessages are the results of tools, which OpenAI's API wants first and each by itself,
// and what the user said. A picture that a tool gave follows with the user's words, since
// results are text there.
func userMessages(blocks []block) []completions.Message {
	var out []completions.Message
	var said []block
	for _, b := range blocks {
		if b.kind != "tool_result" {
			said = append(said, b)
			continue
		}
		text := textOf(b.parts)
		if b.failed {
			text = "Error: " + text
		}
		out = append(out, completions.Message{Role: "tool", ToolCallID: b.id, Content: text})
		for _, part := range b.parts {
			if part.kind == "image" {
				said = append(said, block{kind: "text", text: fmt.Sprintf("The picture that the tool call %s gave:", b.id)}, part)
			}
		}
	}
	if len(said) == 0 {
		return out
	}
	return append(out, completions.Message{Role: "user", Content: openContent(said)})
}

// openContent is a string where that will do, which every engine understands.
func openContent(blocks []block) any {
	var parts []completions.Part
	images := false
	for _, b := range blocks {
		if b.kind == "image" {
			images = true
			parts = append(parts, completions.Part{Type: "image_url", ImageURL: &completions.ImageURL{URL: b.image}})
		} else {
			parts = append(parts, completions.Part{Type: "text", Text: b.text})
		}
	}
	if !images {
		return textOf(blocks)
	}
	return parts
}
