package dispatch

import (
	"fmt"
	"testing"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/node"
	"github.com/orchion/orchion/orchestrator/internal/store/memory"
)

// passing is a dispatcher that is not started, and whose rounds are made by
// hand, with a store that answers at once.
type passing struct {
	*Dispatcher
	now   time.Time
	holds []job.Ref // what was placed, by the order of placing
	jobs  int
}

func newPassing(b *testing.B, nodes int) *passing {
	b.Helper()
	d, err := New(Config{Store: memory.New(), Hub: NewHub()})
	if err != nil {
		b.Fatal(err)
	}
	for i := range nodes {
		n := &node.Node{ID: fmt.Sprintf("node-%05d", i), State: node.Online, Capabilities: node.Capabilities{
			CPU: node.CPU{LogicalCores: 32}, MemoryBytes: 64 * gib, Runtimes: []node.Runtime{{Name: "docker"}},
		}}
		d.cfg.Cluster.NodeChanged(nil, n)
		d.cfg.Cluster.SetConnected(n.ID, true)
	}
	p := &passing{Dispatcher: d, now: time.Now()}
	d.changes.Take(d.dirty)
	clear(d.dirty)
	return p
}

// queueJobs queues jobs of so many classes.
func (p *passing) queueJobs(jobs, classes int) {
	for range jobs {
		p.queue.add(&job.Job{
			ID: fmt.Sprintf("0193a1b2-c3d4-7e5f-8a9b-%012d", p.jobs), CreatedAt: p.now.Add(time.Duration(p.jobs)),
			Spec: job.Spec{Container: &job.Container{Image: "x"}, Resources: job.Resources{
				CPUMillis: 2000, MemoryBytes: gib + int64(p.jobs%classes),
			}},
		}, p.now)
		p.jobs++
	}
}

// round places what there is room for, as place does, and answers how much.
func (p *passing) round() (placed int) {
	p.changes.Take(p.dirty)
	p.look()
	for b := p.queue.next(); b != nil; b = p.queue.next() {
		e := b.ready[0]
		nodeID, ok := p.find(b.class, e, p.now)
		if !ok {
			p.queue.set(b.class, blocked)
			p.queue.starve(b, p.now)
			continue
		}
		p.fed(b)
		placed++
		p.holds = append(p.holds, job.Ref{JobID: e.id})
		work := *b.class.work
		p.cfg.Cluster.Hold(nodeID, holder(e.id), &work)
		p.queue.remove(e)
	}
	clear(p.dirty)
	return placed
}

// BenchmarkPass is what the rounds of placing cost at 10,000 nodes and with
// 100,000 queued jobs of more and more kinds of needs: to fill the nodes, for
// each job that is placed; to find out that there is no room, for each kind; and
// when a job ends and one is placed for it.
func BenchmarkPass(b *testing.B) {
	const nodes, queued = 10_000, 100_000
	for _, classes := range []int{1, 1000, 10_000} {
		name := fmt.Sprintf("classes=%d", classes)
		b.Run("fill/"+name, func(b *testing.B) {
			for b.Loop() {
				p := newPassing(b, nodes)
				p.queueJobs(queued, classes)
				b.ResetTimer()
				start := time.Now()
				placed := p.round()
				b.ReportMetric(float64(time.Since(start).Nanoseconds())/float64(placed), "ns/job")
			}
		})
		full := func(b *testing.B) *passing {
			b.Helper()
			p := newPassing(b, nodes)
			p.queueJobs(nodes*16, classes) // of 2 cores each
			if placed := p.round(); placed != nodes*16 {
				b.Fatalf("%d placed", placed)
			}
			p.queueJobs(queued, classes)
			return p
		}
		b.Run("full/"+name, func(b *testing.B) {
			p := full(b)
			b.ResetTimer()
			for b.Loop() {
				p.queue.openAll()
				p.round()
			}
		})
		b.Run("one/"+name, func(b *testing.B) {
			p := full(b)
			p.round()
			b.ResetTimer()
			for i := 0; b.Loop(); i++ {
				p.cfg.Cluster.Release(holder(p.holds[i].JobID))
				if placed := p.round(); placed != 1 {
					b.Fatalf("%d placed", placed)
				}
				p.queueJobs(1, classes)
			}
		})
	}
}
