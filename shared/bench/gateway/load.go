package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"
)

// load is one kind of load.
type load struct {
	name    string // as --only takes it
	what    string
	clients int
	want    string
}

func (l *load) isStream() bool { return l.want == wantStream || l.want == wantPaced }

// loads are those that every way is put under in the same manner.
func loads() []load {
	var all []load
	for _, kind := range []struct{ name, what, want string }{
		{"unary", "answer of 1 kB", wantPlain},
		{"stream", fmt.Sprintf("stream of %d tokens, at once", streamTokens), wantStream},
		{"paced", fmt.Sprintf("stream of %d tokens, one in %s", streamTokens, pace), wantPaced},
	} {
		for _, clients := range []int{1, 64, 512} {
			all = append(all, load{
				name: fmt.Sprintf("%s-%d", kind.name, clients), what: kind.what, clients: clients, want: kind.want,
			})
		}
	}
	return all
}

// press puts load on a way for about the time given, and at least until every
// client has had one answer.
func press(ctx context.Context, w *way, l *load, slice time.Duration) (samples, error) {
	clients, closeAll, err := dialClients(ctx, w, l.want, l.clients)
	if err != nil {
		return samples{}, err
	}
	defer closeAll()
	var mu sync.Mutex // guards sum and failed
	var sum samples
	var failed error
	var wg sync.WaitGroup
	runtime.GC() // of what the last way left, and not in the middle of this one
	before, start := w.usage(ctx), time.Now()
	end := start.Add(slice)
	for i, c := range clients {
		wg.Go(func() {
			if l.want == wantPaced {
				// Clients do not ask at one moment, and their tokens do not come at one.
				time.Sleep(time.Duration(i) * pace / time.Duration(len(clients)))
			}
			mine, err := c.load(l, end)
			mu.Lock()
			defer mu.Unlock()
			sum.add(mine)
			if failed == nil {
				failed = err
			}
		})
	}
	wg.Wait()
	sum.elapsed = time.Since(start)
	sum.used = w.usage(ctx).minus(before)
	return sum, failed
}

// load asks until the time is over.
func (c *client) load(l *load, end time.Time) (samples, error) {
	var mine samples
	var times tokenTimes
	for {
		begun := time.Now()
		if l.isStream() {
			if err := c.askStream(&times); err != nil {
				return mine, err
			}
			mine.addStream(&times)
		} else if err := c.askPlain(int64(len(plainAnswer))); err != nil {
			return mine, err
		}
		now := time.Now()
		mine.total = append(mine.total, now.Sub(begun))
		if now.After(end) {
			return mine, nil
		}
	}
}

func dialClients(ctx context.Context, w *way, want string, n int) ([]*client, func(), error) {
	var clients []*client
	closeAll := func() {
		for _, c := range clients {
			c.close()
		}
	}
	for range n {
		c, err := dialClient(ctx, w, want)
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		clients = append(clients, c)
	}
	return clients, closeAll, nil
}

// openStreams is the number of streams whose memory is measured.
const openStreams = 1000

// growthOfOpenStreams gives what a way's processes occupy more with many streams
// open than without.
func growthOfOpenStreams(ctx context.Context, w *way) (int64, error) {
	clients, closeAll, err := dialClients(ctx, w, wantHeld, openStreams)
	if err != nil {
		return 0, err
	}
	defer closeAll()
	before := w.resident()
	for _, c := range clients {
		if _, err := c.send(); err != nil {
			return 0, err
		}
		if _, err := io.ReadFull(c.in, make([]byte, 64)); err != nil {
			return 0, fmt.Errorf("read the first token: %w", err)
		}
	}
	return w.resident() - before, nil
}

// besideStreams is the number of paced streams whose tokens are watched while
// something else is done, and stalledReaders that of clients that read nothing.
const besideStreams, stalledReaders = 16, 32

// disturbed are the tokens of streams alone and beside something else.
type disturbed struct {
	quiet, beside samples
	megabytes     float64 // each second, of a bulk transfer
	growth        int64   // of the way's processes, with stalled readers
}

// beside watches paced streams, first alone, then beside a client that loads large
// answers one after the other, or beside clients that ask for such and read
// nothing.
func beside(ctx context.Context, w *way, stalled bool) (d disturbed, err error) {
	l := &load{clients: besideStreams, want: wantPaced}
	if d.quiet, err = press(ctx, w, l, 0); err != nil {
		return d, err
	}
	if stalled {
		before := w.resident()
		clients, closeAll, err := dialClients(ctx, w, wantBulk, stalledReaders)
		if err != nil {
			return d, err
		}
		defer closeAll()
		for _, c := range clients {
			if _, err := c.send(); err != nil {
				return d, err
			}
		}
		d.beside, err = press(ctx, w, l, 0)
		d.growth = w.resident() - before
		return d, err
	}
	c, err := dialClient(ctx, w, wantBulk)
	if err != nil {
		return d, err
	}
	loaded := make(chan float64, 1)
	over := make(chan struct{})
	go func() {
		begun, transfers := time.Now(), 0
		for {
			select {
			case <-over:
				loaded <- float64(transfers) * bulkSize / 1e6 / time.Since(begun).Seconds()
				return
			default:
			}
			if err := c.askPlain(bulkSize); err != nil {
				loaded <- 0
				return
			}
			transfers++
		}
	}()
	d.beside, err = press(ctx, w, l, 0)
	close(over)
	d.megabytes = <-loaded
	c.close()
	return d, err
}
