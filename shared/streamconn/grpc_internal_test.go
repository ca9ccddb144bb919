package streamconn

import (
	"bytes"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// What the codec writes of a frame is what protocol buffers write of the message,
// and it reads back however gRPC has divided it.
func TestCodecAgreesWithProtocolBuffers(t *testing.T) {
	for _, size := range []int{0, 1, 127, 128, 1020, 1021, 1030, 16<<10 - 1, MaxFrame, BulkFrame} {
		data := bytes.Repeat([]byte{7}, size)
		want, err := proto.Marshal(&orchionv1.ServeRequest{Data: data})
		if err != nil {
			t.Fatal(err)
		}
		wrote, err := NewCodec().Marshal(&frame{data: data})
		if err != nil || !bytes.Equal(wrote.Materialize(), want) {
			t.Fatalf("of %d bytes the codec wrote others than protocol buffers, %v", size, err)
		}
		wrote.Free()
		for _, cut := range []int{0, min(1, len(want)), len(want) / 2} {
			f := frame{data: []byte("of the last message")}
			parts := mem.BufferSlice{mem.Copy(want[:cut], mem.DefaultBufferPool()), mem.Copy(want[cut:], mem.DefaultBufferPool())}
			if err := NewCodec().Unmarshal(parts, &f); err != nil || !bytes.Equal(f.data, data) {
				t.Fatalf("%d bytes in two pieces, the first of %d: read %d, %v", size, cut, len(f.data), err)
			}
			parts.Free()
			if !bytes.Equal(f.data, data) {
				t.Fatalf("%d bytes did not outlive gRPC's buffers", size)
			}
			f.release()
		}
	}
}

func TestCodecReadsUnusualMessages(t *testing.T) {
	field := func(number protowire.Number, content string) []byte {
		return protowire.AppendString(protowire.AppendTag(nil, number, protowire.BytesType), content)
	}
	cases := map[string]struct {
		raw  []byte
		want string
		bad  bool
	}{
		"an unknown field before it": {raw: append(field(9, "x"), field(1, "data")...), want: "data"},
		"an unknown field behind it": {raw: append(field(1, "data"), protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), 3)...), want: "data"},
		"twice, and the last counts": {raw: append(field(1, "first"), field(1, "last")...), want: "last"},
		"only an unknown field":      {raw: field(9, "x")},
		"empty, and said":            {raw: field(1, "")},
		"cut":                        {raw: field(1, "data")[:3], bad: true},
		"a length without end":       {raw: []byte{tag, 0xff, 0xff}, bad: true},
		"no field 0":                 {raw: []byte{2, 0}, bad: true},
		"another type":               {raw: protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 3)},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f := frame{data: []byte("of the last message")}
			err := NewCodec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(c.raw)}, &f)
			if (err != nil) != c.bad || (!c.bad && string(f.data) != c.want) {
				t.Errorf("read %q, %v; want %q", f.data, err, c.want)
			}
		})
	}
}

// A frame costs what gRPC needs for it, and no message.
func TestFramesAreNotMessages(t *testing.T) {
	codec, out, in := NewCodec(), frame{data: make([]byte, MaxFrame)}, frame{}
	allocations := testing.AllocsPerRun(100, func() {
		data, err := codec.Marshal(&out)
		if err != nil || codec.Unmarshal(data, &in) != nil || len(in.data) != MaxFrame {
			t.Fatalf("a frame came back as %d bytes, %v", len(in.data), err)
		}
		data.Free()
		in.release()
	})
	if allocations > 3 {
		t.Errorf("%.0f allocations, want 3 at most", allocations)
	}
}

// Whatever comes, the codec reads of it what protocol buffers do.
func FuzzCodec(f *testing.F) {
	for _, raw := range [][]byte{nil, {tag, 1, 7}, {tag, 0}, {0x12, 1, 7, tag, 1, 8}, {tag, 2, 7}, {0x0b, 0x0c}, {0x08, 1}} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var want orchionv1.ServeRequest
		wantErr := proto.Unmarshal(raw, &want)
		var got frame
		err := NewCodec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(raw)}, &got)
		if (err != nil) != (wantErr != nil) || (err == nil && !bytes.Equal(got.data, want.GetData())) {
			t.Errorf("read %q, %v of %x; protocol buffers %q, %v", got.data, err, raw, want.GetData(), wantErr)
		}
	})
}
