package responses

import (
	"cmp"
	"encoding/json"
	"fmt"
)

// object is a response.
type object struct {
	ID                 string          `json:"id"`
	Object             string          `json:"object"`
	CreatedAt          int64           `json:"created_at"` // seconds since 1970
	Status             string          `json:"status"`
	Background         bool            `json:"background"`
	Error              *failure        `json:"error"`
	IncompleteDetails  *incomplete     `json:"incomplete_details"`
	Instructions       json.RawMessage `json:"instructions"`
	MaxOutputTokens    json.RawMessage `json:"max_output_tokens"`
	MaxToolCalls       json.RawMessage `json:"max_tool_calls"`
	Metadata           json.RawMessage `json:"metadata"`
	Model              string          `json:"model"`
	Output             []*item         `json:"output"`
	ParallelToolCalls  bool            `json:"parallel_tool_calls"`
	PreviousResponseID *string         `json:"previous_response_id"`
	PromptCacheKey     json.RawMessage `json:"prompt_cache_key"`
	Reasoning          json.RawMessage `json:"reasoning"`
	SafetyIdentifier   json.RawMessage `json:"safety_identifier"`
	ServiceTier        string          `json:"service_tier"`
	Store              bool            `json:"store"`
	Temperature        *float64        `json:"temperature"`
	Text               json.RawMessage `json:"text"`
	ToolChoice         json.RawMessage `json:"tool_choice"`
	Tools              json.RawMessage `json:"tools"`
	TopLogprobs        int             `json:"top_logprobs"`
	TopP               *float64        `json:"top_p"`
	Truncation         string          `json:"truncation"`
	Usage              *usage          `json:"usage"`
	User               json.RawMessage `json:"user"`
}

type failure struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

type incomplete struct {
	Reason string `json:"reason"`
}

type usage struct {
	InputTokens  int64 `json:"input_tokens"`
	InputDetails struct {
		CachedTokens int64 `json:"cached_tokens"`
	} `json:"input_tokens_details"`
	OutputTokens  int64 `json:"output_tokens"`
	OutputDetails struct {
		ReasoningTokens int64 `json:"reasoning_tokens"`
	} `json:"output_tokens_details"`
	TotalTokens int64 `json:"total_tokens"`
}

// item is a thing that the model gave: a message, a call of a function, or its reasoning.
type item struct {
	ID        string      `json:"id"`
	Type      string      `json:"type"`
	Status    string      `json:"status"`
	Role      string      `json:"role,omitempty"`
	Summary   *[]struct{} `json:"summary,omitempty"` // of reasoning: there is none
	Content   *[]*part    `json:"content,omitempty"` // of a message or reasoning
	CallID    string      `json:"call_id,omitempty"`
	Name      string      `json:"name,omitempty"`
	Arguments *string     `json:"arguments,omitempty"` // of a call
}

// part is a piece of an item's content.
type part struct {
	Type        string      `json:"type"`
	Text        *string     `json:"text,omitempty"`
	Refusal     *string     `json:"refusal,omitempty"`
	Annotations *[]struct{} `json:"annotations,omitempty"`
	Logprobs    *[]struct{} `json:"logprobs,omitempty"`
}

// Types of items and of their parts.
const (
	typeMessage   = "message"
	typeCall      = "function_call"
	typeReasoning = "reasoning"

	partText      = "output_text"
	partRefusal   = "refusal"
	partReasoning = "reasoning_text"
)

// States of responses and items.
const (
	inProgress = "in_progress"
	completed  = "completed"
	unfinished = "incomplete"
	failed     = "failed"
)

func newPart(kind, text string) *part {
	p := &part{Type: kind}
	switch kind {
	case partRefusal:
		p.Refusal = &text
	case partText:
		p.Text, p.Annotations, p.Logprobs = &text, &[]struct{}{}, &[]struct{}{}
	default:
		p.Text = &text
	}
	return p
}

// newItem begins an item, with an id that is unique in all responses.
func (a *Answer) newItem(kind string) *item {
	it := &item{Type: kind, Status: inProgress}
	prefix := "fc"
	switch kind {
	case typeMessage:
		prefix, it.Role, it.Content = "msg", "assistant", &[]*part{}
	case typeReasoning:
		prefix, it.Summary, it.Content = "rs", &[]struct{}{}, &[]*part{}
	case typeCall:
		it.Arguments = new(string)
	}
	it.ID = fmt.Sprintf("%s_%s_%d", prefix, a.id, len(a.items))
	a.items = append(a.items, it)
	return it
}

// object gives the response as it is now.
func (a *Answer) object(status string) *object {
	r := a.request
	or := func(field, otherwise string) json.RawMessage {
		if given := r.given[field]; given != nil {
			return given
		}
		return json.RawMessage(otherwise)
	}
	o := &object{
		ID: "resp_" + a.id, Object: "response", CreatedAt: a.created, Status: status, Model: r.model, Output: a.items,
		Instructions: r.given["instructions"], MaxOutputTokens: r.given["max_output_tokens"], MaxToolCalls: r.given["max_tool_calls"],
		Metadata: or("metadata", "{}"), ParallelToolCalls: !r.single, PromptCacheKey: r.given["prompt_cache_key"],
		Reasoning: or("reasoning", `{"effort":null,"summary":null}`), SafetyIdentifier: r.given["safety_identifier"],
		ServiceTier: "default", Temperature: r.temperature, Text: or("text", `{"format":{"type":"text"}}`),
		ToolChoice: or("tool_choice", `"auto"`), Tools: or("tools", "[]"), TopP: r.topP, Truncation: "disabled", User: r.given["user"],
	}
	if status != inProgress {
		o.Usage = a.usage
	}
	if status == unfinished {
		o.IncompleteDetails = &incomplete{Reason: a.unfinishedBecause()}
	}
	return o
}

// unfinishedBecause says why the model stopped before it had finished; empty: it had.
func (a *Answer) unfinishedBecause() string {
	switch a.reason {
	case "length":
		return "max_output_tokens"
	case "content_filter":
		return "content_filter"
	}
	return ""
}

// status is that of an answer that is over.
func (a *Answer) status() string {
	if a.unfinishedBecause() != "" {
		return unfinished
	}
	return completed
}

// callID is the engine's id of a call, or one of ours where it gives none.
func (a *Answer) callID(id string) string {
	return cmp.Or(id, fmt.Sprintf("call_%s_%d", a.id, len(a.items)))
}
