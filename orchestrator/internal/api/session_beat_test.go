package api

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

func beatOf(u *orchionv1.NodeUsage) *orchionv1.ConnectRequest {
	return &orchionv1.ConnectRequest{Message: &orchionv1.ConnectRequest_Heartbeat{Heartbeat: u}}
}

// TestHeartbeatsOnAStream: they carry the utilisation and keep the node online, and
// the stream ends when they are wrong or the node is not known any more.
func TestHeartbeatsOnAStream(t *testing.T) {
	h := newHarness(t, settings{heartbeats: time.Second})
	a := h.connect(t, "n1")
	client := orchionv1.NewOrchestratorClient(h.conn)
	get := func() *orchionv1.Node {
		t.Helper()
		n, err := client.GetNode(t.Context(), &orchionv1.GetNodeRequest{Id: "n1"})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	began := get().GetLastHeartbeatAt().AsTime()
	for get().GetLastHeartbeatAt().AsTime().Sub(began) < 1500*time.Millisecond { // longer than it may be silent
		a.send(beatOf(&orchionv1.NodeUsage{CpuPercent: 25, MemoryUsedBytes: 1 << 30}))
		n := get()
		if n.GetState() != orchionv1.NodeState_NODE_STATE_ONLINE {
			t.Fatalf("the node is %v while it beats", n.GetState())
		}
	}
	if u := get().GetUsage(); u.GetCpuPercent() != 25 || u.GetMemoryUsedBytes() != 1<<30 {
		t.Errorf("usage = %v", u)
	}

	a.send(beatOf(&orchionv1.NodeUsage{CpuPercent: 25, RunningJobs: -1}))
	_, err := a.stream.Recv()
	wantStatus(t, err, codes.InvalidArgument, "heartbeat.runningJobs")

	a = h.connect(t, "n1")
	if _, err := client.DeregisterNode(context.Background(), &orchionv1.DeregisterNodeRequest{NodeId: "n1", InstanceId: "run"}); err != nil {
		t.Fatal(err)
	}
	_ = a.stream.Send(beatOf(&orchionv1.NodeUsage{})) // the stream may have ended
	_, err = a.stream.Recv()
	wantStatus(t, err, codes.NotFound, "register it (again)")
}
