// Package upkeep does work that is due again and again, such as removing what is
// old, on a goroutine of its own.
package upkeep

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Loop does a round of work when it starts, and then one in each period.
type Loop struct {
	period time.Duration
	round  func(context.Context)

	mu      sync.Mutex // guards what follows and serialises Start and Stop
	cancel  context.CancelFunc
	stopped bool
	running sync.WaitGroup
}

// New makes a loop; call Start. A round ends early when its context does.
func New(period time.Duration, round func(context.Context)) *Loop {
	return &Loop{period: period, round: round}
}

// Start begins with the first round. ctx bounds nothing that goes on after it.
func (l *Loop) Start(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cancel != nil || l.stopped {
		return errors.New("upkeep: Start was called before")
	}
	ctx, l.cancel = context.WithCancel(context.WithoutCancel(ctx))
	l.running.Go(func() { l.run(ctx) })
	return nil
}

// Stop ends the rounds and waits until none is under way. It may be called twice.
func (l *Loop) Stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	if l.cancel != nil {
		l.cancel()
		l.running.Wait()
	}
}

func (l *Loop) run(ctx context.Context) {
	ticker := time.NewTicker(l.period)
	defer ticker.Stop()
	for {
		l.round(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
