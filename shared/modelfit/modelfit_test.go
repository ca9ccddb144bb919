package modelfit

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// header writes the header of a GGUF file of version 3 by hand, so that tests
// share nothing with what they test.
type header struct {
	entries, tensors       uint64
	entryBytes, tensorInfo bytes.Buffer
}

func (h *header) entry(key string, kind uint32, value any) *header {
	h.entries++
	text(&h.entryBytes, key)
	put(&h.entryBytes, kind)
	if s, ok := value.(string); ok {
		text(&h.entryBytes, s)
	} else {
		put(&h.entryBytes, value)
	}
	return h
}

func (h *header) list(key string, kind uint32, values any, count uint64) *header {
	h.entries++
	text(&h.entryBytes, key)
	put(&h.entryBytes, uint32(ggufArray), kind, count, values)
	return h
}

func (h *header) tensor(name string, kind uint32, shape ...uint64) *header {
	h.tensors++
	text(&h.tensorInfo, name)
	put(&h.tensorInfo, uint32(len(shape)), shape, kind, uint64(0))
	return h
}

func (h *header) bytes() []byte {
	var b bytes.Buffer
	b.WriteString("GGUF")
	put(&b, uint32(3), h.tensors, h.entries)
	b.Write(h.entryBytes.Bytes())
	b.Write(h.tensorInfo.Bytes())
	return b.Bytes()
}

func text(b *bytes.Buffer, s string) {
	put(b, uint64(len(s)))
	b.WriteString(s)
}

func put(b *bytes.Buffer, values ...any) {
	for _, v := range values {
		_ = binary.Write(b, binary.LittleEndian, v) // a buffer takes everything
	}
}

// llama is the header of a model like Llama 3.2 1B in Q8_0.
func llama() *header {
	h := &header{}
	h.entry("general.architecture", ggufString, "llama").
		entry("general.file_type", ggufUint32, uint32(7)).
		entry("llama.block_count", ggufUint32, uint32(16)).
		entry("llama.context_length", ggufUint32, uint32(131072)).
		entry("llama.embedding_length", ggufUint32, uint32(2048)).
		entry("llama.attention.head_count", ggufUint32, uint32(32)).
		entry("llama.attention.head_count_kv", ggufUint32, uint32(8)).
		entry("llama.rope.freq_base", ggufFloat32, float32(500000)).
		entry("tokenizer.ggml.add_bos_token", ggufBool, uint8(1))
	h.entries++ // a vocabulary
	text(&h.entryBytes, "tokenizer.ggml.tokens")
	put(&h.entryBytes, uint32(ggufArray), uint32(ggufString), uint64(2))
	text(&h.entryBytes, "a")
	text(&h.entryBytes, "b")
	h.tensor("token_embd.weight", 8, 2048, 128256).tensor("output_norm.weight", 0, 2048)
	return h
}

func TestReadGGUF(t *testing.T) {
	m, err := ReadGGUF(bytes.NewReader(llama().bytes()))
	if err != nil {
		t.Fatal(err)
	}
	want := &Model{
		Architecture: "llama", Quantization: "Q8_0", Layers: 16, ContextLength: 131072,
		Parameters: 2048*128256 + 2048, WeightBytes: 2048*128256/32*34 + 2048*4,
		CacheValues: 16 * 8 * (64 + 64),
	}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Error(diff)
	}
	// llama.cpp says "KV self size = 64.00 MiB" of this model for 2,048 tokens.
	if need := m.Need(Load{Context: 2048, Parallel: 1}); need.Cache != 64<<20 || need.Overhead != minOverhead {
		t.Errorf("needs %+v", need)
	}
}

