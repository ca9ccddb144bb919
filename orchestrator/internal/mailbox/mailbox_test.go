package mailbox

import (
	"context"
	"errors"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// own works a box off until stop is closed, as its owner does.
func own(b *Box, stop <-chan struct{}) {
	defer b.Close()
	var work []func()
	for {
		select {
		case <-stop:
			return
		case <-b.Ready():
		}
		work = b.Take(work)
		for _, f := range work {
			f()
		}
	}
}

func TestFunctionsRunInOrder(t *testing.T) {
	b := New()
	var got []int
	for i := range 3 {
		if !b.Post(func() { got = append(got, i) }) {
			t.Fatal("not posted")
		}
	}
	first := b.Take(nil)
	b.Post(func() { got = append(got, 3) })
	for _, f := range first {
		f()
	}
	second := b.Take(first)
	for _, f := range second {
		f()
	}
	for i, n := range got {
		if n != i {
			t.Fatalf("order = %v", got)
		}
	}
	if len(got) != 4 || len(b.Take(second)) != 0 {
		t.Errorf("ran %v, want four functions once each", got)
	}
}

func TestAskAnswers(t *testing.T) {
	b, stop := New(), make(chan struct{})
	var owner, callers sync.WaitGroup
	owner.Go(func() { own(b, stop) })
	sum := 0 // belongs to the owner
	for range 8 {
		callers.Go(func() {
			for range 100 {
				if _, err := Ask(context.Background(), b, func() int { sum++; return sum }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	callers.Wait()
	if got, err := Ask(t.Context(), b, func() int { return sum }); got != 800 || err != nil {
		t.Errorf("sum = %d, %v, want 800", got, err)
	}
	close(stop)
	owner.Wait()
	if _, err := Ask(t.Context(), b, func() int { return 1 }); !errors.Is(err, ErrClosed) {
		t.Errorf("Ask after Close = %v, want ErrClosed", err)
	}
	if b.Post(func() {}) {
		t.Error("posted after Close")
	}
	b.Close() // again
}

func TestAskGivesUp(t *testing.T) {
	b := New() // nobody works it off
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Ask(ctx, b, func() int { return 1 }); !errors.Is(err, context.Canceled) {
		t.Errorf("Ask with a cancelled context = %v", err)
	}
	asked := make(chan error)
	go func() {
		_, err := Ask(context.Background(), b, func() int { return 1 })
		asked <- err
	}()
	for len(b.Take(nil)) == 0 { // dropped, as by an owner that stops
		<-b.Ready()
	}
	b.Close()
	if err := <-asked; !errors.Is(err, ErrClosed) {
		t.Errorf("Ask of an owner that stops = %v, want ErrClosed", err)
	}
}
