package modelfit

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// Limits on a GGUF header. Real ones have some 40 entries, of which the
// vocabulary is the largest with up to 20 MB, and some 1,000 tensors.
const (
	// MaxGGUFHeader is the most that is read.
	MaxGGUFHeader   = 64 << 20
	maxGGUFEntries  = 1 << 16
	maxGGUFTensors  = 1 << 17
	maxGGUFName     = 1 << 16
	maxGGUFNesting  = 2
	maxGGUFKept     = 1 << 12 // elements of an array of numbers
	maxTensorDims   = 8
	maxGGUFTensorEl = 1 << 44
)

// The types of values of GGUF (docs/gguf.md of ggml).
const (
	ggufUint8 = iota
	ggufInt8
	ggufUint16
	ggufInt16
	ggufUint32
	ggufInt32
	ggufFloat32
	ggufBool
	ggufString
	ggufArray
	ggufUint64
	ggufInt64
	ggufFloat64
)

// ReadGGUF reads the header of a GGUF file of version 2 or 3, and no further.
func ReadGGUF(r io.Reader) (*Model, error) {
	limited := &io.LimitedReader{R: r, N: MaxGGUFHeader}
	g := ggufReader{r: bufio.NewReaderSize(limited, 32<<10)}
	m, err := g.read()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if errors.Is(err, io.ErrUnexpectedEOF) && limited.N <= 0 {
		return nil, fmt.Errorf("GGUF header: is larger than %d bytes", MaxGGUFHeader)
	}
	if err != nil {
		return nil, fmt.Errorf("GGUF header: %w", err)
	}
	return m, nil
}

type ggufReader struct{ r *bufio.Reader }

func (g *ggufReader) uint32() (uint32, error) {
	var b [4]byte
	_, err := io.ReadFull(g.r, b[:])
	return binary.LittleEndian.Uint32(b[:]), err
}

func (g *ggufReader) uint64() (uint64, error) {
	var b [8]byte
	_, err := io.ReadFull(g.r, b[:])
	return binary.LittleEndian.Uint64(b[:]), err
}

// count reads a number of things of which there may be so many.
func (g *ggufReader) count(what string, most uint64) (uint64, error) {
	n, err := g.uint64()
	if err == nil && n > most {
		err = fmt.Errorf("has %d %s; at most %d are allowed", n, what, most)
	}
	return n, err
}

func (g *ggufReader) skip(n uint64) error {
	if n > MaxGGUFHeader {
		return io.ErrUnexpectedEOF
	}
	_, err := g.r.Discard(int(n))
	return err
}

func (g *ggufReader) text() (string, error) {
	n, err := g.count("characters in a name", maxGGUFName)
	if err != nil {
		return "", err
	}
	b := make([]byte, n)
	_, err = io.ReadFull(g.r, b)
	return string(b), err
}

func (g *ggufReader) read() (*Model, error) {
	magic, err := g.uint32()
	if err != nil {
		return nil, err
	}
	if magic != 0x46554747 { // "GGUF"
		return nil, errors.New("is none: it does not begin with GGUF")
	}
	version, err := g.uint32()
	if err != nil {
		return nil, err
	}
	if version != 2 && version != 3 {
		return nil, fmt.Errorf("has version %d; 2 and 3 are known", version)
	}
	tensors, err := g.count("tensors", maxGGUFTensors)
	if err != nil {
		return nil, err
	}
	entries, err := g.count("entries", maxGGUFEntries)
	if err != nil {
		return nil, err
	}
	info := Info{}
	for range entries {
		key, err := g.text()
		if err != nil {
			return nil, err
		}
		kind, err := g.uint32()
		if err != nil {
			return nil, err
		}
		value, err := g.value(kind, 0)
		if err != nil {
			return nil, fmt.Errorf("entry %.100q: %w", key, err)
		}
		if value != nil {
			info[key] = value
		}
	}
	m := info.Model()
	if err := g.tensors(m, tensors); err != nil {
		return nil, err
	}
	return m, m.Check()
}

// value reads a value. Of texts in arrays, and of long arrays, nothing is kept.
func (g *ggufReader) value(kind uint32, nesting int) (any, error) {
	switch kind {
	case ggufString:
		n, err := g.count("characters", MaxGGUFHeader)
		if err != nil {
			return nil, err
		}
		if n > maxGGUFName { // a template
			return nil, g.skip(n)
		}
		b := make([]byte, n)
		_, err = io.ReadFull(g.r, b)
		return string(b), err
	case ggufArray:
		return g.array(nesting)
	}
	size := ggufSize(kind)
	if size == 0 {
		return nil, fmt.Errorf("has the unknown type %d", kind)
	}
	var b [8]byte
	if _, err := io.ReadFull(g.r, b[:size]); err != nil {
		return nil, err
	}
	return ggufNumber(kind, b), nil
}

