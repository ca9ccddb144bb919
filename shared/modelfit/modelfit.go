// Package modelfit tells how much memory a model needs, from what its files say
// of it: the header of a GGUF file, or the config.json of a model on Hugging Face.
// Both programs use it; what it reads comes from outside and is bounded.
package modelfit

import (
	"errors"
	"fmt"
	"math"
)

// Model is what is known of a model, as far as its size depends on it. Numbers
// that are not known are 0.
type Model struct {
	// Source says where it is known from, for people.
	Source       string `json:"source"`
	Architecture string `json:"architecture,omitempty"`
	Quantization string `json:"quantization,omitempty"`
	Parameters   int64  `json:"parameters,omitempty"`
	// WeightBytes are read into memory as a whole.
	WeightBytes int64 `json:"weightBytes"`
	// ExpertBytes of them are experts, of which a token needs ExpertsUsed of
	// Experts.
	ExpertBytes int64 `json:"expertBytes,omitempty"`
	Experts     int64 `json:"experts,omitempty"`
	ExpertsUsed int64 `json:"expertsUsed,omitempty"`
	// CacheValues are what one token leaves in the cache, keys and values of all
	// layers together.
	CacheValues   int64 `json:"cacheValues,omitempty"`
	Layers        int64 `json:"layers,omitempty"`
	ContextLength int64 `json:"contextLength,omitempty"`
}

// Limits on what is believed of a model.
const (
	maxBytes   = 64 << 40
	maxContext = 1 << 28
	maxValues  = 1 << 32
	// MaxParallel bounds Load.Parallel.
	MaxParallel = 1024
	// MaxContext bounds Load.Context.
	MaxContext = 16 << 20
)

// ErrUnknownSize says that a model's files tell nothing of its size.
var ErrUnknownSize = errors.New("its files do not say how large it is")

// Check says whether the numbers can be of a model. What another machine says of
// a model goes through it.
func (m *Model) Check() error {
	if m.WeightBytes <= 0 {
		return ErrUnknownSize
	}
	for _, n := range []struct {
		name       string
		value, max int64
	}{
		{"parameters", m.Parameters, math.MaxInt64}, {"weightBytes", m.WeightBytes, maxBytes},
		{"expertBytes", m.ExpertBytes, m.WeightBytes}, {"experts", m.Experts, 1 << 16},
		{"expertsUsed", m.ExpertsUsed, max(m.Experts, 0)}, {"cacheValues", m.CacheValues, maxValues},
		{"layers", m.Layers, 1 << 16}, {"contextLength", m.ContextLength, maxContext},
	} {
		if n.value < 0 || n.value > n.max {
			return fmt.Errorf("%s is %d; it must be from 0 to %d", n.name, n.value, n.max)
		}
	}
	return nil
}

// Load is what a model is to be used for.
type Load struct {
	// Context is how many tokens a conversation may have.
	Context int64
	// Parallel is how many conversations there are at once.
	Parallel int64
}

// Need is how many bytes of memory a model takes.
type Need struct {
	Weights, Cache, Overhead int64
}

// Total is the sum.
func (n Need) Total() int64 { return n.Weights + n.Cache + n.Overhead }

const (
	// cacheValueBytes: engines keep the cache as 16-bit numbers unless they are
	// told otherwise.
	cacheValueBytes = 2
	// An engine needs some memory for itself and for what it computes with:
	// about a tenth, and never less than minOverhead.
	overheadShare = 10
	minOverhead   = 256 << 20
)

// Need is an estimate: layers that look at a part of the context only count as if
// they looked at all of it.
func (m *Model) Need(l Load) Need {
	n := Need{Weights: m.WeightBytes}
	// Check has bounded the factors; together they may still be too large.
	cache := float64(m.CacheValues) * cacheValueBytes * float64(l.Context) * float64(max(l.Parallel, 1))
	n.Cache = int64(min(cache, 1<<60))
	n.Overhead = max((n.Weights+n.Cache)/overheadShare, minOverhead)
	return n
}

// BytesPerToken is how much memory is read for each token that is made, at the
// beginning of a conversation. Nothing is faster than the memory.
func (m *Model) BytesPerToken() int64 {
	if m.Experts <= 0 || m.ExpertsUsed <= 0 {
		return m.WeightBytes
	}
	used := float64(m.ExpertBytes) * float64(m.ExpertsUsed) / float64(m.Experts)
	return m.WeightBytes - m.ExpertBytes + int64(used)
}
