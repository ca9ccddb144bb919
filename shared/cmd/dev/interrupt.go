package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/orchion/orchion/shared/cmd/dev/internal/supervise"
)

// errOrphaned is why a run ends whose parent went away.
var errOrphaned = errors.New("the program that started this one is gone")

// withParent returns a context that, under `go run`, also ends when `go run`
// goes away: it passes no signal on but Ctrl-C, so that a kill of it would
// otherwise leave everything running.
func withParent(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	if !underGoRun() {
		return ctx, func() { cancel(context.Canceled) }
	}
	parent := os.Getppid()
	var watch sync.WaitGroup
	watch.Go(func() {
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if os.Getppid() != parent {
					cancel(errOrphaned)
				}
			}
		}
	})
	return ctx, func() {
		cancel(context.Canceled)
		watch.Wait()
	}
}

// underGoRun tells whether `go run` started us: it builds into a folder
// .../go-build123/b001/exe/ of its own.
func underGoRun() bool {
	exe, err := os.Executable()
	if err != nil {
		return false
	}
	dir := filepath.Dir(exe)
	return filepath.Base(dir) == "exe" && strings.HasPrefix(filepath.Base(filepath.Dir(filepath.Dir(dir))), "go-build")
}

// killOnSecondInterrupt ends all programs at once when the user, having pressed
// Ctrl-C, does so again. The returned function ends the watch.
func killOnSecondInterrupt(group *supervise.Group) (restore func()) {
	again := make(chan os.Signal, 1)
	signal.Notify(again, os.Interrupt)
	done := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-again:
			group.Kill()
		case <-done:
		}
	})
	return func() {
		signal.Stop(again)
		close(done)
		watch.Wait()
	}
}
