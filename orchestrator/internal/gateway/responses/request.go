// Package responses translates between OpenAI's Responses API and its chat completions, for
// engines that know only those. It knows nothing of routes, connections or HTTP.
//
// A request is refused, by the name of its field, where chat completions have no word for what
// it asks; what only says how OpenAI is to serve it is passed over.
//
// Source: https://platform.openai.com/docs/api-reference/responses.
package responses

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// FieldError says that a field of a request is wrong, or cannot be translated.
type FieldError struct {
	Field string // such as input[0].content
	What  string // ends the sentence that the field begins
}

func (e *FieldError) Error() string { return e.Field + " " + e.What }

func wrong(field, format string, args ...any) error {
	return &FieldError{Field: field, What: fmt.Sprintf(format, args...)}
}

// Request is a request to POST /v1/responses.
type Request struct {
	model        string
	instructions string
	talk         conversation
	tools        []tool
	choice       choice
	format       *format
	effort       string
	verbosity    string
	maxTokens    int64
	temperature  *float64
	topP         *float64
	user         string
	stream       bool
	single       bool // at most one call of a tool is wanted

	// given are the fields as they came, for what the answer repeats of them.
	given map[string]json.RawMessage
}

// Stream says whether the answer is to come piece by piece.
func (r *Request) Stream() bool { return r.stream }

// fields are those that a request may have and how each is read. One that is null is as if it
// were not there. Order does not matter but for tool_choice, which Parse reads last.
var fields = map[string]func(r *Request, raw json.RawMessage) error{
	"model": func(r *Request, raw json.RawMessage) error { return read(&r.model, "model", raw, "a string") },
	"instructions": func(r *Request, raw json.RawMessage) error {
		return read(&r.instructions, "instructions", raw, "a string")
	},
	"input":       (*Request).readInput,
	"tools":       (*Request).readTools,
	"text":        (*Request).readText,
	"reasoning":   (*Request).readReasoning,
	"metadata":    readMetadata,
	"user":        func(r *Request, raw json.RawMessage) error { return read(&r.user, "user", raw, "a string") },
	"stream":      func(r *Request, raw json.RawMessage) error { return read(&r.stream, "stream", raw, "true or false") },
	"temperature": func(r *Request, raw json.RawMessage) error { return readNumber(&r.temperature, "temperature", raw, 2) },
	"top_p":       func(r *Request, raw json.RawMessage) error { return readNumber(&r.topP, "top_p", raw, 1) },
	"max_output_tokens": func(r *Request, raw json.RawMessage) error {
		if err := read(&r.maxTokens, "max_output_tokens", raw, "a whole number"); err != nil {
			return err
		}
		if r.maxTokens < 1 {
			return wrong("max_output_tokens", "is %d, want 1 or more", r.maxTokens)
		}
		return nil
	},
	"parallel_tool_calls": func(r *Request, raw json.RawMessage) error {
		parallel := false
		err := read(&parallel, "parallel_tool_calls", raw, "true or false")
		r.single = !parallel
		return err
	},
	"truncation": func(_ *Request, raw json.RawMessage) error {
		return readOneOf("truncation", raw, "this engine does not leave items out by itself", "disabled")
	},
	"service_tier": func(_ *Request, raw json.RawMessage) error {
		return readOneOf("service_tier", raw, "there is one tier", "auto", "default")
	},
	"background": func(_ *Request, raw json.RawMessage) error {
		background := false
		if err := read(&background, "background", raw, "true or false"); err != nil || !background {
			return err
		}
		return wrong("background", "is true, and nothing is kept here that could be asked for later; want false")
	},
	"top_logprobs": func(_ *Request, raw json.RawMessage) error {
		var top int64
		if err := read(&top, "top_logprobs", raw, "a whole number"); err != nil || top == 0 {
			return err
		}
		return wrong("top_logprobs", "is %d, want 0: the probabilities of tokens are not translated", top)
	},
	"include": func(_ *Request, raw json.RawMessage) error {
		var list []string
		if err := read(&list, "include", raw, "a list of strings"); err != nil || len(list) == 0 {
			return err
		}
		return wrong("include[0]", "is %q, which this engine does not give; want an empty list", list[0])
	},
	// What follows says how OpenAI is to serve a request, and changes no answer. Nothing is
	// stored, and the answer says so.
	"store": passOver, "stream_options": passOver, "max_tool_calls": passOver, "safety_identifier": passOver,
	"prompt_cache_key": passOver, "prompt_cache_retention": passOver, "prompt_cache_options": passOver,
}

