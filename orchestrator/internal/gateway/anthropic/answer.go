package anthropic

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/orchion/orchion/orchestrator/internal/gateway/completions"
)

// Answer puts the answer to one request into Anthropic's words.
type Answer struct {
	id, model string
	think     bool // the client wants to see what the model thinks
	// Of a stream:
	begun  bool
	open   string // kind of the block that is open; empty: none
	blocks int    // that were begun
	call   int    // the engine's number of the tool call that is open
	reason string // why the model stopped, in OpenAI's words; empty: it has not
	stop   json.RawMessage
	usage  usage
	done   bool
}

// NewAnswer makes the translation of the answer to r. id, unique, becomes part of the
// message's; model is what the client calls it.
func NewAnswer(r *Request, id string) *Answer {
	return &Answer{id: "msg_" + id, model: r.model, think: r.think}
}

// usage is in OpenAI's words when it is read and in Anthropic's when it is written.
type usage struct {
	InputTokens     int64 `json:"input_tokens"`
	OutputTokens    int64 `json:"output_tokens"`
	CacheReadTokens int64 `json:"cache_read_input_tokens"`
}

func (a *Answer) noteUsage(o *completions.Answer) {
	if u := o.Usage; u != nil {
		cached := min(u.PromptDetails.CachedTokens, u.PromptTokens)
		a.usage = usage{InputTokens: u.PromptTokens - cached, OutputTokens: u.CompletionTokens, CacheReadTokens: cached}
	}
}

// stopReason gives why the model stopped, and the sequence that stopped it.
func (a *Answer) stopReason() (reason string, sequence *string) {
	var text string
	if len(a.stop) > 0 && json.Unmarshal(a.stop, &text) == nil && text != "" {
		return "stop_sequence", &text
	}
	switch a.reason {
	case "length":
		return "max_tokens", nil
	case "tool_calls", "function_call":
		return "tool_use", nil
	case "content_filter":
		return "refusal", nil
	}
	return "end_turn", nil
}

type messageObject struct {
	ID           string          `json:"id"`
	Type         string          `json:"type"`
	Role         string          `json:"role"`
	Model        string          `json:"model"`
	Content      []contentObject `json:"content"`
	StopReason   *string         `json:"stop_reason"`
	StopSequence *string         `json:"stop_sequence"`
	Usage        usage           `json:"usage"`
}

// contentObject is a block of a message. Each kind has other fields.
type contentObject map[string]any

func textBlock(text string) contentObject { return contentObject{"type": "text", "text": text} }

func thinkingBlock(text string) contentObject {
	return contentObject{"type": "thinking", "thinking": text, "signature": ""}
}

func toolBlock(id, name string, input json.RawMessage) contentObject {
	return contentObject{"type": "tool_use", "id": id, "name": name, "input": input}
}

// Document translates a whole answer.
func (a *Answer) Document(body []byte) ([]byte, error) {
	var o completions.Answer
	if err := json.Unmarshal(body, &o); err != nil {
		return nil, err
	}
	if len(o.Choices) == 0 {
		return nil, errors.New("it has no choices")
	}
	a.noteUsage(&o)
	choice := &o.Choices[0]
	a.reason, a.stop = choice.FinishReason, choice.StopReason
	m := messageObject{ID: a.id, Type: "message", Role: "assistant", Model: a.model, Content: []contentObject{}, Usage: a.usage}
	said := choice.Message
	if thought := said.Thought(); thought != "" && a.think {
		m.Content = append(m.Content, thinkingBlock(thought))
	}
	if text := said.Content + said.Refusal; text != "" {
		m.Content = append(m.Content, textBlock(text))
	}
	for i, call := range said.ToolCalls {
		input := json.RawMessage(call.Function.Arguments)
		if len(input) == 0 {
			input = json.RawMessage("{}")
		}
		if !json.Valid(input) {
			return nil, fmt.Errorf("the arguments of its tool call %d are no JSON", i)
		}
		m.Content = append(m.Content, toolBlock(a.callID(call.ID, i), call.Function.Name, input))
		a.reason = "tool_calls"
	}
	reason, sequence := a.stopReason()
	m.StopReason, m.StopSequence = &reason, sequence
	return json.Marshal(m)
}

// callID is the engine's id of a tool call, or one of ours where it gives none.
func (a *Answer) callID(id string, n int) string {
	if id != "" {
		return id
	}
	return fmt.Sprintf("toolu_%s_%d", a.id[len("msg_"):], n)
}

