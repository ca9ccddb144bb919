package streamconn

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"

	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// Messages is a bidirectional stream of gRPC, at either end, whose codec is that of
// [NewCodec].
type Messages interface {
	Context() context.Context
	SendMsg(m any) error
	RecvMsg(m any) error
}

// OverGRPC makes a stream of frames of one whose messages have a single field, 1,
// of bytes. Frames are read where gRPC has put them, and copied once on their way
// out.
func OverGRPC(m Messages) Stream { return &grpcStream{messages: m} }

type grpcStream struct {
	messages Messages
	out      frame // its user sends one at a time
	in       frame // and receives one at a time
}

func (s *grpcStream) Context() context.Context { return s.messages.Context() }

func (s *grpcStream) Send(data []byte) error {
	s.out.data = data
	err := s.messages.SendMsg(&s.out)
	s.out.data = nil
	return err
}

func (s *grpcStream) Recv() ([]byte, error) {
	s.in.release()
	if err := s.messages.RecvMsg(&s.in); err != nil {
		return nil, err
	}
	return s.in.data, nil
}

func (s *grpcStream) Release() { s.in.release() }

// frame is a message as [NewCodec] reads and writes it.
type frame struct {
	data []byte
	held mem.Buffer // what data is a part of; nil: nothing that is given back
}

func (f *frame) release() {
	if f.held != nil {
		f.held.Free()
	}
	f.data, f.held = nil, nil
}

// codec is that of protocol buffers, and knows frames.
type codec struct{ encoding.CodecV2 }

// NewCodec gives the codec of protocol buffers, which does not make messages of
// frames.
func NewCodec() encoding.CodecV2 { return codec{encoding.GetCodecV2(protocodec.Name)} }

// tag begins a message with the field 1 of bytes.
const tag = byte(1<<3 | protowire.BytesType)

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	f, ok := v.(*frame)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	if len(f.data) == 0 {
		return nil, nil
	}
	var head [1 + binary.MaxVarintLen32]byte
	head[0] = tag
	n := 1 + binary.PutUvarint(head[1:], uint64(len(f.data)))
	size := n + len(f.data)
	if mem.IsBelowBufferPoolingThreshold(size) {
		return mem.BufferSlice{mem.SliceBuffer(append(append(make([]byte, 0, size), head[:n]...), f.data...))}, nil
	}
	pool := mem.DefaultBufferPool()
	buf := pool.Get(size)
	copy((*buf)[copy(*buf, head[:n]):], f.data)
	return mem.BufferSlice{mem.NewBuffer(buf, pool)}, nil
}

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(*frame)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	f.release()
	if data.Len() == 0 {
		return nil
	}
	held := data.MaterializeToBuffer(mem.DefaultBufferPool()) // of one buffer it is that one
	raw := held.ReadOnlyData()
	if raw[0] == tag {
		if content, n := protowire.ConsumeBytes(raw[1:]); n == len(raw)-1 {
			f.data, f.held = content, held
			return nil
		}
	}
	defer held.Free()
	return f.parse(raw)
}

// parse reads a message that is written in another way than ours: with fields that
// are not known, or one of them twice.
func (f *frame) parse(raw []byte) error {
	for len(raw) > 0 {
		number, kind, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return fmt.Errorf("read a frame: %w", protowire.ParseError(n))
		}
		if number > protowire.MaxValidNumber {
			return fmt.Errorf("read a frame: it has a field %d", number)
		}
		size := protowire.ConsumeFieldValue(number, kind, raw[n:])
		if size < 0 {
			return fmt.Errorf("read a frame: %w", protowire.ParseError(size))
		}
		if number == 1 && kind == protowire.BytesType {
			content, _ := protowire.ConsumeBytes(raw[n:])
			f.data = bytes.Clone(content)
		}
		raw = raw[n+size:]
	}
	return nil
}
