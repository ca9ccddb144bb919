package api

import (
	"google.golang.org/grpc"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/tunnel"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/streamconn"
)

// tunnels serves orchion.v1.Tunnel: it hands frames over and knows nothing of
// what is in them.
type tunnels struct {
	orchionv1.UnimplementedTunnelServer
	cfg *Config
}

func (s *tunnels) Serve(stream grpc.BidiStreamingServer[orchionv1.ServeRequest, orchionv1.ServeResponse]) error {
	ctx := stream.Context()
	nodeID, err := s.cfg.sendingNode(ctx)
	if err != nil {
		return err
	}
	id := metadataValue(ctx, keyTunnelID)
	if err := checkRequired(keyTunnelID, id, maxText); err != nil {
		return err
	}
	return s.cfg.Tunnels.Accept(nodeID, id, streamconn.OverGRPC(stream))
}

func (s *tunnels) Call(stream grpc.BidiStreamingServer[orchionv1.CallRequest, orchionv1.CallResponse]) error {
	ctx := stream.Context()
	nodeID, err := s.cfg.sendingNode(ctx)
	if err != nil {
		return err
	}
	ref, err := attemptInMetadata(ctx)
	if err != nil {
		return err
	}
	if !s.cfg.Jobs.HoldsAttempt(nodeID, ref) {
		return fault.New(fault.Precondition, "%s is not node %s's, or has ended", ref, nodeID)
	}
	return s.cfg.Tunnels.Call(tunnel.Caller{NodeID: nodeID, Ref: ref}, streamconn.OverGRPC(stream))
}
