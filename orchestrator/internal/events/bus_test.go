package events

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/node"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func publish(b *Bus, names ...string) {
	for _, name := range names {
		b.Publish(Event{Type: Updated, Node: &node.Node{ID: name}})
	}
}

// next gives the node's id of the next event, "reset", or the error's text.
func next(t *testing.T, s *Subscription) (name, id string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // everything that is there is answered without waiting
	e, err := s.Next(ctx)
	switch {
	case err != nil:
		return err.Error(), ""
	case e.Type == Reset:
		return "reset", e.ID
	default:
		return e.Node.ID, e.ID
	}
}

func want(t *testing.T, s *Subscription, names ...string) (lastID string) {
	t.Helper()
	for _, name := range names {
		got, id := next(t, s)
		if got != name {
			t.Fatalf("next event is %q, want %q", got, name)
		}
		lastID = id
	}
	return lastID
}

const nothing = "context canceled"

func TestSubscribersSeeWhatComes(t *testing.T) {
	b := NewBus(8)
	publish(b, "before")
	one, two := b.Subscribe(""), b.Subscribe("")
	defer one.Close()
	publish(b, "a", "b")
	want(t, one, "a", "b", nothing)
	want(t, two, "a")
	two.Close()
	two.Close()
	if got := b.Subscribers(); got != 1 {
		t.Errorf("%d subscribers, want 1", got)
	}
}

func TestResume(t *testing.T) {
	b := NewBus(4)
	s := b.Subscribe("")
	publish(b, "a", "b", "c")
	afterB := want(t, s, "a", "b")
	want(t, b.Subscribe(afterB), "c", nothing)

	publish(b, "d", "e")
	want(t, b.Subscribe(afterB), "c", "d", "e", nothing)
	publish(b, "f", "g", "h") // overwrites c
	resumed := b.Subscribe(afterB)
	id := want(t, resumed, "reset")
	want(t, resumed, nothing)
	publish(b, "i")
	want(t, resumed, "i")
	want(t, b.Subscribe(id), "i", nothing) // a reset's id resumes as well
}

func TestUnknownIDsReset(t *testing.T) {
	b := NewBus(4)
	publish(b, "a")
	other := NewBus(4)
	publish(other, "x")
	s := other.Subscribe("")
	publish(other, "y")
	foreign := want(t, s, "y")
	for _, id := range []string{foreign, "garbage", b.epoch + "-99", b.epoch + "-", "-1", b.epoch + "--1"} {
		s := b.Subscribe(id)
		want(t, s, "reset", nothing)
		publish(b, "z")
		want(t, s, "z")
	}
}

// TestTheRingGrows: what was told before is still there when the ring has
// grown, up to its size.
func TestTheRingGrows(t *testing.T) {
	b := NewBus(0)
	s := b.Subscribe("")
	publish(b, "first")
	id := want(t, s, "first")
	for i := range DefaultSize {
		publish(b, fmt.Sprint(i))
	}
	for _, reader := range []*Subscription{s, b.Subscribe(id)} {
		for i := range DefaultSize {
			want(t, reader, fmt.Sprint(i))
		}
		want(t, reader, nothing)
	}
	publish(b, "one more")
	want(t, b.Subscribe(id), "reset", nothing)
	if DefaultSize <= job.MaxArray {
		t.Errorf("the ring keeps %d events, an array makes %d", DefaultSize, job.MaxArray)
	}
}

