package anthropic

import (
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// What tokens are about, where no engine counts them.
const (
	charsPerToken    = 4
	tokensPerMessage = 4
	tokensPerImage   = 1000
)

// Estimate gives about how many tokens a request has.
func (r *Request) Estimate() int64 {
	tokens := estimateBlocks(r.system)
	for _, m := range r.messages {
		tokens += tokensPerMessage + estimateBlocks(m.blocks)
	}
	for _, t := range r.tools {
		tokens += tokensPerMessage + estimateText(t.Name) + estimateText(t.Description) + estimateText(string(t.InputSchema))
	}
	return tokens
}

func estimateBlocks(blocks []block) (tokens int64) {
	for _, b := range blocks {
		switch b.kind {
		case "image":
			tokens += tokensPerImage
		case "tool_use":
			tokens += tokensPerMessage + estimateText(b.name) + estimateText(string(b.input))
		case "tool_result":
			tokens += tokensPerMessage + estimateBlocks(b.parts)
		default:
			tokens += estimateText(b.text)
		}
	}
	return tokens
}

func estimateText(text string) int64 {
	return int64((utf8.RuneCountInString(text) + charsPerToken - 1) / charsPerToken)
}

// Count encodes a number of tokens.
func Count(tokens int64) []byte {
	data, err := json.Marshal(struct {
		InputTokens int64 `json:"input_tokens"`
	}{tokens})
	if err != nil { // a number always encodes
		return []byte(`{"input_tokens":0}`)
	}
	return data
}

// Counted translates the answer of vLLM's POST /tokenize.
func Counted(body []byte) ([]byte, error) {
	var counted struct {
		Count *int64 `json:"count"`
	}
	if err := json.Unmarshal(body, &counted); err != nil {
		return nil, err
	}
	if counted.Count == nil {
		return nil, errors.New("it has no count")
	}
	return Count(*counted.Count), nil
}
