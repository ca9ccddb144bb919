// Package anthropic translates between Anthropic's Messages API and OpenAI's chat
// completions. It knows nothing of routes, connections or HTTP.
//
// What there is no word for in the other API is refused where it would change the answer,
// and left out where it would not: marks for caches, signatures of earlier thinking.
//
// Source: https://docs.anthropic.com/en/api/messages.
package anthropic

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// FieldError says that a field of a request is wrong, or cannot be translated.
type FieldError struct {
	Field string // such as messages.0.content
	What  string // ends the sentence that the field begins
}

func (e *FieldError) Error() string { return e.Field + " " + e.What }

func wrong(field, format string, args ...any) error {
	return &FieldError{Field: field, What: fmt.Sprintf(format, args...)}
}

// Request is a request to POST /v1/messages, or to count its tokens.
type Request struct {
	model         string
	maxTokens     int64
	system        []block
	messages      []message
	tools         []tool
	choice        *toolChoice
	stop          []string
	temperature   json.RawMessage
	topP, topK    json.RawMessage
	user          string
	stream, think bool
}

// Target says how an engine wants to be asked.
type Target struct {
	// Model is what the engine calls the model.
	Model string
	// Extended is true when it knows more parameters than OpenAI's (vLLM).
	Extended bool
}

type message struct {
	role   string
	blocks []block
}

// block is a piece of content. text is that of a text block or document, or a tool's result.
type block struct {
	kind     string
	text     string
	image    string // as a URL
	id, name string // of a use of a tool; id also of its result
	input    json.RawMessage
	failed   bool // the tool's result is an error
	parts    []block
}

type tool struct {
	Type        string          `json:"type"`
	Name        string          `json:"name"`
	Description string          `json:"description"`
	InputSchema json.RawMessage `json:"input_schema"`
}

type toolChoice struct {
	Type            string `json:"type"`
	Name            string `json:"name"`
	DisableParallel bool   `json:"disable_parallel_tool_use"`
}

// Parse reads a request. Its errors are the client's mistakes, most of them *FieldError. To
// count tokens no max_tokens is needed.
func Parse(body []byte, counting bool) (*Request, error) {
	var raw struct {
		Model         string          `json:"model"`
		MaxTokens     *int64          `json:"max_tokens"`
		System        json.RawMessage `json:"system"`
		Messages      []rawMessage    `json:"messages"`
		Tools         []tool          `json:"tools"`
		ToolChoice    *toolChoice     `json:"tool_choice"`
		StopSequences []string        `json:"stop_sequences"`
		Temperature   json.RawMessage `json:"temperature"`
		TopP          json.RawMessage `json:"top_p"`
		TopK          json.RawMessage `json:"top_k"`
		Stream        bool            `json:"stream"`
		Metadata      *struct {
			UserID string `json:"user_id"`
		} `json:"metadata"`
		Thinking *struct {
			Type string `json:"type"`
		} `json:"thinking"`
	}
	if err := json.Unmarshal(body, &raw); err != nil {
		var mismatch *json.UnmarshalTypeError
		if errors.As(err, &mismatch) && mismatch.Field != "" {
			return nil, wrong(mismatch.Field, "is %s, want %s", mismatch.Value, mismatch.Type)
		}
		return nil, err
	}
	r := &Request{
		model: raw.Model, tools: raw.Tools, choice: raw.ToolChoice, stop: raw.StopSequences,
		temperature: raw.Temperature, topP: raw.TopP, topK: raw.TopK, stream: raw.Stream,
		think: raw.Thinking != nil && raw.Thinking.Type != "disabled",
	}
	switch {
	case raw.MaxTokens != nil && *raw.MaxTokens < 1:
		return nil, wrong("max_tokens", "is %d, want 1 or more", *raw.MaxTokens)
	case raw.MaxTokens != nil:
		r.maxTokens = *raw.MaxTokens
	case !counting:
		return nil, wrong("max_tokens", "is required")
	}
	if len(raw.Messages) == 0 {
		return nil, wrong("messages", "must have at least one message")
	}
	if raw.Metadata != nil {
		r.user = raw.Metadata.UserID
	}
	var err error
	if r.system, err = parseContent("system", raw.System, isText); err != nil {
		return nil, err
	}
	for i, m := range raw.Messages {
		parsed, err := m.parse(fmt.Sprintf("messages.%d", i))
		if err != nil {
			return nil, err
		}
		r.messages = append(r.messages, parsed)
	}
	return r, r.checkTools()
}

func (r *Request) checkTools() error {
	for i := range r.tools {
		t := &r.tools[i]
		field := fmt.Sprintf("tools.%d", i)
		switch {
		case t.Type != "" && t.Type != "custom":
			return wrong(field+".type", "is %q, which only Anthropic's own servers run; want a tool with an input_schema", t.Type)
		case t.Name == "":
			return wrong(field+".name", "is required")
		case !isObject(t.InputSchema):
			return wrong(field+".input_schema", "must be an object")
		}
	}
	if r.choice == nil {
		return nil
	}
	switch r.choice.Type {
	case "auto", "any", "none":
	case "tool":
		if r.choice.Name == "" {
			return wrong("tool_choice.name", "is required with the type tool")
		}
	default:
		return wrong("tool_choice.type", "is %q, want auto, any, tool or none", r.choice.Type)
	}
	return nil
}

