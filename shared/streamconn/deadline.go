package streamconn

import (
	"sync"
	"time"
)

// deadline is a moment that can be moved, with a channel that says it passed.
type deadline struct {
	onExpire func() // may be nil; called without mu

	mu      sync.Mutex
	timer   *time.Timer   // guarded by mu; nil: none runs
	passed  chan struct{} // guarded by mu; closed once the deadline passed
	isOver  bool          // guarded by mu; passed is closed
	version int           // guarded by mu; tells a timer that it was replaced
}

func (d *deadline) init(onExpire func()) {
	d.onExpire = onExpire
	d.passed = make(chan struct{})
}

// expired gives the channel that is closed when the deadline passes. It serves
// until the deadline is moved back from the past.
func (d *deadline) expired() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.passed
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	d.stopLocked()
	if d.isOver && (t.IsZero() || time.Until(t) > 0) {
		d.passed = make(chan struct{})
		d.isOver = false
	}
	if t.IsZero() {
		d.mu.Unlock()
		return
	}
	wait := time.Until(t)
	if wait > 0 {
		version := d.version
		d.timer = time.AfterFunc(wait, func() { d.expire(version) })
		d.mu.Unlock()
		return
	}
	version := d.version
	d.mu.Unlock()
	d.expire(version)
}

func (d *deadline) expire(version int) {
	d.mu.Lock()
	if version != d.version {
		d.mu.Unlock()
		return
	}
	if !d.isOver {
		d.isOver = true
		close(d.passed)
	}
	d.mu.Unlock()
	if d.onExpire != nil {
		d.onExpire()
	}
}

// stop forgets a timer that still runs.
func (d *deadline) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopLocked()
}

func (d *deadline) stopLocked() {
	d.version++
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
