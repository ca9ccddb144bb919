// Package ollama translates Ollama's own API for engines that speak OpenAI's.
// It knows nothing of connections: requests and answers go in and come out as
// bytes.
package ollama

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// The paths that are translated, as Ollama has them.
const (
	Chat       = "/api/chat"
	Generate   = "/api/generate"
	Embed      = "/api/embed"
	Embeddings = "/api/embeddings"
)

// FieldError says what is wrong with a request, and where.
type FieldError struct {
	Field, What string
}

func (e *FieldError) Error() string { return e.Field + " " + e.What }

func badField(field, format string, args ...any) error {
	return &FieldError{Field: field, What: fmt.Sprintf(format, args...)}
}

// Target is the engine that a request is for.
type Target struct {
	// Model is what it calls the model.
	Model string
	// Extended is true when it takes vLLM's parameters for sampling, too.
	Extended bool
}

// Translated is a request in OpenAI's words.
type Translated struct {
	Path   string
	Body   []byte
	Answer *Answer
}

// request holds what of Ollama's requests has a meaning elsewhere.
type request struct {
	Model      string          `json:"model"`
	Messages   []message       `json:"messages"`
	Prompt     string          `json:"prompt"`
	System     string          `json:"system"`
	Template   string          `json:"template"`
	Suffix     string          `json:"suffix"`
	Raw        bool            `json:"raw"`
	Context    []int           `json:"context"`
	Images     []string        `json:"images"`
	Input      json.RawMessage `json:"input"`
	Dimensions *int            `json:"dimensions"`
	Stream     *bool           `json:"stream"`
	Format     json.RawMessage `json:"format"`
	Tools      json.RawMessage `json:"tools"`
	Options    options         `json:"options"`
	KeepAlive  json.RawMessage `json:"keep_alive"`
}

func parse(body []byte) (*request, error) {
	r := &request{}
	if err := json.Unmarshal(body, r); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return nil, badField(wrong.Field, "must not be a %s here", wrong.Value)
		}
		return nil, fmt.Errorf("the body is not a request: %w", err)
	}
	return r, nil
}

// completion is a request of OpenAI's for text.
type completion struct {
	Model             string          `json:"model"`
	Messages          []openMessage   `json:"messages,omitempty"`
	Prompt            string          `json:"prompt,omitempty"`
	Suffix            string          `json:"suffix,omitempty"`
	Stream            bool            `json:"stream"`
	StreamOptions     *streamOptions  `json:"stream_options,omitempty"`
	Tools             json.RawMessage `json:"tools,omitempty"`
	ResponseFormat    *responseFormat `json:"response_format,omitempty"`
	Temperature       *float64        `json:"temperature,omitempty"`
	TopP              *float64        `json:"top_p,omitempty"`
	Seed              *int64          `json:"seed,omitempty"`
	Stop              []string        `json:"stop,omitempty"`
	MaxTokens         *int64          `json:"max_tokens,omitempty"`
	PresencePenalty   *float64        `json:"presence_penalty,omitempty"`
	FrequencyPenalty  *float64        `json:"frequency_penalty,omitempty"`
	TopK              *int64          `json:"top_k,omitempty"`
	MinP              *float64        `json:"min_p,omitempty"`
	RepetitionPenalty *float64        `json:"repetition_penalty,omitempty"`
}

type streamOptions struct {
	IncludeUsage bool `json:"include_usage"`
}

