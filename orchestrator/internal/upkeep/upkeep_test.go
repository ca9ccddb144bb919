package upkeep

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rounds atomic.Int32
		interrupted := false
		l := New(time.Minute, func(ctx context.Context) {
			if rounds.Add(1) < 4 {
				return
			}
			<-ctx.Done() // in the middle of something
			interrupted = true
		})
		starting, cancel := context.WithCancel(t.Context())
		if err := l.Start(starting); err != nil {
			t.Fatal(err)
		}
		cancel()
		synctest.Wait()
		if got := rounds.Load(); got != 1 {
			t.Errorf("%d rounds at the start, want 1", got)
		}
		time.Sleep(150 * time.Second)
		synctest.Wait()
		if got := rounds.Load(); got != 3 {
			t.Errorf("%d rounds in two and a half minutes, want 3", got)
		}
		time.Sleep(time.Minute)
		l.Stop()
		l.Stop()
		if !interrupted {
			t.Error("Stop did not wait for the round under way")
		}
		if err := l.Start(t.Context()); err == nil {
			t.Error("it starts again")
		}
	})
}

func TestStopBeforeStart(t *testing.T) {
	l := New(time.Minute, func(context.Context) { t.Error("a round") })
	l.Stop()
	if err := l.Start(t.Context()); err == nil {
		t.Error("it starts after Stop")
	}
}
