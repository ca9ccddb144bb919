package api

import (
	"bytes"
	"math"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/node"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/streamconn"
)

// nodeMessage is a ConnectRequest as the server's codec gives it: heartbeats are
// read at once and without a message being made of them, since nearly all that
// thousands of nodes say is heartbeats, and since what a goroutine has once been
// deep in, its stack keeps. Everything else is left to be decoded elsewhere.
type nodeMessage struct {
	beat  bool
	usage node.Usage // of a heartbeat; the last one's
	other []byte     // the encoding of anything else
}

// codec is that of protocol buffers and of frames, and reads nodeMessages.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{streamconn.NewCodec()} }

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(*nodeMessage)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	var raw []byte
	if len(data) == 1 {
		raw = data[0].ReadOnlyData()
	} else {
		raw = data.Materialize()
	}
	m.other = nil
	usage, ok := readHeartbeat(raw, m.usage.GPUs)
	if m.beat = ok; ok {
		m.usage = usage
	} else {
		m.other = bytes.Clone(raw)
	}
	return nil
}

// decodeConnectRequest decodes what was left to be.
func decodeConnectRequest(raw []byte) (*orchionv1.ConnectRequest, error) {
	req := &orchionv1.ConnectRequest{}
	if err := proto.Unmarshal(raw, req); err != nil {
		return nil, fault.BadField("message", "cannot be decoded: %v", err)
	}
	return req, nil
}

// The numbers of the fields of a heartbeat.
const (
	fieldHeartbeat protowire.Number = 40 // of ConnectRequest

	fieldCPUPercent   protowire.Number = 1 // of NodeUsage
	fieldMemoryUsed   protowire.Number = 2
	fieldGPUs         protowire.Number = 3
	fieldRunningJobs  protowire.Number = 4
	fieldDiskUsed     protowire.Number = 5
	fieldMemoryOthers protowire.Number = 60

	fieldUUID          protowire.Number = 1 // of GpuUsage
	fieldUtilization   protowire.Number = 2
	fieldGPUMemoryUsed protowire.Number = 3
)

// readHeartbeat reads the encoding of a ConnectRequest that is a heartbeat as it
// should be. False: it is another message, or something is unusual about it, and
// usageFromProto is to say what is wrong, if anything is. gpus are those of the
// heartbeat before, which are answered where nothing about them has changed.
func readHeartbeat(raw []byte, gpus []node.GPUUsage) (node.Usage, bool) {
	number, kind, n := protowire.ConsumeTag(raw)
	if n < 0 || number != fieldHeartbeat || kind != protowire.BytesType {
		return node.Usage{}, false
	}
	body, m := protowire.ConsumeBytes(raw[n:])
	if m < 0 || n+m != len(raw) {
		return node.Usage{}, false
	}
	usage, list := node.Usage{}, gpuList{last: gpus}
	ok := eachField(body, func(f field) bool {
		switch f.number {
		case fieldCPUPercent:
			return f.percent(&usage.CPUPercent)
		case fieldMemoryUsed:
			return f.count(&usage.MemoryUsedBytes)
		case fieldGPUs:
			return f.kind == protowire.BytesType && list.read(f.bytes)
		case fieldRunningJobs:
			var jobs int64
			ok := f.count(&jobs) && jobs <= math.MaxInt32
			usage.RunningJobs = int(jobs)
			return ok
		case fieldDiskUsed:
			return f.count(&usage.DiskUsedBytes)
		case fieldMemoryOthers:
			return f.count(&usage.MemoryOthersBytes)
		}
		return true // a newer node agent's
	})
	usage.GPUs = list.all()
	return usage, ok
}

// field is one field of an encoded message.
type field struct {
	number protowire.Number
	kind   protowire.Type
	value  uint64 // of numbers
	bytes  []byte // of what has a length
}

// eachField calls f with the fields of an encoded message until it answers false,
// and says whether it never did and the encoding is right.
func eachField(message []byte, f func(field) bool) bool {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return false
		}
		message = message[n:]
		next := field{number: number, kind: kind}
		switch kind {
		case protowire.VarintType:
			next.value, n = protowire.ConsumeVarint(message)
		case protowire.Fixed64Type:
			next.value, n = protowire.ConsumeFixed64(message)
		case protowire.BytesType:
			next.bytes, n = protowire.ConsumeBytes(message)
		default:
			return false
		}
		if n < 0 || !f(next) {
			return false
		}
		message = message[n:]
	}
	return true
}

// count reads a number that must not be negative.
func (f field) count(to *int64) bool {
	*to = int64(f.value)
	return f.kind == protowire.VarintType && *to >= 0
}

// percent reads what checkPercent takes.
func (f field) percent(to *float64) bool {
	v := math.Float64frombits(f.value)
	*to = v
	return f.kind == protowire.Fixed64Type && v >= 0 && v <= 100
}

// gpuList collects the GPUs of a heartbeat. While they are as they were, it makes
// no new list.
type gpuList struct {
	last    []node.GPUUsage
	same    int // how many of last are so again
	changed []node.GPUUsage
}

// read takes one more GpuUsage.
func (l *gpuList) read(message []byte) bool {
	var uuid []byte
	var g node.GPUUsage
	ok := eachField(message, func(f field) bool {
		switch f.number {
		case fieldUUID:
			uuid = f.bytes
			return f.kind == protowire.BytesType && isPlain(uuid)
		case fieldUtilization:
			return f.percent(&g.UtilizationPercent)
		case fieldGPUMemoryUsed:
			return f.count(&g.MemoryUsedBytes)
		}
		return true
	})
	at := max(l.same, len(l.changed))
	if !ok || at >= maxGPUs {
		return false
	}
	if at < len(l.last) && l.last[at].UUID == string(uuid) {
		g.UUID = l.last[at].UUID
	} else {
		g.UUID = string(uuid)
	}
	switch {
	case l.changed != nil:
		l.changed = append(l.changed, g)
	case at < len(l.last) && l.last[at] == g:
		l.same++
	default:
		l.changed = append(append(make([]node.GPUUsage, 0, max(at+1, len(l.last))), l.last[:at]...), g)
	}
	return true
}

// all answers what was read; nil: no GPUs.
func (l *gpuList) all() []node.GPUUsage {
	switch {
	case l.changed != nil:
		return l.changed
	case l.same == 0:
		return nil
	}
	return l.last[:l.same:l.same]
}

// isPlain says of text that it is what checkText takes without a doubt.
func isPlain(text []byte) bool {
	for _, c := range text {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return len(text) <= maxText
}