// refused are the fields that ask for what only a server with a memory has.
var refused = map[string]string{
	"previous_response_id": "cannot be used with this engine: no response is kept; send what was said before as input",
	"conversation":         "cannot be used with this engine: no conversation is kept; send what was said before as input",
	"prompt":               "cannot be used with this engine: no prompts are kept; send the text as instructions or input",
	"context_management":   "cannot be used with this engine, which does not compact a conversation",
}

func passOver(*Request, json.RawMessage) error { return nil }

// Parse reads a request. Its errors are the client's mistakes, most of them *FieldError.
func Parse(body []byte) (*Request, error) {
	r := &Request{}
	if err := json.Unmarshal(body, &r.given); err != nil {
		if mismatch := new(json.UnmarshalTypeError); errors.As(err, &mismatch) {
			return nil, errors.New("the body must be a JSON object")
		}
		return nil, err
	}
	maps.DeleteFunc(r.given, func(_ string, raw json.RawMessage) bool { return string(raw) == "null" })
	choice := r.given["tool_choice"]
	for _, name := range slices.Sorted(maps.Keys(r.given)) {
		if why, ok := refused[name]; ok {
			return nil, wrong(name, "%s", why)
		}
		readField, ok := fields[name]
		if name == "tool_choice" {
			continue
		}
		if !ok {
			return nil, wrong(clip(name), "is not known here, and cannot be passed on to this engine")
		}
		if err := readField(r, r.given[name]); err != nil {
			return nil, err
		}
	}
	if _, ok := r.given["input"]; !ok {
		return nil, wrong("input", "is required")
	}
	return r, r.readChoice(choice)
}

// clip shortens a name that an error repeats.
func clip(name string) string {
	const most = 64
	if utf8.RuneCountInString(name) <= most {
		return name
	}
	return string([]rune(name)[:most]) + "..."
}

// read decodes a field; want says what it must be.
func read[T any](into *T, field string, raw json.RawMessage, want string) error {
	if err := json.Unmarshal(raw, into); err != nil {
		return wrong(field, "must be %s", want)
	}
	return nil
}

func readNumber(into **float64, field string, raw json.RawMessage, most float64) error {
	n := 0.0
	if err := read(&n, field, raw, "a number"); err != nil {
		return err
	}
	if n < 0 || n > most {
		return wrong(field, "is %g, want 0 to %g", n, most)
	}
	*into = &n
	return nil
}

// readOneOf reads a word out of a few; why says why there are no others.
func readOneOf(field string, raw json.RawMessage, why string, allowed ...string) error {
	word := ""
	if err := read(&word, field, raw, "a string"); err != nil || slices.Contains(allowed, word) {
		return err
	}
	return wrong(field, "is %q, want %s: %s", clip(word), strings.Join(allowed, " or "), why)
}

// Bounds of metadata, as OpenAI has them.
const (
	maxMetadata      = 16
	maxMetadataKey   = 64
	maxMetadataValue = 512
)

func readMetadata(_ *Request, raw json.RawMessage) error {
	var pairs map[string]string
	if err := read(&pairs, "metadata", raw, "an object whose values are strings"); err != nil {
		return err
	}
	if len(pairs) > maxMetadata {
		return wrong("metadata", "has %d keys, at most %d are allowed", len(pairs), maxMetadata)
	}
	for key, value := range pairs {
		if utf8.RuneCountInString(key) > maxMetadataKey || utf8.RuneCountInString(value) > maxMetadataValue {
			return wrong("metadata", "has a key of more than %d or a value of more than %d characters", maxMetadataKey, maxMetadataValue)
		}
	}
	return nil
}

// efforts are OpenAI's, by what engines call them: those that they do not know become the next.
var efforts = map[string]string{
	"none": "none", "minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high",
}

func (r *Request) readReasoning(raw json.RawMessage) error {
	var reasoning map[string]*string
	if err := read(&reasoning, "reasoning", raw, "an object whose values are strings"); err != nil {
		return err
	}
	maps.DeleteFunc(reasoning, func(_ string, word *string) bool { return word == nil })
	for _, name := range slices.Sorted(maps.Keys(reasoning)) {
		field, word := "reasoning."+clip(name), *reasoning[name]
		switch name {
		case "effort":
			if r.effort = efforts[word]; r.effort == "" {
				return wrong(field, "is %q, want none, minimal, low, medium, high, xhigh or max", clip(word))
			}
		case "summary", "generate_summary":
			// The reasoning comes as it is; nobody sums it up.
			if word != "auto" {
				return wrong(field, "is %q, want auto: this engine gives its reasoning, and no summaries of it", clip(word))
			}
		case "context":
			if word != "auto" && word != "current_turn" {
				return wrong(field, "is %q, want auto or current_turn: this engine is not told what it thought before", clip(word))
			}
		default:
			return wrong(field, "is not known here, and cannot be passed on to this engine")
		}
	}
	return nil
}
