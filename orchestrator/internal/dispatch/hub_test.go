package dispatch

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/model"
)

// drain answers the messages that wait in a session, before which it must not deliver.
func drain(s *Session) []Message {
	s.mu.Lock()
	opened := s.opened
	s.mu.Unlock()
	if !opened {
		return nil
	}
	var all []Message
	for m := s.take(); m != nil; m = s.take() {
		all = append(all, m)
	}
	return all
}

func backlog(s *Session) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue)
}

func TestSessionPutsTheFullSetFirst(t *testing.T) {
	hub := NewHub()
	if hub.Send("a", RemoveReplica{ReplicaID: "r"}) {
		t.Error("sent to a node without a stream")
	}
	s := hub.Attach("a")
	defer s.Close(nil)
	if !hub.Send("a", RemoveReplica{ReplicaID: "r"}) || !hub.AssignReplica("a", model.Assignment{ReplicaID: "q"}) {
		t.Fatal("not sent")
	}
	if got := drain(s); got != nil {
		t.Fatalf("messages before Open: %v", got)
	}
	set := AssignmentSet{Jobs: []JobAssignment{{Ref: job.Ref{JobID: "j", Attempt: 1}}}}
	s.Open(set)
	s.Open(AssignmentSet{}) // changes nothing
	hub.RemoveReplica("a", "q")
	want := []Message{set, RemoveReplica{"r"}, ReplicaAssignment{ReplicaID: "q"}, RemoveReplica{"q"}}
	if diff := cmp.Diff(want, drain(s)); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
}

func TestSessionEnds(t *testing.T) {
	cause := errors.New("because")
	for _, tt := range []struct {
		name string
		end  func(*Hub, *Session)
		want string
		left bool // the node has a stream afterwards
	}{
		{"closed", func(_ *Hub, s *Session) { s.Close(cause) }, "because", false},
		{"closed without a reason", func(_ *Hub, s *Session) { s.Close(nil) }, "the stream was closed", false},
		{"replaced", func(h *Hub, s *Session) {
			h.Attach("a")
			s.Close(cause) // late: the first reason stays, and the new stream too
		}, "this stream was replaced by a newer one of the same node", true},
		{"disconnected", func(h *Hub, _ *Session) { h.Disconnect("b", nil); h.Disconnect("a", cause); h.Disconnect("a", nil) }, "because", false},
		{"shutdown", func(h *Hub, _ *Session) { h.Close(); h.Close() }, "the orchestrator is shutting down", false},
		{"too slow", func(h *Hub, s *Session) {
			for backlog(s) > 0 { // the full set is being sent
				runtime.Gosched()
			}
			for range maxOutbox {
				if !h.Send("a", RemoveReplica{}) {
					t.Fatal("not sent")
				}
			}
			if h.Send("a", RemoveReplica{}) {
				t.Error("sent more than the outbox holds")
			}
		}, "the node read too slowly: 4096 messages waited for it; connect again for the full set", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			hub := NewHub()
			s := hub.Attach("a")
			var told []error
			sending := make(chan struct{})
			s.Deliver(func(Message) error { <-sending; return nil }, func(reason error) { told = append(told, reason) })
			s.Open(AssignmentSet{})
			tt.end(hub, s)
			close(sending)
			s.Wait()
			if len(told) != 1 || told[0] == nil || told[0].Error() != tt.want || !errors.Is(s.Err(), told[0]) {
				t.Errorf("told %v, Err: %v, want %q", told, s.Err(), tt.want)
			}
			if s.put(RemoveReplica{}) || drain(s) != nil {
				t.Error("it takes messages after its end")
			}
			late := 0
			s.Deliver(nil, func(error) { late++ })
			if late != 1 {
				t.Error("whoever comes late is not told")
			}
			if code := fault.CodeOf(s.Err()); !errors.Is(s.Err(), cause) && code != fault.Unavailable {
				t.Errorf("code = %v, want Unavailable", code)
			}
			if got := hub.Connected("a"); got != tt.left {
				t.Errorf("connected = %v, want %v", got, tt.left)
			}
		})
	}
}

