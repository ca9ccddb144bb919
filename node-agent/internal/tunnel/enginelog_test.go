package tunnel

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"google.golang.org/protobuf/encoding/protodelim"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

func askLog(id string, follow bool) *orchionv1.OpenTunnel {
	return &orchionv1.OpenTunnel{TunnelId: id, Target: &orchionv1.OpenTunnel_EngineLog{
		EngineLog: &orchionv1.EngineLog{ReplicaId: "r1", Tail: 2, Follow: follow},
	}}
}

func texts(t *testing.T, in io.Reader) (all []string) {
	t.Helper()
	for r := bufio.NewReader(in); ; {
		entry := &orchionv1.LogEntry{}
		err := protodelim.UnmarshalFrom(r, entry)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, entry.GetText())
	}
}

func TestEngineLog(t *testing.T) {
	for _, tt := range []struct {
		name string
		fail error
		want string
	}{
		{"whole", nil, "[one two]"},
		{"broken off", errors.New("the engine is gone"), "[one two the log broke off here: the engine is gone]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := &orchestrator{}
			s, _ := startServer(t, o, Config{OpenLog: func(_ context.Context, ask *orchionv1.EngineLog) (Log, error) {
				if ask.GetReplicaId() != "r1" || ask.GetTail() != 2 {
					t.Errorf("asked for %v", ask)
				}
				return func(_ context.Context, handle func(*orchionv1.LogEntry) error) error {
					return errors.Join(handle(&orchionv1.LogEntry{Text: "one"}), handle(&orchionv1.LogEntry{Text: "two"}), tt.fail)
				}, nil
			}})
			s.Open(askLog("t1", false))
			got := <-o.tunnels
			if read := texts(t, got.conn); fmt.Sprint(read) != tt.want {
				t.Errorf("read %v, want %s", read, tt.want)
			}
			got.conn.Close()
		})
	}
}

// Who follows a log and leaves ends the reading.
func TestEngineLogFollowerLeaves(t *testing.T) {
	o := &orchestrator{}
	ended := make(chan struct{})
	s, _ := startServer(t, o, Config{OpenLog: func(context.Context, *orchionv1.EngineLog) (Log, error) {
		return func(ctx context.Context, handle func(*orchionv1.LogEntry) error) error {
			defer close(ended)
			err := handle(&orchionv1.LogEntry{Text: "one"})
			<-ctx.Done()
			return errors.Join(err, ctx.Err())
		}, nil
	}})
	s.Open(askLog("t1", true))
	got := <-o.tunnels
	entry := &orchionv1.LogEntry{}
	if err := protodelim.UnmarshalFrom(bufio.NewReader(got.conn), entry); err != nil || entry.GetText() != "one" {
		t.Errorf("read %v, %v", entry, err)
	}
	got.conn.Close()
	<-ended
}

func TestEngineLogIsRefused(t *testing.T) {
	s, refused := startServer(t, &orchestrator{}, Config{OpenLog: func(context.Context, *orchionv1.EngineLog) (Log, error) {
		return nil, errors.New("there is no container yet")
	}})
	s.Open(askLog("t1", false))
	if got := <-refused; got != (refusal{"t1", "there is no container yet"}) {
		t.Errorf("refused with %v", got)
	}
	s, refused = startServer(t, &orchestrator{}, Config{})
	s.Open(askLog("t2", false))
	if got := <-refused; got.id != "t2" {
		t.Errorf("refused with %v", got)
	}
}
