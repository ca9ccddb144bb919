package dispatch

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/node"
	"github.com/orchion/orchion/orchestrator/internal/store/memory"
	"github.com/orchion/orchion/orchestrator/internal/store/sqlite"
)

// BenchmarkLifecycles is how many jobs per second go from submitting to being
// acknowledged: with a store that costs nothing, which shows the dispatcher's
// own share, and with the durable one.
func BenchmarkLifecycles(b *testing.B) {
	for _, nodes := range []int{10, 1000, 10_000} {
		b.Run(fmt.Sprintf("memory/nodes=%d", nodes), func(b *testing.B) { benchmarkLifecycles(b, memory.New(), nodes) })
	}
	b.Run("sqlite/nodes=10", func(b *testing.B) {
		db, err := sqlite.Open(b.Context(), sqlite.Config{Dir: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		benchmarkLifecycles(b, db, 10)
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
	})
}

func benchmarkLifecycles(b *testing.B, store Store, nodes int) {
	b.Helper()
	hub := NewHub()
	d, err := New(Config{Store: store, Hub: hub})
	if err != nil {
		b.Fatal(err)
	}
	if err := d.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	var done atomic.Int64
	finished := make(chan struct{})
	var workers sync.WaitGroup
	for i := range nodes {
		n := &node.Node{ID: fmt.Sprintf("node-%05d", i), State: node.Online, Capabilities: node.Capabilities{
			CPU: node.CPU{LogicalCores: 32}, MemoryBytes: 64 * gib, Runtimes: []node.Runtime{{Name: "docker"}},
		}}
		d.NodeChanged(nil, n)
		s := hub.Attach(n.ID)
		s.Open(AssignmentSet{})
		workers.Go(func() {
			for {
				m, err := s.Next(context.Background())
				if err != nil {
					return
				}
				switch m := m.(type) {
				case JobAssignment:
					for _, state := range []job.AttemptState{job.AttemptRunning, job.AttemptSucceeded} {
						if err := d.AttemptStatus(context.Background(), n.ID, AttemptStatus{Ref: m.Ref, State: state}); err != nil {
							return
						}
					}
				case AttemptAcknowledged:
					if done.Add(1) == int64(b.N) {
						close(finished)
					}
				}
			}
		})
	}
	b.ReportAllocs()
	b.ResetTimer()
	start := time.Now()
	var submitters sync.WaitGroup
	var next atomic.Int64
	for range 64 {
		submitters.Go(func() {
			for next.Add(1) <= int64(b.N) {
				j := job.Job{Spec: job.Spec{Container: &job.Container{Image: "x"}, Resources: job.Resources{CPUMillis: 100}}}
				if _, err := d.Submit(context.Background(), j); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	submitters.Wait()
	<-finished
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "jobs/s")
	b.StopTimer()
	hub.Close()
	d.Stop()
	workers.Wait()
}

// BenchmarkQueueMemory is what a queued job costs in memory beside the store.
func BenchmarkQueueMemory(b *testing.B) {
	const jobs = 100_000
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for b.Loop() {
		before := heap()
		q := newQueue()
		now := time.Now()
		for i := range jobs {
			q.add(&job.Job{
				ID: fmt.Sprintf("0193a1b2-c3d4-7e5f-8a9b-%012d", i), CreatedAt: now,
				Spec: job.Spec{Container: &job.Container{Image: "x"}, Priority: i % 3},
			}, now)
		}
		b.ReportMetric(float64(heap()-before)/jobs, "B/job")
		runtime.KeepAlive(q)
	}
}