func TestExpertsAndHeadsOfEachLayer(t *testing.T) {
	h := &header{}
	h.entry("general.architecture", ggufString, "moe").
		entry("moe.block_count", ggufUint32, uint32(2)).
		entry("moe.embedding_length", ggufUint64, uint64(64)).
		entry("moe.attention.head_count", ggufUint32, uint32(4)).
		entry("moe.attention.key_length", ggufUint32, uint32(10)).
		entry("moe.attention.value_length", ggufUint32, uint32(6)).
		entry("moe.expert_count", ggufUint32, uint32(8)).
		entry("moe.expert_used_count", ggufUint32, uint32(2)).
		list("moe.attention.head_count_kv", ggufInt32, []int32{1, 3}, 2).
		tensor("blk.0.ffn_up_exps.weight", 1, 100, 8).tensor("output.weight", 1, 100)
	m, err := ReadGGUF(bytes.NewReader(h.bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if m.CacheValues != 4*16 || m.WeightBytes != 1800 || m.ExpertBytes != 1600 || m.BytesPerToken() != 200+400 {
		t.Errorf("read %+v, %d bytes a token", m, m.BytesPerToken())
	}
}

func TestBadGGUF(t *testing.T) {
	whole := llama().bytes()
	nested := &header{entries: 1}
	text(&nested.entryBytes, "x")
	put(&nested.entryBytes, uint32(ggufArray), uint32(ggufArray), uint64(1), uint32(ggufArray), uint64(1), uint32(ggufArray), uint64(1))
	counts := func(tensors, entries uint64) []byte {
		h := header{tensors: tensors, entries: entries}
		return h.bytes()
	}
	endless := &header{entries: 1}
	text(&endless.entryBytes, "x")
	put(&endless.entryBytes, uint32(ggufArray), uint32(ggufString), uint64(1<<26))
	for name, tt := range map[string]struct {
		data io.Reader
		want string
	}{
		"nothing":       {strings.NewReader(""), "unexpected EOF"},
		"HTML":          {strings.NewReader("<html><body>"), "does not begin with GGUF"},
		"version":       {strings.NewReader("GGUF\x01\x00\x00\x00"), "has version 1; 2 and 3 are known"},
		"tensors":       {bytes.NewReader(counts(1<<60, 0)), "tensors; at most 131072"},
		"entries":       {bytes.NewReader(counts(0, 1<<60)), "entries; at most 65536"},
		"key":           {bytes.NewReader(append(counts(0, 1), 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0)), "characters in a name; at most 65536"},
		"type":          {bytes.NewReader((&header{}).entry("k", 99, uint32(0)).bytes()), `entry "k": has the unknown type 99`},
		"nesting":       {bytes.NewReader(nested.bytes()), "arrays in more than 2 others"},
		"dimensions":    {bytes.NewReader((&header{}).tensor("t", 0, make([]uint64, 9)...).bytes()), "has 9 dimensions; at most 8"},
		"elements":      {bytes.NewReader((&header{}).tensor("t", 0, 1<<40, 1<<40).bytes()), "elements; at most"},
		"tensor's type": {bytes.NewReader((&header{}).tensor("t", 77, 1).bytes()), "tensor 0 has the unknown type 77"},
		"no tensors":    {bytes.NewReader((&header{}).bytes()), ErrUnknownSize.Error()},
		"too long":      {io.MultiReader(bytes.NewReader(endless.bytes()), zeros{}), "is larger than 67108864 bytes"},
	} {
		if _, err := ReadGGUF(tt.data); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	for n := range whole {
		if _, err := ReadGGUF(bytes.NewReader(whole[:n])); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut off after %d bytes: %v", n, err)
		}
	}
}

// zeros never ends.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestReadConfig(t *testing.T) {
	for name, tt := range map[string]struct {
		config string
		cache  int64 // values
		dtype  string
	}{
		"grouped":    {`{"model_type":"qwen3","num_hidden_layers":36,"hidden_size":4096,"num_attention_heads":32,"num_key_value_heads":8,"head_dim":128,"max_position_embeddings":40960,"torch_dtype":"bfloat16"}`, 36 * 8 * 128 * 2, "bfloat16"},
		"plain":      {`{"num_hidden_layers":2,"hidden_size":64,"num_attention_heads":4,"dtype":"float16","quantization_config":{"quant_method":"awq"}}`, 2 * 4 * 16 * 2, "awq"},
		"sees":       {`{"model_type":"gemma3","text_config":{"num_hidden_layers":2,"hidden_size":64,"num_attention_heads":4,"num_key_value_heads":null}}`, 2 * 4 * 16 * 2, ""},
		"compressed": {`{"num_hidden_layers":61,"num_attention_heads":128,"hidden_size":7168,"kv_lora_rank":512,"qk_rope_head_dim":64}`, 61 * 576, ""},
	} {
		m, err := ReadConfig([]byte(tt.config), 1000)
		if err != nil || m.CacheValues != tt.cache || m.Quantization != tt.dtype || m.WeightBytes != 1000 {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
	for config, want := range map[string]string{
		`<html>`:                      "config.json: invalid character",
		`{"model_type":"clip"}`:       "does not say num_hidden_layers",
		`{"num_hidden_layers":-1}`:    "are not those of a model",
		`{"num_hidden_layers":1e300}`: "are not those of a model",
	} {
		if _, err := ReadConfig([]byte(config), 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", config, err, want)
		}
	}
	if n, err := ReadIndex([]byte(`{"metadata":{"total_size":16381470720}}`)); n != 16381470720 || err != nil {
		t.Errorf("the index says %d, %v", n, err)
	}
	if _, err := ReadIndex([]byte(`{}`)); !errors.Is(err, ErrUnknownSize) {
		t.Errorf("an empty index: %v", err)
	}
}

func TestInfoBelievesNoNonsense(t *testing.T) {
	for name, info := range map[string]Info{
		"empty":    {},
		"texts":    {"general.architecture": "x", "x.block_count": "many", "x.attention.head_count": map[string]any{}},
		"infinite": {"general.architecture": "x", "x.block_count": math.Inf(1), "x.attention.head_count": math.NaN()},
		"negative": {"general.architecture": "x", "x.block_count": -4.0, "x.attention.head_count": []any{-1.0, "x", nil}},
	} {
		if m := info.Model(); m.CacheValues != 0 || m.Layers != 0 {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

func FuzzReadGGUF(f *testing.F) {
	whole := llama().bytes()
	f.Add(whole)
	f.Add(whole[:100])
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ReadGGUF(bytes.NewReader(data))
		if err != nil {
			return
		}
		if err := m.Check(); err != nil {
			t.Fatalf("read what cannot be: %+v, %v", m, err)
		}
		need := m.Need(Load{Context: MaxContext, Parallel: MaxParallel})
		if need.Cache < 0 || need.Total() < need.Weights || m.BytesPerToken() < 0 || m.BytesPerToken() > m.WeightBytes {
			t.Fatalf("%+v needs %+v and reads %d", m, need, m.BytesPerToken())
		}
	})
}

func FuzzReadConfig(f *testing.F) {
	f.Add([]byte(`{"num_hidden_layers":2,"hidden_size":64,"num_attention_heads":4,"num_key_value_heads":2,"text_config":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, err := ReadConfig(data, 1<<30); err == nil && m.Check() != nil {
			t.Fatalf("read what cannot be: %+v, %v", m, m.Check())
		}
	})
}