// Translate puts a request to one of the paths above into OpenAI's words. Its
// errors are the client's: *FieldError says where.
func Translate(path string, body []byte, to Target) (Translated, error) {
	r, err := parse(body)
	if err != nil {
		return Translated{}, err
	}
	var out any
	target := ""
	switch path {
	case Chat:
		target = "/v1/chat/completions"
		out, err = r.chat(to)
	case Generate:
		target, out, err = r.generate(to)
	case Embed:
		target = "/v1/embeddings"
		out, err = r.embed(to)
	case Embeddings:
		target = "/v1/embeddings"
		out = embedding{Model: to.Model, Input: r.Prompt, EncodingFormat: "float"}
		if r.Prompt == "" {
			err = badField("prompt", "must not be empty")
		}
	default:
		err = fmt.Errorf("%s cannot be translated", path)
	}
	if err != nil {
		return Translated{}, err
	}
	data, err := json.Marshal(out)
	if err != nil {
		return Translated{}, fmt.Errorf("encode the request: %w", err)
	}
	return Translated{Path: target, Body: data, Answer: newAnswer(path, r.Model, time.Now)}, nil
}

// completion begins a request for text with what all have.
func (r *request) completion(to Target) (completion, error) {
	// Ollama streams unless it is told not to.
	c := completion{Model: to.Model, Stream: r.Stream == nil || *r.Stream}
	if c.Stream {
		c.StreamOptions = &streamOptions{IncludeUsage: true}
	}
	var err error
	if c.ResponseFormat, err = formatOf(r.Format); err != nil {
		return c, err
	}
	return c, r.Options.apply(&c, to.Extended)
}

func (r *request) chat(to Target) (completion, error) {
	c, err := r.completion(to)
	if err != nil {
		return c, err
	}
	if len(r.Messages) == 0 {
		return c, badField("messages", "must not be empty")
	}
	if c.Messages, err = openMessages(r.Messages); err != nil {
		return c, err
	}
	if given(r.Tools) {
		if r.Tools[0] != '[' {
			return c, badField("tools", "must be a list")
		}
		if string(r.Tools) != "[]" {
			c.Tools = r.Tools
		}
	}
	return c, nil
}

// generate makes a chat of a prompt, because engines put the model's template
// around chats only. A raw prompt and one with a suffix have none.
func (r *request) generate(to Target) (path string, c completion, err error) {
	if c, err = r.completion(to); err != nil {
		return "", c, err
	}
	switch {
	case r.Prompt == "":
		return "", c, badField("prompt", "must not be empty")
	case len(r.Context) > 0:
		return "", c, badField("context", "holds tokens of Ollama's, which the engine of this model cannot read; use /api/chat")
	case r.Template != "":
		return "", c, badField("template", "cannot be changed with the engine of this model; use raw with the whole prompt")
	}
	if r.Raw || r.Suffix != "" {
		if len(r.Images) > 0 {
			return "", c, badField("images", "do not go with raw or suffix with the engine of this model")
		}
		if r.System != "" {
			return "", c, badField("system", "does not go with raw or suffix")
		}
		c.Prompt, c.Suffix = r.Prompt, r.Suffix
		return "/v1/completions", c, nil
	}
	if r.System != "" {
		c.Messages = append(c.Messages, openMessage{Role: "system", Content: r.System})
	}
	content, err := contentOf(r.Prompt, r.Images, "")
	if err != nil {
		return "", c, err
	}
	c.Messages = append(c.Messages, openMessage{Role: "user", Content: content})
	return "/v1/chat/completions", c, nil
}

// embedding is a request of OpenAI's for vectors.
type embedding struct {
	Model          string `json:"model"`
	Input          any    `json:"input"`
	Dimensions     *int   `json:"dimensions,omitempty"`
	EncodingFormat string `json:"encoding_format"`
}

func (r *request) embed(to Target) (embedding, error) {
	e := embedding{Model: to.Model, Dimensions: r.Dimensions, EncodingFormat: "float"}
	var one string
	var many []string
	switch {
	case json.Unmarshal(r.Input, &one) == nil && one != "":
		e.Input = one
	case json.Unmarshal(r.Input, &many) == nil && len(many) > 0:
		e.Input = many
	default:
		return e, badField("input", "must be a text or a list of texts, not empty")
	}
	return e, nil
}

// given says whether an optional field has a value.
func given(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }
