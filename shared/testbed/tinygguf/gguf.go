package tinygguf

import (
	"bytes"
	"encoding/binary"
	"math"
)

// GGUF value types and tensor types, as in ggml's gguf.h.
const (
	typeUint32, typeInt32, typeFloat32, typeBool, typeString, typeArray = 4, 5, 6, 7, 8, 9

	tensorF32, tensorF16 = 0, 1

	fileF16   = 1 // general.file_type: mostly F16
	version   = 3
	alignment = 32
)

// gguf collects a file's metadata, tensor descriptions and tensor data.
type gguf struct {
	meta, infos, data bytes.Buffer
	nMeta, nTensors   uint64
}

func (g *gguf) bytes() []byte {
	var b bytes.Buffer
	b.WriteString("GGUF")
	put(&b, uint32(version), g.nTensors, g.nMeta)
	b.Write(g.meta.Bytes())
	b.Write(g.infos.Bytes())
	pad(&b)
	b.Write(g.data.Bytes())
	return b.Bytes()
}

func (g *gguf) key(name string, types ...uint32) {
	g.nMeta++
	putText(&g.meta, name)
	put(&g.meta, types)
}

func (g *gguf) uint32(key string, v uint32) {
	g.key(key, typeUint32)
	put(&g.meta, v)
}

func (g *gguf) float32(key string, v float32) {
	g.key(key, typeFloat32)
	put(&g.meta, v)
}

func (g *gguf) bool(key string, v bool) {
	g.key(key, typeBool)
	put(&g.meta, v)
}

func (g *gguf) text(key, v string) {
	g.key(key, typeString)
	putText(&g.meta, v)
}

func (g *gguf) int32s(key string, v []int32) {
	g.key(key, typeArray, typeInt32)
	put(&g.meta, uint64(len(v)), v)
}

func (g *gguf) texts(key string, v []string) {
	g.key(key, typeArray, typeString)
	put(&g.meta, uint64(len(v)))
	for _, s := range v {
		putText(&g.meta, s)
	}
}

// tensor adds a tensor of the given shape, fastest dimension first: matrices in
// half precision, vectors (the norms) in single, as llama.cpp wants them.
func (g *gguf) tensor(name string, at func(i int) float32, shape ...int) {
	g.nTensors++
	putText(&g.infos, name)
	put(&g.infos, uint32(len(shape)))
	n := 1
	for _, d := range shape {
		put(&g.infos, uint64(d))
		n *= d
	}
	if len(shape) == 1 {
		put(&g.infos, uint32(tensorF32), uint64(g.data.Len()))
		values := make([]float32, n)
		for i := range values {
			values[i] = at(i)
		}
		put(&g.data, values)
	} else {
		put(&g.infos, uint32(tensorF16), uint64(g.data.Len()))
		values := make([]uint16, n)
		for i := range values {
			values[i] = half(at(i))
		}
		put(&g.data, values)
	}
	pad(&g.data)
}

// half rounds f towards zero to a half-precision float; what is too small for a
// normal one becomes 0.
func half(f float32) uint16 {
	b := math.Float32bits(f)
	exp := int(b>>23&0xff) - 127 + 15
	if exp <= 0 {
		return 0
	}
	return uint16(b>>16&0x8000) | uint16(exp)<<10 | uint16(b>>13&0x3ff)
}

func putText(b *bytes.Buffer, s string) {
	put(b, uint64(len(s)))
	b.WriteString(s)
}

func put(b *bytes.Buffer, values ...any) {
	for _, v := range values {
		// Fixed-size values into a bytes.Buffer: it cannot fail.
		_ = binary.Write(b, binary.LittleEndian, v)
	}
}

func pad(b *bytes.Buffer) {
	b.Write(make([]byte, (alignment-b.Len()%alignment)%alignment))
}
