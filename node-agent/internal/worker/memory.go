package worker

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/engine"
)

// measurers is how many containers are measured at once.
const measurers = 8

// promises are how much memory jobs that run here declared, and models together:
// engines serve several.
type promises struct {
	jobs   map[refKey]uint64
	models uint64
}

func (w *Worker) promises() promises {
	p := promises{jobs: make(map[refKey]uint64)}
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, a := range w.attempts {
		if declared := a.declaredMemory(); declared > 0 && a.runs() {
			p.jobs[key] = declared
		}
	}
	for _, r := range w.replicas {
		p.models += uint64(max(r.assignment.GetSpec().GetResources().GetMemoryBytes(), 0))
	}
	return p
}

// declaredMemory is 0 also while it is not known.
func (a *attempt) declaredMemory() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return uint64(max(a.assignment.GetSpec().GetResources().GetMemoryBytes(), 0))
}

// MemoryAsDeclared measures how many bytes of memory jobs and models use here of
// what they declared. What they use beyond that counts to nobody, and neither
// does what cannot be measured now: it is then taken for that of other programs,
// which errs on the side of a full machine. Where nothing is declared the
// container engine is not asked.
func (w *Worker) MemoryAsDeclared(ctx context.Context) int64 {
	promised := w.promises()
	if len(promised.jobs) == 0 && promised.models == 0 {
		return 0
	}
	var sum measured
	if w.cfg.Driver != nil {
		w.measure(ctx, w.cfg.Driver, promised, &sum)
	}
	if w.cfg.Processes != nil {
		w.measure(ctx, w.cfg.Processes, promised, &sum)
	}
	return int64(sum.jobs + min(sum.models, promised.models))
}

// measured is how much memory jobs use as declared, and models altogether.
type measured struct {
	mu           sync.Mutex // guards what follows
	jobs, models uint64
}

// measure adds up what runs on one engine.
func (w *Worker) measure(ctx context.Context, on driver.Containers, promised promises, sum *measured) {
	containers, err := on.List(ctx, map[string]string{labelNode: w.cfg.NodeID})
	if err != nil {
		return
	}
	var group errgroup.Group
	group.SetLimit(measurers)
	for _, c := range containers {
		key, ofJob := attemptOf(c)
		_, ofEngine := c.Labels[engine.LabelEngine]
		declared := promised.jobs[key]
		if c.State != driver.StateRunning || ofJob && declared == 0 || ofEngine && promised.models == 0 || !ofJob && !ofEngine {
			continue
		}
		group.Go(func() error {
			stats, err := on.Stats(ctx, c.ID)
			if err != nil {
				return nil // it may have ended just now
			}
			sum.mu.Lock()
			defer sum.mu.Unlock()
			if ofJob {
				sum.jobs += min(stats.MemoryBytes, declared)
			} else {
				sum.models += stats.MemoryBytes
			}
			return nil
		})
	}
	_ = group.Wait() // its functions have no errors
}
