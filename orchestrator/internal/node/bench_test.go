package node

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

const fleet = 10_000

func fleetRegistry(b *testing.B) (*Registry, []string) {
	b.Helper()
	r := NewRegistry(Config{HeartbeatTimeout: time.Hour})
	ids := make([]string, fleet)
	for i := range ids {
		ids[i] = fmt.Sprintf("node-%05d", i)
		text := strings.Clone // as from the wire
		_, _, err := r.Register(context.Background(), Registration{
			ID: ids[i], Hostname: ids[i], AgentVersion: text("v1.0.0"),
			Labels: map[string]string{text("room"): text("lab"), text("rack"): fmt.Sprint(i % 40)},
			Capabilities: Capabilities{
				OS: text("linux"), Arch: text("amd64"), Platform: text("debian 12"), Kernel: text("6.1.0"),
				GPUs:     []GPU{{Vendor: text("nvidia"), Model: text("RTX"), UUID: ids[i]}},
				Runtimes: []Runtime{{Name: text("podman"), Version: text("5")}},
			},
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	return r, ids
}

// BenchmarkHeartbeat beats round the fleet.
func BenchmarkHeartbeat(b *testing.B) {
	r, ids := fleetRegistry(b)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, err := r.Heartbeat(ids[i%fleet], "", Usage{CPUPercent: 12}); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// BenchmarkRegister tells how much memory a node takes, as bytes/node.
func BenchmarkRegister(b *testing.B) {
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		r, ids := fleetRegistry(b)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/fleet, "bytes/node")
		runtime.KeepAlive(r)
		runtime.KeepAlive(ids)
	}
}

// storedFleet answers a fleet as a store reads it: no text of it is there twice.
type storedFleet struct{ Store }

func (storedFleet) ListNodes(context.Context) ([]Known, error) {
	nodes := make([]Known, fleet)
	for i := range nodes {
		id := fmt.Sprintf("node-%05d", i)
		text := strings.Clone
		nodes[i] = Known{
			ID: id, Hostname: id + ".example", AgentVersion: text("v1.0.0"), Address: text("10.0.0.1"),
			AgentLabels: map[string]string{text("room"): text("lab"), text("rack"): fmt.Sprint(i % 40)},
			Capabilities: Capabilities{
				OS: text("linux"), Arch: text("amd64"), Platform: text("debian 12"), Kernel: text("6.1.0"),
				GPUs:     []GPU{{Vendor: text("nvidia"), Model: text("RTX"), DriverVersion: text("580"), UUID: "GPU-" + id}},
				Runtimes: []Runtime{{Name: text("podman"), Version: text("5"), Endpoint: text("unix:///run/podman.sock")}},
			},
		}
	}
	return nodes, nil
}

// A node that is only known takes no more than 1 kB: what a fleet says alike is
// kept once.
func TestKnownNodesAreSmall(t *testing.T) {
	const most = 1024
	r := NewRegistry(Config{Store: storedFleet{}})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	if err := r.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(r)
	if each := (after.HeapAlloc - before.HeapAlloc) / fleet; each > most {
		t.Errorf("a known node takes %d bytes, more than %d", each, most)
	} else {
		t.Logf("a known node takes %d bytes", each)
	}
}

// BenchmarkReapNobody is a look of the reaper at a fleet in which all live.
func BenchmarkReapNobody(b *testing.B) {
	r, _ := fleetRegistry(b)
	for b.Loop() {
		r.reap()
	}
}

// BenchmarkActive is a snapshot of the fleet, as the dispatcher takes it.
func BenchmarkActive(b *testing.B) {
	r, _ := fleetRegistry(b)
	b.ReportAllocs()
	for b.Loop() {
		if len(r.Active()) != fleet {
			b.Fatal("nodes are missing")
		}
	}
}
