package dispatch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/model"
)

// drain answers the messages that wait in a session.
func drain(s *Session) []Message {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var all []Message
	for {
		m, err := s.Next(ctx)
		if err != nil {
			return all
		}
		all = append(all, m)
	}
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
		{"too slow", func(h *Hub, _ *Session) {
			for range maxOutbox - 1 { // the full set waits too
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
			s.Open(AssignmentSet{})
			tt.end(hub, s)
			<-s.Done()
			if _, err := s.Next(t.Context()); err == nil || err.Error() != tt.want || !errors.Is(s.Err(), err) {
				t.Errorf("Next: %v, Err: %v, want %q", err, s.Err(), tt.want)
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
	if _, err := s.Next(t.Context()); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("Next = %v, want Unavailable", err)
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

func TestHubConcurrentUse(t *testing.T) {
	hub := NewHub()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				s := hub.Attach("a")
				s.Open(AssignmentSet{})
				hub.Send("a", RemoveReplica{})
				// Either the full set or the news that it was replaced.
				if m, err := s.Next(context.Background()); err == nil {
					if _, ok := m.(AssignmentSet); !ok {
						t.Errorf("the first message is %T", m)
					}
				}
				s.Close(nil)
			}
		})
	}
	wg.Wait()
	if hub.Len() != 0 {
		t.Errorf("%d streams are left", hub.Len())
	}
}
