package ollama

import (
	"encoding/json"
	"math"
)

// options are those of Ollama's that other engines have, too. The rest is about
// how Ollama loads a model, or has no counterpart, and is passed over.
type options struct {
	Temperature      *float64 `json:"temperature"`
	TopP             *float64 `json:"top_p"`
	TopK             *float64 `json:"top_k"`
	MinP             *float64 `json:"min_p"`
	Seed             *float64 `json:"seed"`
	NumPredict       *float64 `json:"num_predict"`
	Stop             []string `json:"stop"`
	PresencePenalty  *float64 `json:"presence_penalty"`
	FrequencyPenalty *float64 `json:"frequency_penalty"`
	RepeatPenalty    *float64 `json:"repeat_penalty"`
}

// apply gives a request the options.
func (o *options) apply(c *completion, extended bool) error {
	c.Temperature, c.TopP, c.Stop = o.Temperature, o.TopP, o.Stop
	c.PresencePenalty, c.FrequencyPenalty = o.PresencePenalty, o.FrequencyPenalty
	var err error
	if c.Seed, err = whole("seed", o.Seed); err != nil {
		return err
	}
	if c.MaxTokens, err = whole("num_predict", o.NumPredict); err != nil {
		return err
	}
	if c.MaxTokens != nil && *c.MaxTokens <= 0 {
		c.MaxTokens = nil // -1 and -2: as many as there is room for
	}
	topK, err := whole("top_k", o.TopK)
	if err != nil {
		return err
	}
	if extended {
		c.TopK, c.MinP, c.RepetitionPenalty = topK, o.MinP, o.RepeatPenalty
	}
	return nil
}

// whole reads a whole number, which clients also write as 42.0.
func whole(name string, number *float64) (*int64, error) {
	if number == nil {
		return nil, nil //nolint:nilnil // an option that was not given stays away
	}
	const most = 1 << 53
	if *number != math.Trunc(*number) || math.Abs(*number) > most {
		return nil, badField("options."+name, "must be a whole number")
	}
	n := int64(*number)
	return &n, nil
}

type responseFormat struct {
	Type       string      `json:"type"`
	JSONSchema *jsonSchema `json:"json_schema,omitempty"`
}

type jsonSchema struct {
	Name   string          `json:"name"`
	Schema json.RawMessage `json:"schema"`
	Strict bool            `json:"strict"`
}

// formatOf reads the form that an answer is to have: "json", or a schema.
func formatOf(raw json.RawMessage) (*responseFormat, error) {
	if !given(raw) || string(raw) == `""` {
		return nil, nil //nolint:nilnil // without it any form will do
	}
	switch {
	case string(raw) == `"json"`:
		return &responseFormat{Type: "json_object"}, nil
	case raw[0] == '{':
		return &responseFormat{Type: "json_schema", JSONSchema: &jsonSchema{Name: "answer", Schema: raw, Strict: true}}, nil
	}
	return nil, badField("format", `must be "json" or a JSON schema`)
}

// Idle says whether a request to /api/chat or /api/generate asks nothing: it
// only has the model loaded, or unloaded.
func Idle(path string, body []byte) (idle, unload bool) {
	r, err := parse(body)
	if err != nil || (path == Chat && len(r.Messages) > 0) || (path == Generate && r.Prompt != "") || (path != Chat && path != Generate) {
		return false, false
	}
	return true, isZero(r.KeepAlive)
}

// isZero reads a keep_alive: seconds, or a duration such as "0s".
func isZero(raw json.RawMessage) bool {
	var seconds float64
	if given(raw) && json.Unmarshal(raw, &seconds) == nil {
		return seconds >= 0 && seconds < 1
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return false
	}
	switch text {
	case "0", "0s", "0m", "0h", "0ms":
		return true
	}
	return false
}
