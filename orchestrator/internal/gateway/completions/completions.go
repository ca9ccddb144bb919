// Package completions has the words of OpenAI's chat completions, as engines speak them:
// what requests in other APIs' words are translated to, and their answers from. It has
// what the translations share; fields that only one of them knows stand with it.
package completions

import (
	"cmp"
	"encoding/json"
	"fmt"
)

// Message is one of a request's conversation.
type Message struct {
	Role       string `json:"role"`
	Content    any    `json:"content"` // a string, []Part or null
	ToolCalls  []Call `json:"tool_calls,omitempty"`
	ToolCallID string `json:"tool_call_id,omitempty"`
}

// Part is a part of a message's content: a text or an image.
type Part struct {
	Type     string    `json:"type"`
	Text     string    `json:"text,omitempty"`
	ImageURL *ImageURL `json:"image_url,omitempty"`
}

// ImageURL is an image by its address, or as data in it.
type ImageURL struct {
	URL    string `json:"url"`
	Detail string `json:"detail,omitempty"`
}

// Call is a use of a tool that the model asked for.
type Call struct {
	ID       string       `json:"id"`
	Type     string       `json:"type"`
	Function CallFunction `json:"function"`
}

// CallFunction says which function is called. Arguments are a document of JSON, in a
// stream a piece of it.
type CallFunction struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

// Tool is a tool that the model may use.
type Tool struct {
	Type     string   `json:"type"`
	Function Function `json:"function"`
}

// Function describes what a tool does, and its parameters as a JSON schema.
type Function struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Parameters  json.RawMessage `json:"parameters,omitempty"`
	Strict      *bool           `json:"strict,omitempty"`
}

// StreamOptions are of a request for a stream.
type StreamOptions struct {
	IncludeUsage bool `json:"include_usage"`
}

// Answer is an answer, or an event of its stream.
type Answer struct {
	Choices []Choice        `json:"choices"`
	Usage   *Usage          `json:"usage"` // nil: not told
	Error   json.RawMessage `json:"error"`
}

// Choice is what the model said: Message in an answer, Delta in a stream.
type Choice struct {
	Message      Delta           `json:"message"`
	Delta        Delta           `json:"delta"`
	FinishReason string          `json:"finish_reason"` // empty: it goes on
	StopReason   json.RawMessage `json:"stop_reason"`   // vLLM: the stop sequence, or a token's number
}

// Delta is what the model said, or what it says more.
type Delta struct {
	Content          string      `json:"content"`
	Refusal          string      `json:"refusal"`
	ReasoningContent string      `json:"reasoning_content"`
	Reasoning        string      `json:"reasoning"`
	ToolCalls        []DeltaCall `json:"tool_calls"`
}

// DeltaCall is a use of a tool, or a piece of it; Index says which one's.
type DeltaCall struct {
	Index    int          `json:"index"`
	ID       string       `json:"id"`
	Function CallFunction `json:"function"`
}

// Thought is what the model thinks. Some versions of vLLM tell it by both names.
func (d *Delta) Thought() string { return cmp.Or(d.ReasoningContent, d.Reasoning) }

// Usage counts the tokens of an answer.
type Usage struct {
	PromptTokens     int64 `json:"prompt_tokens"`
	CompletionTokens int64 `json:"completion_tokens"`
	PromptDetails    struct {
		CachedTokens int64 `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
	CompletionDetails struct {
		ReasoningTokens int64 `json:"reasoning_tokens"`
	} `json:"completion_tokens_details"`
}

// ReadEvent reads an event of a stream. It fails for what is no JSON, and when the engine
// tells of an error of its own.
func ReadEvent(data []byte) (Answer, error) {
	var a Answer
	if err := json.Unmarshal(data, &a); err != nil {
		return a, err
	}
	if len(a.Error) > 0 && string(a.Error) != "null" {
		return a, fmt.Errorf("the engine reported %.500s", a.Error)
	}
	return a, nil
}
