package tinygguf

import (
	"errors"
	"strings"
)

// Kinds of token in tokenizer.ggml.token_type.
const (
	normalToken  = 1
	controlToken = 3
)

// Control tokens that end a prompt and so decide what the model says.
const (
	// AnswerToken starts Options.Text.
	AnswerToken = "<|assistant|>"
	// ToolCallToken starts Options.ToolCall.
	ToolCallToken = "<|call|>"

	endToken = "<|end|>"
)

// vocab holds the tokens: the 256 bytes, the control tokens and the pieces of
// the texts. No piece stands in it twice, so that the last token alone tells
// which piece comes next.
type vocab struct {
	tokens   []string
	types    []int32
	seen     map[string]bool
	bos, end uint32
	call     uint32
}

func newVocab() *vocab {
	v := &vocab{seen: map[string]bool{}}
	for b := range 256 {
		v.add(string(byteRune(byte(b))), normalToken)
	}
	v.add("Ġt", normalToken) // the one merge that the tokenizer wants to have
	v.bos = v.add("<|begin|>", controlToken)
	v.end = v.add(endToken, controlToken)
	for _, role := range []string{"system", "user", "assistant", "tool"} {
		v.add("<|"+role+"|>", controlToken)
	}
	v.call = v.add(ToolCallToken, controlToken)
	return v
}

func (v *vocab) add(token string, kind int32) uint32 {
	v.seen[token] = true
	v.tokens = append(v.tokens, token)
	v.types = append(v.types, kind)
	return uint32(len(v.tokens) - 1)
}

// addText splits a text into pieces, about one a word, that are in no other
// text: a word that was seen before is joined to the one after it.
func (v *vocab) addText(text string) ([]uint32, error) {
	var pieces []string
	piece := ""
	for _, word := range strings.SplitAfter(strings.ReplaceAll(text, " ", "\x00 "), "\x00") {
		for _, b := range []byte(strings.TrimSuffix(word, "\x00")) {
			piece += string(byteRune(b))
		}
		if piece != "" && !v.seen[piece] {
			v.seen[piece] = true
			pieces = append(pieces, piece)
			piece = ""
		}
	}
	// A rest that was seen before is joined to the pieces before it, until the
	// whole is new.
	for piece != "" && v.seen[piece] {
		if len(pieces) == 0 {
			return nil, errors.New("the text is too short or the same as another: no piece of it is new")
		}
		last := len(pieces) - 1
		piece = pieces[last] + piece
		pieces = pieces[:last]
	}
	if piece != "" {
		pieces = append(pieces, piece)
	}
	ids := make([]uint32, len(pieces))
	for i, p := range pieces {
		ids[i] = v.add(p, normalToken)
	}
	return ids, nil
}

// chain gives, for each token, the token that follows it: the pieces of a text
// in order, and the answer's first piece after everything else.
func (v *vocab) chain(answer, toolCall []uint32, loop bool) []uint32 {
	next := make([]uint32, len(v.tokens))
	for t := range next {
		next[t] = answer[0]
	}
	link := func(pieces []uint32, after uint32) {
		for i := 1; i < len(pieces); i++ {
			next[pieces[i-1]] = pieces[i]
		}
		next[pieces[len(pieces)-1]] = after
	}
	if loop {
		link(answer, answer[0])
	} else {
		link(answer, v.end)
	}
	if len(toolCall) > 0 {
		next[v.call] = toolCall[0]
		link(toolCall, v.end)
	}
	return next
}

// byteRune is the printable rune that GPT-2's byte-level tokenizers write for a
// byte.
func byteRune(b byte) rune {
	switch {
	case b <= 0x20:
		return rune(b) + 0x100
	case b >= 0x7f && b <= 0xa0:
		return rune(b) - 0x7f + 0x121
	case b == 0xad:
		return 0x143
	}
	return rune(b)
}
