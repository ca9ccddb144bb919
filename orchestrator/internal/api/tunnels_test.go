package api

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/orchion/orchion/orchestrator/internal/dispatch"
	"github.com/orchion/orchion/orchestrator/internal/tunnel"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/loopback"
)

// Who is not on the orchestrator's machine has nothing to name there, and is not told
// which machine that is.
func TestTunnelDirectFromElsewhere(t *testing.T) {
	if out, err := messageToProto(dispatch.OpenTunnel{Place: loopback.Place{BootID: "b", NetworkNamespace: 7}}); err != nil || out.GetOpenTunnel().GetPlace().GetNetworkNamespace() != 7 {
		t.Fatalf("asking one on this machine is %v, %v", out, err)
	}
	h := newHarness(t, settings{})
	a := h.connect(t, "n1")
	failed := make(chan error, 1)
	go func() {
		_, err := h.tunnels.Dial(t.Context(), "n1", tunnel.Target{ReplicaID: "r1"})
		failed <- err
	}()
	asked := a.receive().GetOpenTunnel()
	if asked.GetPlace() != nil {
		t.Errorf("asked with %v", asked)
	}
	a.send(&orchionv1.ConnectRequest{Message: &orchionv1.ConnectRequest_TunnelDirect{
		TunnelDirect: &orchionv1.TunnelDirect{TunnelId: asked.GetTunnelId(), Address: "127.0.0.1:11434"},
	}})
	if _, err := a.stream.Recv(); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "tunnelDirect") {
		t.Errorf("the stream ended with %v", err)
	}
	if err := <-failed; err == nil || !strings.Contains(err.Error(), "lost") {
		t.Errorf("Dial answers %v", err)
	}
}
