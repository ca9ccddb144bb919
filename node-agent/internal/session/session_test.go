package session

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/orchion/orchion/node-agent/internal/fakeorchestrator"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBeatsAtTheDictatedPeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := fakeorchestrator.New()
		far.Interval = 3 * time.Second
		far.Start()
		b := newBench(t, far)
		defer b.close()
		b.run()
		time.Sleep(10*time.Second - time.Millisecond) // the bubble's clock
		synctest.Wait()
		if got := b.count("RegisterNode"); got != 1 {
			t.Errorf("%d registrations, want 1", got)
		}
		if got := b.count("Heartbeat"); got != 3 {
			t.Errorf("%d heartbeats in 10 s at a period of 3 s, want 3", got)
		}
		req := far.Registered()[0]
		if req.GetInstanceId() != "run-1" || req.GetHeartbeatInterval().AsDuration() != 2*time.Second || req.GetNode().GetHostname() != "host" {
			t.Errorf("registration = %v", req)
		}
		if got := far.Usages()[0].GetRunningJobs(); got != 3 {
			t.Errorf("usage says %d running jobs, want 3", got)
		}
	})
}

// A meter that hangs, as nvidia-smi does with a wedged driver, must not cost the node its
// heartbeat.
func TestBeatsWithAMeterThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := fakeorchestrator.New()
		far.Start()
		b := newBench(t, far)
		defer b.close()
		b.membership.cfg.Usage = func(ctx context.Context) *orchionv1.NodeUsage {
			<-ctx.Done()
			return &orchionv1.NodeUsage{RunningJobs: 3}
		}
		b.run()
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if got := b.count("Heartbeat"); got < 5 {
			t.Errorf("%d heartbeats in 30 s, want at least 5", got)
		}
	})
}

func TestRegistersAgainWhenUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := fakeorchestrator.New()
		far.Interval = 5 * time.Second
		far.Start()
		b := newBench(t, far)
		defer b.close()
		b.run()
		synctest.Wait()
		far.Fail("Heartbeat", status.Error(codes.NotFound, "node-1 is not registered"))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := b.count("RegisterNode"); got != 2 {
			t.Errorf("%d registrations after NOT_FOUND, want the second at once", got)
		}
	})
}

func TestRegistersAgainAfterRestartWithinOnePeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := fakeorchestrator.New()
		far.Interval = 5 * time.Second
		far.Start()
		b := newBench(t, far)
		defer b.close()
		b.run()
		synctest.Wait()
		far.Stop()
		time.Sleep(30 * time.Second)
		far.Fail("Heartbeat", status.Error(codes.NotFound, "unknown"))
		far.Fail("Connect", status.Error(codes.NotFound, "unknown"))
		far.Start()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := b.count("RegisterNode"); got < 2 {
			t.Errorf("%d registrations within a period of the restart, want 2", got)
		}
		if n := strings.Count(b.logged.String(), "lost the orchestrator"); n != 1 {
			t.Errorf("the outage was told %d times, want once:\n%s", n, b.logged)
		}
		if n := strings.Count(b.logged.String(), "answers again"); n != 1 {
			t.Errorf("the return was told %d times, want once:\n%s", n, b.logged)
		}
	})
}

func TestStartsBeforeTheOrchestrator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := fakeorchestrator.New()
		b := newBench(t, far)
		defer b.close()
		b.run()
		time.Sleep(time.Minute)
		far.Start()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := b.count("RegisterNode"); got != 1 {
			t.Errorf("%d registrations, want 1", got)
		}
		if n := strings.Count(b.logged.String(), "cannot reach the orchestrator"); n != 1 {
			t.Errorf("said %d times that the orchestrator is not there, want once:\n%s", n, b.logged)
		}
	})
}

func TestEndsForGood(t *testing.T) {
	for _, c := range []struct {
		name, method string
		err          error
		want         string
	}{
		{"superseded at a heartbeat", "Heartbeat", status.Error(codes.Aborted, "taken over"), "another node agent has registered with this node id"},
		{"superseded at the stream", "Connect", status.Error(codes.Aborted, "taken over"), "another node agent has registered with this node id"},
		{"superseded at registration", "RegisterNode", status.Error(codes.Aborted, "taken over"), "another node agent has registered with this node id"},
		{"refused", "RegisterNode", status.Error(codes.InvalidArgument, "node.hostname: must not be empty"), "the orchestrator refuses this node: node.hostname: must not be empty"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				far := fakeorchestrator.New()
				far.Fail(c.method, c.err)
				far.Start()
				b := newBench(t, far)
				defer b.close()
				b.run()
				err := <-b.errs
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error = %v, want it to hold %q", err, c.want)
				}
				if strings.HasPrefix(c.name, "superseded") && !errors.Is(err, ErrSuperseded) {
					t.Errorf("error = %v, want ErrSuperseded", err)
				}
			})
		})
	}
}

func TestLeavesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := fakeorchestrator.New()
		far.Start()
		b := newBench(t, far)
		defer b.close()
		b.run()
		synctest.Wait()
		if err := b.membership.Leave(t.Context(), "stopped"); err != nil {
			t.Fatal(err)
		}
		before := len(b.far.Calls())
		far.Fail("Heartbeat", status.Error(codes.NotFound, "unknown"))
		time.Sleep(time.Minute)
		synctest.Wait()
		if calls := b.far.Calls()[before:]; len(calls) != 0 {
			t.Errorf("calls after leaving: %v, want none", calls)
		}
	})
}

func TestStreamCarriesMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := fakeorchestrator.New()
		far.Start()
		b := newBench(t, far)
		defer b.close()
		b.worker.hello = &orchionv1.Hello{Attempts: []*orchionv1.AttemptStatus{{Ref: ref("held"), State: orchionv1.AttemptState_ATTEMPT_STATE_RUNNING}}}
		b.run()
		s := <-far.Streams
		if s.NodeID != "node-1" || s.InstanceID != "run-1" {
			t.Errorf("stream of %q/%q, want node-1/run-1", s.NodeID, s.InstanceID)
		}
		if got := s.Hello.GetAttempts()[0].GetRef().GetJobId(); got != "held" {
			t.Errorf("hello names %q, want held", got)
		}
		s.Say(&orchionv1.ConnectResponse{Message: &orchionv1.ConnectResponse_Assignments{Assignments: &orchionv1.AssignmentSet{Jobs: []*orchionv1.JobAssignment{{Ref: ref("held")}}}}})
		s.Say(&orchionv1.ConnectResponse{Message: &orchionv1.ConnectResponse_AssignJob{AssignJob: &orchionv1.JobAssignment{Ref: ref("a")}}})
		s.Say(&orchionv1.ConnectResponse{Message: &orchionv1.ConnectResponse_CancelAttempt{CancelAttempt: &orchionv1.CancelAttempt{Ref: ref("a")}}})
		s.Say(&orchionv1.ConnectResponse{Message: &orchionv1.ConnectResponse_AssignReplica{AssignReplica: &orchionv1.ReplicaAssignment{ReplicaId: "r"}}})
		s.Say(&orchionv1.ConnectResponse{Message: &orchionv1.ConnectResponse_RemoveReplica{RemoveReplica: &orchionv1.RemoveReplica{ReplicaId: "r"}}})
		s.Say(&orchionv1.ConnectResponse{Message: &orchionv1.ConnectResponse_AttemptAcknowledged{AttemptAcknowledged: &orchionv1.AttemptAcknowledged{Ref: ref("a")}}})
		s.Say(&orchionv1.ConnectResponse{Message: &orchionv1.ConnectResponse_OpenTunnel{OpenTunnel: &orchionv1.OpenTunnel{TunnelId: "t1"}}})
		synctest.Wait()
		if got, want := b.worker.all(), "set:held job:a cancel:a replica:r remove:r ack:a"; got != want {
			t.Errorf("the worker was told %q, want %q", got, want)
		}
		if o := <-b.tunnels; o.GetTunnelId() != "t1" {
			t.Errorf("tunnel %q, want t1", o.GetTunnelId())
		}

		b.stream.RefuseTunnel("t1", "no such replica")
		if got := (<-s.Said).GetTunnelRefused(); got.GetTunnelId() != "t1" || got.GetReason() != "no such replica" {
			t.Errorf("refusal = %v", got)
		}
		b.stream.TunnelDirect("t2", "127.0.0.1:11434")
		if got := (<-s.Said).GetTunnelDirect(); got.GetTunnelId() != "t2" || got.GetAddress() != "127.0.0.1:11434" {
			t.Errorf("direct way = %v", got)
		}
		b.stream.ReportEngines([]*orchionv1.LocalEngine{{Name: "ollama"}})
		if got := (<-s.Said).GetEnginesChanged().GetEngines(); len(got) != 1 || got[0].GetName() != "ollama" {
			t.Errorf("engines = %v", got)
		}
	})
}

func TestStatusesAreCoalescedAndSaidAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := fakeorchestrator.New()
		far.Start()
		b := newBench(t, far)
		defer b.close()
		// While nobody listens, only the last word on each attempt is kept.
		for _, reason := range []string{"1 %", "2 %", "3 %"} {
			b.stream.ReportAttempt(&orchionv1.AttemptStatus{Ref: ref("a"), Reason: reason})
		}
		messages, _ := b.stream.out.take()
		if len(messages) != 1 || messages[0].GetAttemptStatus().GetReason() != "3 %" {
			t.Fatalf("outbox = %v, want the last status alone", messages)
		}
		b.worker.hello = &orchionv1.Hello{Attempts: []*orchionv1.AttemptStatus{{Ref: ref("a"), State: orchionv1.AttemptState_ATTEMPT_STATE_SUCCEEDED}}}
		b.run()
		s := <-far.Streams
		s.Say(set())
		s.End(status.Error(codes.Unavailable, "the orchestrator is stopping"))
		s = <-far.Streams
		if got := s.Hello.GetAttempts()[0].GetState(); got != orchionv1.AttemptState_ATTEMPT_STATE_SUCCEEDED {
			t.Errorf("the new stream says %v, want what was not acknowledged", got)
		}
	})
}

// What was said of the engines on a stream that breaks may not have arrived, and the node
// does not register again for a broken stream.
func TestEnginesAreSaidAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := fakeorchestrator.New()
		far.Start()
		b := newBench(t, far)
		defer b.close()
		b.run()
		s := <-far.Streams
		s.Say(set())
		b.stream.ReportEngines([]*orchionv1.LocalEngine{{Name: "ollama"}})
		<-s.Said
		s.End(status.Error(codes.Unavailable, "the connection was lost"))
		s = <-far.Streams
		s.Say(set())
		synctest.Wait()
		select {
		case m := <-s.Said:
			if got := m.GetEnginesChanged().GetEngines(); len(got) != 1 || got[0].GetName() != "ollama" {
				t.Errorf("said %v, want the engines", m)
			}
		default:
			t.Error("the new stream does not say the engines")
		}
	})
}

func TestGapOpensANewStream(t *testing.T) {
	for _, c := range []struct {
		name  string
		first *orchionv1.ConnectResponse
		want  string
	}{
		{"a number is left out", &orchionv1.ConnectResponse{Sequence: 2, Message: emptySet.GetMessage()}, "message 2 came where 1 was due"},
		{"no full set", &orchionv1.ConnectResponse{Message: &orchionv1.ConnectResponse_AssignJob{}}, "instead of the assignments"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				far := fakeorchestrator.New()
				far.Start()
				b := newBench(t, far)
				defer b.close()
				b.run()
				s := <-far.Streams
				s.Say(c.first)
				<-far.Streams
				if !strings.Contains(b.logged.String(), c.want) {
					t.Errorf("log does not hold %q:\n%s", c.want, b.logged)
				}
				if got := b.worker.all(); got != "" {
					t.Errorf("the worker was told %q of a broken stream", got)
				}
			})
		})
	}
}

func TestLeasesAreRenewedThriceInTheirLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := fakeorchestrator.New()
		far.LeaseTTL = 9 * time.Second
		far.Start()
		b := newBench(t, far)
		defer b.close()
		b.worker.leases = []*orchionv1.AttemptRef{ref("a")}
		b.run()
		s := <-far.Streams
		began := time.Now()
		s.Say(set())
		for i, at := range []time.Duration{0, 3 * time.Second, 6 * time.Second} {
			renew := (<-s.Said).GetRenewLeases()
			if renew == nil || renew.GetAttempts()[0].GetJobId() != "a" {
				t.Fatalf("message %d = %v, want a renewal of a", i, renew)
			}
			if got := time.Since(began); got != at {
				t.Errorf("renewal %d after %v, want %v", i, got, at)
			}
			asked := time.Now()
			time.Sleep(time.Second)
			s.Say(&orchionv1.ConnectResponse{Message: &orchionv1.ConnectResponse_LeasesRenewed{LeasesRenewed: &orchionv1.LeasesRenewed{
				Sequence: renew.GetSequence(), LeaseTtl: durationpb.New(9 * time.Second), Renewed: renew.GetAttempts(),
			}}})
			synctest.Wait()
			b.worker.mu.Lock()
			if got := b.worker.asked[i]; !got.Equal(asked) {
				t.Errorf("lease %d counts from %v, want from when it was asked for, %v", i, got, asked)
			}
			b.worker.mu.Unlock()
		}
		// An answer to a question that nobody asked grants nothing.
		s.Say(&orchionv1.ConnectResponse{Message: &orchionv1.ConnectResponse_LeasesRenewed{LeasesRenewed: &orchionv1.LeasesRenewed{Sequence: 99}}})
		synctest.Wait()
		if got := strings.Count(b.worker.all(), "renewed"); got != 3 {
			t.Errorf("%d renewals reached the worker, want 3", got)
		}
	})
}
