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
	"github.com/orchion/orchion/orchestrator/internal/scheduler"
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
	var sessions []*Session
	for i := range nodes {
		n := &node.Node{ID: fmt.Sprintf("node-%05d", i), State: node.Online, Capabilities: node.Capabilities{
			CPU: node.CPU{LogicalCores: 32}, MemoryBytes: 64 * gib, Runtimes: []node.Runtime{{Name: "docker"}},
		}}
		d.NodeChanged(nil, n)
		s := hub.Attach(n.ID)
		sessions = append(sessions, s)
		s.Deliver(func(m Message) error {
			switch m := m.(type) {
			case JobAssignment:
				for _, state := range []job.AttemptState{job.AttemptRunning, job.AttemptSucceeded} {
					if err := d.AttemptStatus(context.Background(), n.ID, AttemptStatus{Ref: m.Ref, State: state}); err != nil {
						return err
					}
				}
			case AttemptAcknowledged:
				if done.Add(1) == int64(b.N) {
					close(finished)
				}
			}
			return nil
		}, func(error) {})
		s.Open(AssignmentSet{})
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
	for _, s := range sessions {
		s.Wait()
	}
}

// bytesPerQueuedJob is what each of so many queued jobs costs in memory beside the
// store.
func bytesPerQueuedJob(jobs int) float64 {
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	q := newQueue()
	now := time.Now()
	for i := range jobs {
		q.add(&job.Job{
			ID: fmt.Sprintf("0193a1b2-c3d4-7e5f-8a9b-%012d", i), CreatedAt: now,
			Spec: job.Spec{Container: &job.Container{Image: "x"}, Priority: i % 3},
		}, now)
	}
	each := float64(heap()-before) / float64(jobs)
	runtime.KeepAlive(q)
	return each
}

// TestQueuedJobsAreSmall: a million of them may wait.
func TestQueuedJobsAreSmall(t *testing.T) {
	const most = 256
	if each := bytesPerQueuedJob(20_000); each > most {
		t.Errorf("a queued job takes %.0f bytes, more than %d", each, most)
	} else {
		t.Logf("a queued job takes %.0f bytes", each)
	}
}

// BenchmarkQueueMemory reports bytesPerQueuedJob.
func BenchmarkQueueMemory(b *testing.B) {
	for b.Loop() {
		b.ReportMetric(bytesPerQueuedJob(100_000), "B/job")
	}
}

// BenchmarkPlacement is what the queue takes to find whose turn it is, with a
// million jobs in it, when one job ends, one is placed for it and one comes.
// The cluster is full: but for the class of what ended no class has room, and
// that one only until the slot is taken again.
func BenchmarkPlacement(b *testing.B) {
	const jobs = 1_000_000
	for _, shape := range []struct{ lanes, classes int }{{1, 1}, {1, 100}, {1000, 1}, {1000, 100}} {
		b.Run(fmt.Sprintf("queues=%d/classes=%d", shape.lanes, shape.classes), func(b *testing.B) {
			q := newQueue()
			now := time.Now()
			add := func(i int, queue string, needs job.Resources) {
				q.add(&job.Job{
					ID: fmt.Sprintf("0193a1b2-c3d4-7e5f-8a9b-%012d", i), CreatedAt: now.Add(time.Duration(i)),
					Spec: job.Spec{Queue: queue, Priority: i % 3, Resources: needs},
				}, now)
			}
			for i := range jobs {
				add(i, fmt.Sprint("q", i%shape.lanes), job.Resources{CPUMillis: int64(i / shape.lanes % shape.classes)})
			}
			type running struct {
				lane  *lane
				class *class
			}
			var cluster []running
			place := func() running {
				bucket := q.next()
				e := bucket.ready[0]
				q.take(e)
				q.ran(bucket.lane, 1)
				cluster = append(cluster, running{bucket.lane, bucket.class})
				q.remove(e)
				return cluster[len(cluster)-1]
			}
			for range 4096 {
				place()
			}
			for c := q.next(); c != nil; c = q.next() {
				q.set(c.class, blocked)
			}
			b.ResetTimer()
			for i := 0; b.Loop(); i++ {
				ended := cluster[0]
				cluster = cluster[1:]
				q.ran(ended.lane, -1)
				q.probe(func(w *scheduler.Work) bool { return w == ended.class.work })
				placed := place()
				q.set(ended.class, blocked)
				add(jobs+i, placed.lane.set.Name, placed.class.key.resources) // what waits stays as it is
			}
		})
	}
}
