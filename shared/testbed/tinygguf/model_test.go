package tinygguf

import (
	"bytes"
	"strings"
	"testing"
)

// say follows the chain from a token to the end of the text.
func say(v *vocab, next []uint32, from uint32) string {
	var b strings.Builder
	for t := next[from]; t != v.end && b.Len() < 1000; t = next[t] {
		for _, r := range v.tokens[t] {
			for c := range 256 {
				if byteRune(byte(c)) == r {
					b.WriteByte(byte(c))
				}
			}
		}
	}
	return b.String()
}

func TestChainSaysTheTexts(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ answer, call string }{
		"short":              {"Hi there", ""},
		"repeated words":     {"the cat and the dog and the cat", `{"name": "the", "parameters": {}}`},
		"ends in what it is": {"a a a a", ""},
		"call ends alike":    {"one two", "three one two"},
		"call shares words":  {"so it is", "it is so"},
		"not only ASCII":     {"Grüße aus Köln", ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVocab()
			answer, err := v.addText(tc.answer)
			if err != nil {
				t.Fatal(err)
			}
			var call []uint32
			if tc.call != "" {
				if call, err = v.addText(tc.call); err != nil {
					t.Fatal(err)
				}
			}
			next := v.chain(answer, call, false)
			if got := say(v, next, v.bos); got != tc.answer {
				t.Errorf("it says %q, want %q", got, tc.answer)
			}
			want := tc.call
			if want == "" {
				want = tc.answer
			}
			if got := say(v, next, v.call); got != want {
				t.Errorf("after the call token it says %q, want %q", got, want)
			}
		})
	}
}

func TestNewChecksOptions(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		options Options
		want    string
	}{
		"no text":     {Options{}, "text: the model needs something to say"},
		"negative":    {Options{Text: "x y", Layers: -1}, "layers, feed-forward width and context must not be negative"},
		"huge":        {Options{Text: "x y", Layers: 1 << 20, FeedForward: 1 << 20}, "layers x feed-forward width must not exceed 2097152"},
		"one letter":  {Options{Text: "x"}, "text: the text is too short or the same as another: no piece of it is new"},
		"equal texts": {Options{Text: "xy", ToolCall: "xy"}, "tool call: the text is too short or the same as another: no piece of it is new"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := New(tc.options); err == nil || err.Error() != tc.want {
				t.Errorf("New() = %v, want %q", err, tc.want)
			}
		})
	}
}

func TestSameOptionsSameFile(t *testing.T) {
	t.Parallel()
	one, err1 := New(Options{Text: "always the same"})
	two, err2 := New(Options{Text: "always the same"})
	if err1 != nil || err2 != nil || !bytes.Equal(one, two) {
		t.Errorf("two files of %d and %d bytes differ (%v, %v)", len(one), len(two), err1, err2)
	}
	if !bytes.HasPrefix(one, []byte("GGUF\x03\x00\x00\x00")) {
		t.Errorf("the file starts with %q", one[:8])
	}
}
