package session

import (
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/orchion/orchion/node-agent/internal/fakeorchestrator"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// beating is a full set of nothing on a stream that takes heartbeats.
func beating(interval time.Duration) *orchionv1.ConnectResponse {
	return &orchionv1.ConnectResponse{Message: &orchionv1.ConnectResponse_Assignments{
		Assignments: &orchionv1.AssignmentSet{HeartbeatInterval: durationpb.New(interval)},
	}}
}

// TestBeatsOnTheStream: where the orchestrator takes heartbeats on the stream, they go
// there while it lasts, and are calls of their own before and after.
func TestBeatsOnTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := fakeorchestrator.New()
		far.Interval = 2 * time.Second
		far.Start()
		b := newBench(t, far)
		defer b.close()
		b.run()
		s := <-far.Streams
		s.Say(beating(time.Second))
		time.Sleep(20 * time.Second) // the bubble's clock
		synctest.Wait()
		var beats []*orchionv1.NodeUsage
		for len(s.Said) > 0 {
			if u := (<-s.Said).GetHeartbeat(); u != nil {
				beats = append(beats, u)
			}
		}
		// The first is due when the registration said so, then come 18 s of jittered seconds.
		if n := len(beats); n < 18 || n > 22 {
			t.Fatalf("%d heartbeats on the stream in 20 s, want one each second less up to a tenth", n)
		}
		if got := beats[0].GetRunningJobs(); got != 3 {
			t.Errorf("it says %d running jobs, want 3", got)
		}
		if got := b.count("Heartbeat"); got != 0 {
			t.Errorf("%d heartbeats by calls of their own, want none", got)
		}

		far.Fail("Connect", status.Error(codes.Unavailable, "not yet"))
		s.End(status.Error(codes.Unavailable, "the connection was lost"))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := b.count("Heartbeat"); got < 4 {
			t.Errorf("%d heartbeats by calls in 10 s without a stream, want at least 4", got)
		}
	})
}

// TestRegistersAgainWhenTheStreamSaysUnknown: nobody answers heartbeats on a stream, but
// it ends when the node is not known.
func TestRegistersAgainWhenTheStreamSaysUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := fakeorchestrator.New()
		far.Start()
		b := newBench(t, far)
		defer b.close()
		b.run()
		s := <-far.Streams
		s.Say(beating(time.Minute))
		synctest.Wait()
		s.End(status.Error(codes.NotFound, "node-1 is not registered"))
		time.Sleep(time.Second)
		synctest.Wait()
		if got := b.count("RegisterNode"); got != 2 {
			t.Errorf("%d registrations a second after the stream ended, want 2", got)
		}
	})
}
