// Package tinygguf makes tiny language models as GGUF files that the llama.cpp
// family of servers (Ollama, llama-server) loads and runs for real, on a CPU.
// Tests use them where no model can be downloaded.
//
// A model is an ordinary llama transformer with a byte-level tokenizer, whose
// weights are set by hand so that it answers every prompt with one fixed text:
// each token's embedding is its own axis, the output matrix leads from each
// token to the one that follows it in the text, and the attention and
// feed-forward blocks compute on random weights but add nothing to the residual
// stream. The answer is the same at every temperature.
//
// A second text, for tool calls, is started by a control token of its own, which
// OllamaTemplate puts at the end of the prompt when tools are offered and it is
// the user who spoke last.
package tinygguf

import (
	"errors"
	"fmt"
	"math/rand"
	"strconv"
)

// jinjaTemplate is for servers that read the chat template from the file.
const jinjaTemplate = `{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}` +
	`{% if add_generation_prompt %}<|assistant|>{% endif %}`

// OllamaTemplate is the Modelfile TEMPLATE of these models. Ollama reads from it
// that the model takes tools, and how a tool call is written.
const OllamaTemplate = `{{- range $i, $m := .Messages }}<|{{ .Role }}|>{{ .Content }}
{{- range .ToolCalls }}{"name": "{{ .Function.Name }}", "parameters": {{ .Function.Arguments }}}{{ end }}<|end|>
{{- if eq (len (slice $.Messages $i)) 1 }}
{{- if and $.Tools (eq .Role "user") }}<|call|>{{ else }}<|assistant|>{{ end }}
{{- end }}
{{- end }}`

// Options say what a model is like.
type Options struct {
	// Name is the model's own name in its metadata; "tiny" when empty.
	Name string
	// Text is what the model answers. Required.
	Text string
	// ToolCall is what it says instead when the prompt ends in ToolCallToken:
	// {"name": "...", "parameters": {...}}. Without it the token counts for
	// nothing.
	ToolCall string
	// Loop has it say Text again and again without an end, for tests of
	// cancellation.
	Loop bool
	// Layers is the number of transformer blocks; more make the file larger and
	// the model slower. Default 1.
	Layers int
	// FeedForward is the feed-forward width; likewise. Default 64.
	FeedForward int
	// Context is the context length that the model claims, in tokens. Default
	// 2048.
	Context int
}

// maxSize keeps a slip of the options from filling the memory, in weights.
const maxSize = 2 << 30

func (o Options) withDefaults() (Options, error) {
	if o.Name == "" {
		o.Name = "tiny"
	}
	if o.Layers == 0 {
		o.Layers = 1
	}
	if o.FeedForward == 0 {
		o.FeedForward = 64
	}
	if o.Context == 0 {
		o.Context = 2048
	}
	switch {
	case o.Text == "":
		return o, errors.New("text: the model needs something to say")
	case o.Layers < 0 || o.FeedForward < 0 || o.Context < 0:
		return o, errors.New("layers, feed-forward width and context must not be negative")
	case o.Layers*o.FeedForward > maxSize/1024:
		return o, fmt.Errorf("layers x feed-forward width must not exceed %d", maxSize/1024)
	}
	return o, nil
}

// New returns the file of a model: 1.3 MB with the default options and a short
// text.
func New(o Options) ([]byte, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	v := newVocab()
	answer, err := v.addText(o.Text)
	if err != nil {
		return nil, fmt.Errorf("text: %w", err)
	}
	var call []uint32
	if o.ToolCall != "" {
		if call, err = v.addText(o.ToolCall); err != nil {
			return nil, fmt.Errorf("tool call: %w", err)
		}
	}
	return encode(o, v, v.chain(answer, call, o.Loop)), nil
}

func encode(o Options, v *vocab, next []uint32) []byte {
	const headDim = 64
	// Each token has an axis of its own; heads divide the axes evenly.
	dim := (len(v.tokens) + headDim - 1) / headDim * headDim
	heads := uint32(dim / headDim)

	var m gguf
	m.text("general.architecture", "llama")
	m.text("general.name", o.Name)
	m.uint32("general.file_type", fileF16)
	m.uint32("llama.block_count", uint32(o.Layers))
	m.uint32("llama.context_length", uint32(o.Context))
	m.uint32("llama.embedding_length", uint32(dim))
	m.uint32("llama.feed_forward_length", uint32(o.FeedForward))
	m.uint32("llama.attention.head_count", heads)
	m.uint32("llama.attention.head_count_kv", heads)
	m.float32("llama.attention.layer_norm_rms_epsilon", 1e-5)
	m.uint32("llama.rope.dimension_count", headDim)
	m.float32("llama.rope.freq_base", 10000)
	m.uint32("llama.vocab_size", uint32(len(v.tokens)))
	m.text("tokenizer.ggml.model", "gpt2")
	m.text("tokenizer.ggml.pre", "llama-bpe")
	m.texts("tokenizer.ggml.tokens", v.tokens)
	m.int32s("tokenizer.ggml.token_type", v.types)
	m.texts("tokenizer.ggml.merges", []string{"Ġ t"})
	m.uint32("tokenizer.ggml.bos_token_id", v.bos)
	m.uint32("tokenizer.ggml.eos_token_id", v.end)
	m.bool("tokenizer.ggml.add_bos_token", true)
	m.text("tokenizer.chat_template", jinjaTemplate)

	// The same options give the same file: its digest is its identity in Ollama.
	rnd := rand.New(rand.NewSource(1)) //nolint:gosec // weights are no secret
	random := func(int) float32 { return float32(rnd.NormFloat64()) * 0.02 }
	constant := func(c float32) func(int) float32 { return func(int) float32 { return c } }

	m.tensor("token_embd.weight", func(i int) float32 {
		if i/dim == i%dim {
			return 1
		}
		return random(i)
	}, dim, len(v.tokens))
	for layer := range o.Layers {
		blk := func(s string) string { return "blk." + strconv.Itoa(layer) + "." + s + ".weight" }
		m.tensor(blk("attn_norm"), constant(1), dim)
		m.tensor(blk("attn_q"), random, dim, dim)
		m.tensor(blk("attn_k"), random, dim, dim)
		m.tensor(blk("attn_v"), random, dim, dim)
		m.tensor(blk("attn_output"), constant(0), dim, dim)
		m.tensor(blk("ffn_norm"), constant(1), dim)
		m.tensor(blk("ffn_gate"), random, dim, o.FeedForward)
		m.tensor(blk("ffn_up"), random, dim, o.FeedForward)
		m.tensor(blk("ffn_down"), constant(0), o.FeedForward, dim)
	}
	m.tensor("output_norm.weight", constant(1), dim)
	m.tensor("output.weight", func(i int) float32 {
		if from := i % dim; from < len(next) && next[from] == uint32(i/dim) {
			return 4
		}
		return 0
	}, dim, len(v.tokens))
	return m.bytes()
}