// TestLargeEventsAreFewer: what jobs are given is kept only up to a bound, the
// newest event always.
func TestLargeEventsAreFewer(t *testing.T) {
	large := strings.Repeat("x", 1<<20)
	for name, spec := range map[string]job.Spec{
		"chat":      {Chat: &job.Chat{Messages: []job.Message{{Content: large}}}},
		"container": {Container: &job.Container{Args: []string{large[:1<<19]}, Env: map[string]string{"A": large[:1<<19]}}},
		"process":   {Process: &job.Process{Args: []string{large}}},
	} {
		t.Run(name, func(t *testing.T) {
			b := NewBus(0)
			s := b.Subscribe("")
			publish(b, "first")
			id := want(t, s, "first")
			const fit = maxBytes >> 20
			for range fit - 1 {
				b.Publish(Event{Type: Updated, Job: &job.Job{ID: "j", Spec: spec}})
			}
			count := func(s *Subscription) (n int) {
				for {
					e, changed, err := s.poll()
					switch {
					case err != nil || changed != nil:
						return n
					case e.Type == Reset:
						return -1
					}
					n++
				}
			}
			if n := count(b.Subscribe(id)); n != fit-1 {
				t.Errorf("resumed with %d events, want %d", n, fit-1)
			}
			publish(b, "small", "small")
			b.Publish(Event{Type: Updated, Job: &job.Job{ID: "j", Spec: spec}})
			b.Publish(Event{Type: Updated, Job: &job.Job{ID: "j", Spec: spec}})
			if n := count(b.Subscribe(id)); n != -1 {
				t.Errorf("resumed with %d events after more than are kept, want a reset", n)
			}
			if b.bytes > maxBytes || b.last-b.gone < fit {
				t.Errorf("%d events with %d bytes are kept", b.last-b.gone, b.bytes)
			}
			for range 3 * firstSize { // over the growing of the ring, until only small ones are left
				publish(b, "small")
			}
			resume := b.Subscribe(b.idLocked(b.gone))
			if n := count(resume); n != int(b.last-b.gone) {
				t.Errorf("resumed with %d of %d events", n, b.last-b.gone)
			}
		})
	}
	b := NewBus(4)
	s := b.Subscribe("")
	b.Publish(Event{Type: Updated, Job: &job.Job{ID: "huge", Result: &job.Result{Output: strings.Repeat(large, 65)}}})
	if e, _, err := s.poll(); err != nil || e.Job == nil || e.Job.ID != "huge" {
		t.Errorf("the only event is %+v, %v", e, err)
	}
}

func TestSlowSubscriberIsReset(t *testing.T) {
	b := NewBus(4)
	s := b.Subscribe("")
	publish(b, "1", "2", "3", "4")
	want(t, s, "1")
	publish(b, "5", "6", "7", "8")
	want(t, s, "reset", nothing)
}

func TestNextWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBus(4)
		s := b.Subscribe("")
		defer s.Close()
		go func() {
			time.Sleep(time.Minute)
			b.Publish(Event{Type: Updated, Job: &job.Job{ID: "late"}})
		}()
		began := time.Now()
		e, err := s.Next(t.Context())
		if err != nil || e.Job == nil || e.Job.ID != "late" || time.Since(began) != time.Minute || !e.Time.Equal(time.Now()) {
			t.Errorf("got %+v, %v after %v", e, err, time.Since(began))
		}
	})
}

func TestCloseEndsWaiting(t *testing.T) {
	b := NewBus(4)
	s := b.Subscribe("")
	defer s.Close()
	ended := make(chan error)
	go func() {
		_, err := s.Next(context.Background())
		ended <- err
	}()
	b.Close()
	b.Close()
	if err := <-ended; !errors.Is(err, ErrClosed) {
		t.Errorf("Next ended with %v", err)
	}
	publish(b, "ignored")
}

func TestManySubscribersInOrder(t *testing.T) {
	const events, readers = 2000, 8
	b := NewBus(events)
	var all sync.WaitGroup
	for range readers {
		s := b.Subscribe("")
		all.Go(func() {
			defer s.Close()
			for i := range events {
				e, err := s.Next(context.Background())
				if err != nil || e.Node.ID != fmt.Sprint(i) {
					t.Errorf("event %d is %+v, %v", i, e, err)
					return
				}
			}
		})
	}
	for i := range events {
		publish(b, fmt.Sprint(i))
	}
	all.Wait()
}