func (g *ggufReader) array(nesting int) (any, error) {
	if nesting >= maxGGUFNesting {
		return nil, fmt.Errorf("has arrays in more than %d others", maxGGUFNesting)
	}
	kind, err := g.uint32()
	if err != nil {
		return nil, err
	}
	n, err := g.count("elements", MaxGGUFHeader)
	if err != nil {
		return nil, err
	}
	if size := ggufSize(kind); size > 0 && n > maxGGUFKept {
		return nil, g.skip(n * uint64(size))
	}
	var kept []any
	for range n {
		if kind == ggufString {
			length, err := g.uint64()
			if err == nil {
				err = g.skip(length)
			}
			if err != nil {
				return nil, err
			}
			continue
		}
		value, err := g.value(kind, nesting+1)
		if err != nil {
			return nil, err
		}
		if kind != ggufArray {
			kept = append(kept, value)
		}
	}
	if kept == nil {
		return nil, nil //nolint:nilnil // read, and nothing kept of it
	}
	return kept, nil
}

func ggufSize(kind uint32) int {
	switch kind {
	case ggufUint8, ggufInt8, ggufBool:
		return 1
	case ggufUint16, ggufInt16:
		return 2
	case ggufUint32, ggufInt32, ggufFloat32:
		return 4
	case ggufUint64, ggufInt64, ggufFloat64:
		return 8
	}
	return 0
}

func ggufNumber(kind uint32, b [8]byte) any {
	n := binary.LittleEndian.Uint64(b[:])
	switch kind {
	case ggufInt8:
		return float64(int8(n))
	case ggufInt16:
		return float64(int16(n))
	case ggufInt32:
		return float64(int32(n))
	case ggufInt64:
		return float64(int64(n))
	case ggufFloat32:
		return float64(math.Float32frombits(uint32(n)))
	case ggufFloat64:
		return math.Float64frombits(n)
	}
	return float64(n)
}

// tensors adds up what the tensors say of their sizes.
func (g *ggufReader) tensors(m *Model, count uint64) error {
	var elements, bytes, experts float64
	for i := range count {
		name, err := g.text()
		if err != nil {
			return err
		}
		dims, err := g.uint32()
		if err != nil {
			return err
		}
		if dims > maxTensorDims {
			return fmt.Errorf("tensor %d has %d dimensions; at most %d are allowed", i, dims, maxTensorDims)
		}
		size := float64(1)
		for range dims {
			n, err := g.uint64()
			if err != nil {
				return err
			}
			size *= float64(n)
		}
		if size > maxGGUFTensorEl {
			return fmt.Errorf("tensor %d has %g elements; at most %d are allowed", i, size, int64(maxGGUFTensorEl))
		}
		kind, err := g.uint32()
		if err != nil {
			return err
		}
		if err := g.skip(8); err != nil { // where it is in the file
			return err
		}
		per, known := ggmlBytes(kind)
		if !known {
			return fmt.Errorf("tensor %d has the unknown type %d", i, kind)
		}
		elements += size
		bytes += size * per
		if strings.Contains(name, "_exps.") {
			experts += size * per
		}
	}
	if bytes > maxBytes {
		return fmt.Errorf("its tensors have %g bytes; at most %d are believed", bytes, int64(maxBytes))
	}
	m.Parameters, m.WeightBytes, m.ExpertBytes = int64(elements), int64(bytes), int64(experts)
	return nil
}

// ggmlBytes is how many bytes an element takes, by ggml's types (ggml.h and
// ggml-common.h): bytes of a block by elements of a block.
func ggmlBytes(kind uint32) (float64, bool) {
	block := map[uint32][2]float64{
		0: {4, 1}, 1: {2, 1}, 2: {18, 32}, 3: {20, 32}, 6: {22, 32}, 7: {24, 32}, 8: {34, 32}, 9: {36, 32},
		10: {84, 256}, 11: {110, 256}, 12: {144, 256}, 13: {176, 256}, 14: {210, 256}, 15: {292, 256},
		16: {66, 256}, 17: {74, 256}, 18: {98, 256}, 19: {50, 256}, 20: {18, 32}, 21: {110, 256}, 22: {82, 256}, 23: {136, 256},
		24: {1, 1}, 25: {2, 1}, 26: {4, 1}, 27: {8, 1}, 28: {8, 1}, 29: {56, 256}, 30: {2, 1},
		34: {54, 256}, 35: {66, 256}, 39: {17, 32},
	}
	b, ok := block[kind]
	if !ok {
		return 0, false
	}
	return b[0] / b[1], true
}
