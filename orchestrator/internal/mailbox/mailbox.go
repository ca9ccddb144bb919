// Package mailbox hands functions to the one goroutine that owns some state.
// Posting never blocks, and the owner takes everything that waits in one go,
// so that a busy owner pays for one wake-up per batch and not per function.
package mailbox

import (
	"context"
	"errors"
	"sync"
)

// ErrClosed is answered to those who ask an owner that has stopped.
var ErrClosed = errors.New("the owner of the mailbox has stopped")

// Box is an unbounded queue of functions. It is safe for concurrent use, but
// only the owner calls Ready, Take and Close.
type Box struct {
	wake chan struct{} // holds one token while something waits
	done chan struct{} // closed by Close

	mu     sync.Mutex // guards what follows
	queue  []func()
	closed bool
}

// New makes an empty box.
func New() *Box {
	return &Box{wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// Post queues f for the owner. False: the owner has stopped and f never runs.
func (b *Box) Post(f func()) bool {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return false
	}
	b.queue = append(b.queue, f)
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
	return true
}

// Ready receives when functions may wait.
func (b *Box) Ready() <-chan struct{} { return b.wake }

// Take answers the functions that wait, oldest first, and keeps spare for
// those that come: pass the last answer back once it has been worked off.
func (b *Box) Take(spare []func()) []func() {
	clear(spare)
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := b.queue
	b.queue = spare[:0]
	return taken
}

// Close drops what waits and refuses what comes. The owner calls it when it
// has stopped working: no function runs any more when it returns.
func (b *Box) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	b.closed = true
	b.queue = nil
	close(b.done)
}

// Done is closed when the owner has stopped.
func (b *Box) Done() <-chan struct{} { return b.done }

// Ask has the owner run f and answers what f answered. The error is ErrClosed
// or the context's; in the second case f may still run.
func Ask[T any](ctx context.Context, b *Box, f func() T) (T, error) {
	answer := make(chan T, 1)
	var none T
	if !b.Post(func() { answer <- f() }) {
		return none, ErrClosed
	}
	select {
	case v := <-answer:
		return v, nil
	case <-ctx.Done():
		return none, ctx.Err()
	case <-b.done:
		// The owner may have answered just before it stopped.
		select {
		case v := <-answer:
			return v, nil
		default:
			return none, ErrClosed
		}
	}
}
