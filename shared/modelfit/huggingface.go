package modelfit

import (
	"encoding/json"
	"errors"
	"fmt"
)

// MaxConfig is the largest config.json or index that is read.
const MaxConfig = 32 << 20

// hfConfig is what counts of a config.json of transformers. Models that see
// keep what is about text in a part of its own.
type hfConfig struct {
	Architectures []string  `json:"architectures"`
	ModelType     string    `json:"model_type"`
	Layers        float64   `json:"num_hidden_layers"`
	Hidden        float64   `json:"hidden_size"`
	Heads         float64   `json:"num_attention_heads"`
	KVHeads       *float64  `json:"num_key_value_heads"`
	HeadDim       *float64  `json:"head_dim"`
	Context       float64   `json:"max_position_embeddings"`
	DType         string    `json:"torch_dtype"`
	DType5        string    `json:"dtype"`
	Text          *hfConfig `json:"text_config"`
	Quantization  *struct {
		Method string `json:"quant_method"`
	} `json:"quantization_config"`
	// DeepSeek's compressed attention keeps this instead of heads.
	LoRARank float64 `json:"kv_lora_rank"`
	RopeDim  float64 `json:"qk_rope_head_dim"`
}

// ReadConfig reads a config.json; weightBytes are those of the model's files.
func ReadConfig(data []byte, weightBytes int64) (*Model, error) {
	if len(data) > MaxConfig {
		return nil, fmt.Errorf("config.json: is larger than %d bytes", MaxConfig)
	}
	var whole hfConfig
	if err := json.Unmarshal(data, &whole); err != nil {
		return nil, fmt.Errorf("config.json: %w", err)
	}
	c := &whole
	if c.Layers == 0 && c.Text != nil {
		c = c.Text
	}
	within := func(n, most float64) bool { return n >= 0 && n <= most }
	if !within(c.Layers, 1<<16) || !within(c.Hidden, 1<<24) || !within(c.Heads, 1<<16) || !within(c.Context, maxContext) ||
		!within(c.LoRARank, 1<<20) || !within(c.RopeDim, 1<<20) {
		return nil, errors.New("config.json: its numbers are not those of a model")
	}
	kv := c.Heads
	if c.KVHeads != nil && within(*c.KVHeads, 1<<16) {
		kv = *c.KVHeads
	}
	dim := 0.0
	if c.Heads > 0 {
		dim = float64(int64(c.Hidden / c.Heads))
	}
	if c.HeadDim != nil && within(*c.HeadDim, 1<<20) && *c.HeadDim > 0 {
		dim = *c.HeadDim
	}
	values := c.Layers * kv * dim * 2
	if c.LoRARank > 0 {
		values = c.Layers * (c.LoRARank + c.RopeDim)
	}
	m := &Model{
		Architecture: clip(whole.ModelType), WeightBytes: weightBytes, Layers: int64(c.Layers), ContextLength: int64(c.Context),
		CacheValues: int64(min(values, maxValues)),
	}
	for _, name := range []string{c.DType, c.DType5, whole.DType, whole.DType5} {
		if name != "" {
			m.Quantization = clip(name)
		}
	}
	if q := whole.Quantization; q != nil && q.Method != "" {
		m.Quantization = clip(q.Method)
	}
	if m.Layers == 0 {
		return nil, errors.New("config.json: does not say num_hidden_layers; it is not that of a language model")
	}
	return m, m.Check()
}

// ReadIndex reads how many bytes the weights have from a
// model.safetensors.index.json.
func ReadIndex(data []byte) (int64, error) {
	var index struct {
		Metadata struct {
			TotalSize float64 `json:"total_size"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(data, &index); err != nil {
		return 0, fmt.Errorf("model.safetensors.index.json: %w", err)
	}
	if n := index.Metadata.TotalSize; n > 0 && n <= maxBytes {
		return int64(n), nil
	}
	return 0, fmt.Errorf("model.safetensors.index.json: %w", ErrUnknownSize)
}