func isObject(raw json.RawMessage) bool {
	return bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{"))
}

// Stream says whether the answer is to come piece by piece.
func (r *Request) Stream() bool { return r.stream }

type rawMessage struct {
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
}

func (m rawMessage) parse(field string) (message, error) {
	allowed := isUserBlock
	switch m.Role {
	case "user":
	case "assistant":
		allowed = isAssistantBlock
	default:
		return message{}, wrong(field+".role", "is %q, want user or assistant; what is for the system stands in the field system", m.Role)
	}
	blocks, err := parseContent(field+".content", m.Content, allowed)
	if err != nil {
		return message{}, err
	}
	if len(blocks) == 0 && m.Role == "user" {
		return message{}, wrong(field+".content", "is required")
	}
	return message{role: m.Role, blocks: blocks}, nil
}

func isText(kind string) bool { return kind == "text" }

func isUserBlock(kind string) bool {
	return kind == "text" || kind == "image" || kind == "document" || kind == "tool_result"
}

func isAssistantBlock(kind string) bool {
	return kind == "text" || kind == "tool_use" || kind == "thinking" || kind == "redacted_thinking"
}

func isResultBlock(kind string) bool { return kind == "text" || kind == "image" || kind == "document" }

// parseContent reads content, a string or a list of blocks.
func parseContent(field string, raw json.RawMessage, allowed func(kind string) bool) ([]block, error) {
	raw = bytes.TrimSpace(raw)
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return nil, nil
	case raw[0] == '"':
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return nil, wrong(field, "is no string: %v", err)
		}
		return []block{{kind: "text", text: text}}, nil
	case raw[0] != '[':
		return nil, wrong(field, "must be a string or a list of blocks")
	}
	var list []rawBlock
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, wrong(field, "has a block that is not as it must be: %v", err)
	}
	blocks := make([]block, 0, len(list))
	for i := range list {
		at := fmt.Sprintf("%s.%d", field, i)
		if !allowed(list[i].Type) {
			return nil, wrong(at+".type", "is %q, which is not supported here", list[i].Type)
		}
		b, err := list[i].parse(at)
		if err != nil {
			return nil, err
		}
		blocks = append(blocks, b)
	}
	return blocks, nil
}

type rawBlock struct {
	Type      string          `json:"type"`
	Text      string          `json:"text"`
	Source    *source         `json:"source"`
	Title     string          `json:"title"`
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	Input     json.RawMessage `json:"input"`
	ToolUseID string          `json:"tool_use_id"`
	Content   json.RawMessage `json:"content"`
	IsError   bool            `json:"is_error"`
}

// source is where an image or a document is.
type source struct {
	Type      string `json:"type"`
	MediaType string `json:"media_type"`
	Data      string `json:"data"`
	URL       string `json:"url"`
}

func (b *rawBlock) parse(field string) (block, error) {
	switch b.Type {
	case "image":
		url, err := b.Source.image(field + ".source")
		return block{kind: "image", image: url}, err
	case "document":
		if b.Source == nil || b.Source.Type != "text" {
			return block{}, wrong(field+".source.type", "must be text: engines read no other documents")
		}
		text := b.Source.Data
		if b.Title != "" {
			text = b.Title + "\n\n" + text
		}
		return block{kind: "text", text: text}, nil
	case "tool_use":
		if b.ID == "" || b.Name == "" {
			return block{}, wrong(field, "needs an id and a name")
		}
		input := b.Input
		if len(input) == 0 {
			input = json.RawMessage("{}")
		}
		if !isObject(input) {
			return block{}, wrong(field+".input", "must be an object")
		}
		return block{kind: "tool_use", id: b.ID, name: b.Name, input: input}, nil
	case "tool_result":
		if b.ToolUseID == "" {
			return block{}, wrong(field+".tool_use_id", "is required")
		}
		parts, err := parseContent(field+".content", b.Content, isResultBlock)
		return block{kind: "tool_result", id: b.ToolUseID, failed: b.IsError, parts: parts}, err
	}
	return block{kind: b.Type, text: b.Text}, nil
}

// imageTypes are those that Anthropic's API takes.
var imageTypes = map[string]bool{"image/jpeg": true, "image/png": true, "image/gif": true, "image/webp": true}

func (s *source) image(field string) (string, error) {
	switch {
	case s == nil:
		return "", wrong(field, "is required")
	case s.Type == "url":
		if s.URL == "" {
			return "", wrong(field+".url", "is required")
		}
		return s.URL, nil
	case s.Type != "base64":
		return "", wrong(field+".type", "is %q, want base64 or url", s.Type)
	case !imageTypes[s.MediaType]:
		return "", wrong(field+".media_type", "is %q, want image/jpeg, image/png, image/gif or image/webp", s.MediaType)
	case s.Data == "":
		return "", wrong(field+".data", "is required")
	}
	return "data:" + s.MediaType + ";base64," + s.Data, nil
}
