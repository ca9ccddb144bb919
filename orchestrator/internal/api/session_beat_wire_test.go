package api

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/orchion/orchion/orchestrator/internal/node"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// drawUsage draws what a node may say of itself, and now and then what it may not.
func drawUsage(t *rapid.T) *orchionv1.NodeUsage {
	percent := rapid.OneOf(rapid.Float64Range(0, 100), rapid.SampledFrom([]float64{0, 100.5, 102, -1, math.NaN(), math.Inf(1)}))
	count := rapid.OneOf(rapid.Int64Range(0, math.MaxInt64), rapid.SampledFrom([]int64{0, 1, -1, math.MinInt64}))
	u := &orchionv1.NodeUsage{
		CpuPercent: percent.Draw(t, "cpu"), MemoryUsedBytes: count.Draw(t, "memory"), DiskUsedBytes: count.Draw(t, "disk"),
		RunningJobs: rapid.Int32().Draw(t, "jobs"), MemoryUsedByOthersBytes: count.Draw(t, "others"),
	}
	if rapid.Bool().Draw(t, "usual") {
		u.CpuPercent, u.RunningJobs = 50, 3
		u.MemoryUsedBytes, u.DiskUsedBytes, u.MemoryUsedByOthersBytes = 1, 2, 3
	}
	uuid := rapid.OneOf(rapid.SampledFrom([]string{"", "GPU-0", "GPU-1", "\n", "ü"}), rapid.String())
	for range rapid.IntRange(0, 3).Draw(t, "GPUs") {
		u.Gpus = append(u.Gpus, &orchionv1.GpuUsage{
			Uuid: uuid.Draw(t, "uuid"), UtilizationPercent: rapid.SampledFrom([]float64{0, 50, 100}).Draw(t, "busy"),
			MemoryUsedBytes: rapid.Int64Range(0, 2).Draw(t, "used"),
		})
	}
	return u
}

// agrees holds what is read from an encoding at once against what is made of it the
// long way.
func agrees(t interface {
	Helper()
	Errorf(string, ...any)
}, raw []byte, last []node.GPUUsage) (read bool) {
	t.Helper()
	got, read := readHeartbeat(raw, last)
	if !read {
		return false
	}
	var m orchionv1.ConnectRequest
	if err := proto.Unmarshal(raw, &m); err != nil {
		t.Errorf("% x was read, and cannot be decoded: %v", raw, err)
		return true
	}
	want, err := usageFromProto("heartbeat", m.GetHeartbeat())
	if err != nil {
		t.Errorf("% x was read, and is wrong: %v", raw, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("% x was read otherwise than it is decoded (-want +got):\n%s", raw, diff)
	}
	return true
}

// TestHeartbeatsAreReadAsDecoded: whatever nodes say, reading it at once makes no
// difference, also where GPUs are as they were in part; and the usual is read.
func TestHeartbeatsAreReadAsDecoded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		last, _ := usageFromProto("", drawUsage(t))
		u := drawUsage(t)
		raw, err := proto.Marshal(beatOf(u))
		if err != nil {
			return // no UTF-8
		}
		if read := agrees(t, raw, last.GPUs); !read && u.GetCpuPercent() == 50 && len(u.GetGpus()) == 0 &&
			u.GetRunningJobs() == 3 && u.GetMemoryUsedBytes() == 1 && u.GetDiskUsedBytes() == 2 && u.GetMemoryUsedByOthersBytes() == 3 {
			t.Errorf("a usual heartbeat was not read: %v", u)
		}
		broken := rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(t, "instead")
		at := rapid.IntRange(0, len(raw)).Draw(t, "at")
		agrees(t, append(append(raw[:at:at], broken...), raw[min(len(raw), at+len(broken)):]...), last.GPUs)
	})
}

// A field of a newer node agent does not matter, and other messages are left alone.
func TestWhatIsNoHeartbeat(t *testing.T) {
	raw, err := proto.Marshal(beatOf(&orchionv1.NodeUsage{RunningJobs: 2}))
	if err != nil {
		t.Fatal(err)
	}
	newer := protowire.AppendVarint(protowire.AppendTag(nil, 999, protowire.VarintType), 7)
	newer = protowire.AppendTag(append(newer, raw[len(raw)-2:]...), 1000, protowire.Fixed64Type)
	newer = protowire.AppendFixed64(newer, 1)
	newer = protowire.AppendBytes(protowire.AppendTag(nil, fieldHeartbeat, protowire.BytesType), newer)
	if !agrees(t, newer, nil) {
		t.Error("a heartbeat with a new field was not read at once")
	}
	other, err := proto.Marshal(&orchionv1.ConnectRequest{Message: &orchionv1.ConnectRequest_RenewLeases{RenewLeases: &orchionv1.RenewLeases{Sequence: 7}}})
	if err != nil {
		t.Fatal(err)
	}
	var m nodeMessage
	half := len(other) / 2 // as it may come from the wire
	if err := newCodec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(other[:half]), mem.SliceBuffer(other[half:])}, &m); err != nil || m.beat {
		t.Fatalf("another message: %v, taken for a heartbeat: %v", err, m.beat)
	}
	if req, err := decodeConnectRequest(m.other); err != nil || req.GetRenewLeases().GetSequence() != 7 {
		t.Errorf("the message is %v, %v", req, err)
	}
	if _, err := decodeConnectRequest([]byte{0xff}); err == nil {
		t.Error("what is no message was decoded")
	}
}

// GPUs that are as they were are not kept twice.
func TestGPUsOfHeartbeatsAreShared(t *testing.T) {
	raw, err := proto.Marshal(beatOf(&orchionv1.NodeUsage{CpuPercent: 1, Gpus: []*orchionv1.GpuUsage{{Uuid: "GPU-0", UtilizationPercent: 50}, {Uuid: "GPU-1"}}}))
	if err != nil {
		t.Fatal(err)
	}
	first, _ := readHeartbeat(raw, nil)
	second, _ := readHeartbeat(raw, first.GPUs)
	if &first.GPUs[0] != &second.GPUs[0] {
		t.Error("the GPUs are there twice")
	}
	if n := testing.AllocsPerRun(100, func() { readHeartbeat(raw, first.GPUs) }); n != 0 {
		t.Errorf("reading it again allocates %v times", n)
	}
}

// BenchmarkReadHeartbeat is what each heartbeat costs before the registry hears of it.
func BenchmarkReadHeartbeat(b *testing.B) {
	raw, err := proto.Marshal(beatOf(&orchionv1.NodeUsage{
		CpuPercent: 12.5, MemoryUsedBytes: 8 << 30, RunningJobs: 1,
		Gpus: []*orchionv1.GpuUsage{{Uuid: "GPU-0", UtilizationPercent: 50, MemoryUsedBytes: 1 << 30}},
	}))
	if err != nil {
		b.Fatal(err)
	}
	c, data := newCodec(), mem.BufferSlice{mem.SliceBuffer(raw)}
	b.Run("at once", func(b *testing.B) {
		b.ReportAllocs()
		var m nodeMessage
		for b.Loop() {
			if err := c.Unmarshal(data, &m); err != nil || !m.beat {
				b.Fatal(err)
			}
		}
	})
	b.Run("decoded", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			req, err := decodeConnectRequest(raw)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := usageFromProto("heartbeat", req.GetHeartbeat()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
