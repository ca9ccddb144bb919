// Package footprint trades the memory that the garbage collector lets the heap grow
// by against the time that collecting takes, while the program runs: an orchestrator
// of thousands of nodes that rest should not be twice as large as what it keeps, and
// one under load should not spend its time on being small. What was needed under load
// is given back to the system when it has been over for a while.
package footprint

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

const (
	// period is how often it is looked, and restPeriod how often while there is nothing
	// to collect: an idle program should not be woken for it.
	period, restPeriod = time.Second, 10 * time.Second
	// mostPercent is by how much of itself the heap may grow before it is collected
	// again, which is the runtime's default, and leastPercent what that is lowered to.
	mostPercent, leastPercent = 100, 25
	// leastRoom is how much a heap may grow whatever its size: collecting a small
	// one ever again gains nothing.
	leastRoom = 32 << 20
	// Of all processors' time collecting may take as much before the heap is
	// let grow more, and as little before it is let grow less.
	busyShare, idleShare = 0.10, 0.05
	// window is over how many looks the share is taken: a large heap that is
	// collected once takes much of one look and little of ten.
	window = 10
	// restful is how many looks in a row there has to be little to collect before
	// what is not in use is given back, and leastFree how much that has to be at least,
	// or an eighth of what is in use: what the heap will soon grow into again is kept.
	restful   = 10
	leastFree = 32 << 20
)

// Start begins to set the collector's percentage (GOGC) from what it costs, unless
// the environment sets GOGC or GOMEMLIMIT: then somebody has decided. It is for the
// whole process. stop ends it and leaves the percentage as it was before.
func Start(ctx context.Context) (stop func()) {
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		if os.Getenv(name) != "" {
			return func() {}
		}
	}
	p := &pacer{wish: leastPercent, percent: mostPercent, read: newReader().read, set: func(percent int) { debug.SetGCPercent(percent) }, giveBack: debug.FreeOSMemory}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var looking sync.WaitGroup
	looking.Go(func() { p.lookUntil(ctx) })
	return func() {
		cancel()
		looking.Wait()
		debug.SetGCPercent(mostPercent)
	}
}

// reading is what the runtime says.
type reading struct {
	live       uint64        // bytes that the last collection found in use
	scanned    uint64        // bytes of stacks and globals, which the percentage is of as well
	free       uint64        // bytes that it found free or that became garbage since
	collecting time.Duration // that all collections took, of all processors
	available  time.Duration // that there was, of all processors
}

// pacer holds the percentage that was set last. It is for one goroutine.
type pacer struct {
	wish     int // the percentage that a large heap would have
	percent  int
	shares   [window]float64 // of the time that collecting took, in each of the last looks
	looks    int             // since the heap was let grow more
	last     reading
	rested   int // looks in a row
	read     func() reading
	set      func(percent int)
	giveBack func()
}

func (p *pacer) lookUntil(ctx context.Context) {
	for {
		p.look()
		wait := period
		if p.rested > restful {
			wait = restPeriod
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// look sets the percentage anew where it should be another, and gives back what is
// not needed any more.
func (p *pacer) look() {
	now := p.read()
	share := 0.0
	if passed := now.available - p.last.available; passed > 0 {
		share = float64(now.collecting-p.last.collecting) / float64(passed)
	}
	p.last = now
	p.adjust(share)
	if next := percentFor(p.wish, now.live+now.scanned); next != p.percent {
		p.percent = next
		p.set(next)
	}
	if p.rested++; share >= idleShare {
		p.rested = 0
	}
	if p.rested >= restful && now.free > max(leastFree, now.live/8) {
		p.rested = 0
		p.giveBack()
	}
}

// adjust takes in what share of the last look's time collecting took. What it took
// before the heap was last let grow more says nothing of what it takes since.
func (p *pacer) adjust(share float64) {
	p.shares[p.looks%window] = share
	p.looks++
	lately := 0.0
	for _, s := range p.shares {
		lately += s / window
	}
	switch {
	case lately > busyShare:
		p.wish = min(p.wish*3/2, mostPercent)
		p.shares, p.looks = [window]float64{}, 0
	case lately < idleShare && p.looks >= window:
		p.wish = max(p.wish*4/5, leastPercent)
	}
}

// percentFor answers the percentage for a heap that is collected from so many bytes:
// a small one gets its room all the same.
func percentFor(wish int, base uint64) int {
	room := leastRoom * 100 / max(base, leastRoom)
	return min(max(wish, int(room)), mostPercent)
}

// reader reads the runtime's metrics, and makes no garbage of its own.
type reader struct {
	samples []metrics.Sample
	began   time.Time
}

func newReader() *reader {
	return &reader{samples: []metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/cpu/classes/gc/total:cpu-seconds"}, {Name: "/cpu/classes/gc/mark/idle:cpu-seconds"},
		{Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"},
	}, began: time.Now()}
}

func (r *reader) read() reading {
	metrics.Read(r.samples)
	// What is collected on processors that had nothing else to do costs nothing.
	collecting := r.samples[1].Value.Float64() - r.samples[2].Value.Float64()
	live := r.samples[0].Value.Uint64()
	return reading{
		live:       live,
		scanned:    r.samples[5].Value.Uint64() + r.samples[6].Value.Uint64(),
		free:       r.samples[3].Value.Uint64() + max(r.samples[4].Value.Uint64(), live) - live,
		collecting: time.Duration(collecting * float64(time.Second)),
		available:  time.Since(r.began) * time.Duration(runtime.GOMAXPROCS(0)),
	}
}