func TestHubRefusesAfterClose(t *testing.T) {
	hub := NewHub()
	hub.Close()
	s := hub.Attach("a")
	s.Open(AssignmentSet{})
	s.Deliver(func(m Message) error { t.Errorf("%T was sent", m); return nil }, func(err error) {
		if fault.CodeOf(err) != fault.Unavailable {
			t.Errorf("ended with %v, want Unavailable", err)
		}
	})
	s.Wait()
	if fault.CodeOf(s.Err()) != fault.Unavailable {
		t.Errorf("Err = %v, want Unavailable", s.Err())
	}
	if hub.Connected("a") || hub.Len() != 0 {
		t.Error("a closed hub took a stream")
	}
}

func TestHubTellsWhoIsConnected(t *testing.T) {
	hub := NewHub()
	first := hub.Attach("a")
	var told []string
	hub.observe(func(nodeID string, connected bool) { told = append(told, fmt.Sprint(nodeID, " ", connected)) })
	hub.Attach("a")
	first.Close(nil)
	hub.Attach("b").Close(nil)
	hub.Close()
	if want := "a true, a true, b true, b false, a false"; strings.Join(told, ", ") != want {
		t.Errorf("told %v, want %s", told, want)
	}
}

// TestDelivery: messages are sent one at a time in their order, by a goroutine that
// ends when there are none, and an error ends the session.
func TestDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := NewHub()
		s := hub.Attach("a")
		var sent []Message
		var why error
		cause := errors.New("cannot be sent")
		s.Deliver(func(m Message) error {
			sent = append(sent, m)
			if m == (RemoveReplica{ReplicaID: "bad"}) {
				return cause
			}
			return nil
		}, func(reason error) { why = reason })
		hub.Send("a", RemoveReplica{ReplicaID: "r"})
		s.Wait()
		if len(sent) > 0 {
			t.Errorf("%v was sent before the full set", sent)
		}
		set := AssignmentSet{HeartbeatInterval: time.Second}
		s.Open(set)
		s.Wait()
		hub.Send("a", RemoveReplica{ReplicaID: "q"})
		s.Wait()
		want := []Message{set, RemoveReplica{"r"}, RemoveReplica{"q"}}
		if diff := cmp.Diff(want, sent); diff != "" || why != nil {
			t.Errorf("ended with %v; messages (-want +got):\n%s", why, diff)
		}
		hub.Send("a", RemoveReplica{ReplicaID: "bad"})
		synctest.Wait()
		if hub.Send("a", RemoveReplica{ReplicaID: "late"}) || !errors.Is(why, cause) || hub.Connected("a") {
			t.Errorf("it goes on after an error; ended with %v", why)
		}
	})
}

func TestHubConcurrentUse(t *testing.T) {
	hub := NewHub()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				s := hub.Attach("a")
				sent := 0
				ended := make(chan struct{})
				s.Deliver(func(m Message) error {
					if _, ok := m.(AssignmentSet); ok != (sent == 0) {
						t.Errorf("message %d is %T", sent, m)
					}
					sent++
					return nil
				}, func(error) { close(ended) })
				s.Open(AssignmentSet{})
				hub.Send("a", RemoveReplica{})
				s.Close(nil)
				<-ended
				s.Wait()
			}
		})
	}
	wg.Wait()
	if hub.Len() != 0 {
		t.Errorf("%d streams are left", hub.Len())
	}
}

// Whoever waits for a node is told of every one that comes and goes, and since when it is
// there.
func TestHubTellsOfConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub()
		told := func(c <-chan struct{}) bool {
			select {
			case <-c:
				return true
			default:
				return false
			}
		}
		if _, ok := h.ConnectedSince("n1"); ok {
			t.Error("nobody has connected yet")
		}
		coming := h.Changed()
		begun := time.Now()
		first := h.Attach("n1")
		if since, ok := h.ConnectedSince("n1"); !ok || !since.Equal(begun) || !told(coming) {
			t.Errorf("connected %v since %v, told %v", ok, since, told(coming))
		}
		time.Sleep(time.Second)
		anew := h.Changed()
		second := h.Attach("n1")
		if since, ok := h.ConnectedSince("n1"); !ok || !since.Equal(begun.Add(time.Second)) || !told(anew) {
			t.Errorf("connected %v since %v, told %v", ok, since, told(anew))
		}
		going := h.Changed()
		first.Close(nil)
		if _, ok := h.ConnectedSince("n1"); !ok || told(going) {
			t.Error("the end of a stream that was replaced is no change")
		}
		second.Close(nil)
		if _, ok := h.ConnectedSince("n1"); ok || !told(going) {
			t.Error("its end is")
		}
	})
}