// Event appends what an event of the engine's stream becomes.
func (a *Answer) Event(dst, data []byte) ([]byte, error) {
	if a.done {
		return dst, nil
	}
	if string(data) == "[DONE]" {
		return a.finish(dst)
	}
	o, err := completions.ReadEvent(data)
	if err != nil {
		return dst, err
	}
	a.noteUsage(&o)
	dst = a.begin(dst)
	if len(o.Choices) == 0 {
		return dst, nil
	}
	choice := &o.Choices[0]
	said := choice.Delta
	if thought := said.Thought(); thought != "" && a.think {
		dst = a.enter(dst, "thinking", thinkingBlock(""))
		dst = a.delta(dst, contentObject{"type": "thinking_delta", "thinking": thought})
	}
	if text := said.Content + said.Refusal; text != "" {
		dst = a.enter(dst, "text", textBlock(""))
		dst = a.delta(dst, contentObject{"type": "text_delta", "text": text})
	}
	for _, call := range said.ToolCalls {
		if a.open != "tool_use" || call.Index != a.call || call.Function.Name != "" && call.ID != "" {
			if call.Function.Name == "" {
				return dst, fmt.Errorf("a piece of tool call %d came after the next had begun", call.Index)
			}
			dst = a.leave(dst)
			a.call = call.Index
			dst = a.enter(dst, "tool_use", toolBlock(a.callID(call.ID, a.blocks), call.Function.Name, json.RawMessage("{}")))
		}
		if call.Function.Arguments != "" {
			dst = a.delta(dst, contentObject{"type": "input_json_delta", "partial_json": call.Function.Arguments})
		}
	}
	if choice.FinishReason != "" {
		a.reason, a.stop = choice.FinishReason, choice.StopReason
	}
	return dst, nil
}

// End appends what is left to say when the engine's stream is over.
func (a *Answer) End(dst []byte) ([]byte, error) {
	if a.done {
		return dst, nil
	}
	if a.reason == "" {
		return dst, io.ErrUnexpectedEOF
	}
	return a.finish(dst)
}

func (a *Answer) begin(dst []byte) []byte {
	if a.begun {
		return dst
	}
	a.begun = true
	dst = event(dst, "message_start", map[string]any{"message": messageObject{
		ID: a.id, Type: "message", Role: "assistant", Model: a.model, Content: []contentObject{}, Usage: a.usage,
	}})
	return event(dst, "ping", nil)
}

// enter begins a block of a kind, if none of it is open.
func (a *Answer) enter(dst []byte, kind string, empty contentObject) []byte {
	if a.open == kind {
		return dst
	}
	dst = a.leave(dst)
	a.open = kind
	a.blocks++
	return event(dst, "content_block_start", map[string]any{"index": a.blocks - 1, "content_block": empty})
}

func (a *Answer) delta(dst []byte, delta contentObject) []byte {
	return event(dst, "content_block_delta", map[string]any{"index": a.blocks - 1, "delta": delta})
}

// leave ends the block that is open.
func (a *Answer) leave(dst []byte) []byte {
	if a.open == "" {
		return dst
	}
	a.open = ""
	return event(dst, "content_block_stop", map[string]any{"index": a.blocks - 1})
}

func (a *Answer) finish(dst []byte) ([]byte, error) {
	if !a.begun {
		return dst, io.ErrUnexpectedEOF // [DONE], and nothing before it
	}
	called := a.open == "tool_use"
	dst = a.leave(dst)
	if called && a.reason == "stop" {
		a.reason = "tool_calls" // some engines say only that they have stopped
	}
	reason, sequence := a.stopReason()
	dst = event(dst, "message_delta", map[string]any{
		"delta": map[string]any{"stop_reason": reason, "stop_sequence": sequence},
		"usage": a.usage,
	})
	a.done = true
	return event(dst, "message_stop", nil), nil
}

// event appends an event, whose data has its name as the type.
func event(dst []byte, name string, fields map[string]any) []byte {
	if fields == nil {
		fields = map[string]any{}
	}
	fields["type"] = name
	data, err := json.Marshal(fields)
	if err != nil { // what was decoded before always encodes
		data = fmt.Appendf(nil, `{"type":%q}`, name)
	}
	return fmt.Appendf(dst, "event: %s\ndata: %s\n\n", name, data)
}
