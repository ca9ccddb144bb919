package modelfit

import (
	"math"
	"strconv"
)

// Info is the metadata of a GGUF file by its keys, as its header and Ollama's
// /api/show give it: numbers are float64.
type Info map[string]any

// Model reads what says how large the cache is. Weights are not in it.
func (i Info) Model() *Model {
	arch, _ := i["general.architecture"].(string)
	m := &Model{
		Architecture:  clip(arch),
		Quantization:  fileType(i["general.file_type"]),
		Parameters:    whole(i["general.parameter_count"], math.MaxInt64/2),
		Layers:        whole(i[arch+".block_count"], 1<<16),
		ContextLength: whole(i[arch+".context_length"], maxContext),
		Experts:       whole(i[arch+".expert_count"], 1<<16),
	}
	m.ExpertsUsed = min(whole(i[arch+".expert_used_count"], 1<<16), m.Experts)
	embedding := whole(i[arch+".embedding_length"], 1<<24)
	heads := i[arch+".attention.head_count"]
	queries := perLayer(heads, m.Layers)
	kv := i[arch+".attention.head_count_kv"]
	if kv == nil {
		kv = heads
	}
	var all float64 // heads of keys and values, of all layers
	for _, n := range perLayer(kv, m.Layers) {
		all += n
	}
	var most float64
	for _, n := range queries {
		most = max(most, n)
	}
	ordinary := 0.0
	if most > 0 {
		ordinary = math.Floor(float64(embedding) / most)
	}
	key, value := ordinary, ordinary
	if n := whole(i[arch+".attention.key_length"], 1<<20); n > 0 {
		key = float64(n)
	}
	if n := whole(i[arch+".attention.value_length"], 1<<20); n > 0 {
		value = float64(n)
	}
	m.CacheValues = int64(min(all*(key+value), maxValues))
	return m
}

// perLayer is a number for each layer: one for all, or a list.
func perLayer(v any, layers int64) []float64 {
	var list []float64
	if each, ok := v.([]any); ok {
		for _, n := range each {
			list = append(list, float64(whole(n, 1<<16)))
			if int64(len(list)) == layers {
				break
			}
		}
		return list
	}
	n := float64(whole(v, 1<<16))
	for range layers {
		list = append(list, n)
	}
	return list
}

// whole reads a number from 0 to most; 0 when it is another.
func whole(v any, most float64) int64 {
	n, ok := v.(float64)
	if !ok || !(n >= 0 && n <= most) {
		return 0
	}
	return int64(n)
}

// clip keeps a word from outside short.
func clip(text string) string { return text[:min(len(text), 64)] }

// fileTypes are llama.cpp's names of what most tensors of a file are (llama_ftype
// of llama.h).
var fileTypes = map[int64]string{
	0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L",
	14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS",
	23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16",
	36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4",
}

func fileType(v any) string {
	if v == nil {
		return ""
	}
	n := whole(v, 1<<16)
	if name, ok := fileTypes[n]; ok {
		return name
	}
	return "type " + strconv.FormatInt(n, 10)
}
