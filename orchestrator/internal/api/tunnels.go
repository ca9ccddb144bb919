package api

import (
	"context"

	"google.golang.org/grpc"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/tunnel"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
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
	return s.cfg.Tunnels.Accept(nodeID, id, frames{
		ctx:  ctx,
		send: func(data []byte) error { return stream.Send(&orchionv1.ServeResponse{Data: data}) },
		recv: func() ([]byte, error) {
			m, err := stream.Recv()
			return m.GetData(), err
		},
	})
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
	return s.cfg.Tunnels.Call(tunnel.Caller{NodeID: nodeID, Ref: ref}, frames{
		ctx:  ctx,
		send: func(data []byte) error { return stream.Send(&orchionv1.CallResponse{Data: data}) },
		recv: func() ([]byte, error) {
			m, err := stream.Recv()
			return m.GetData(), err
		},
	})
}

// frames makes a stream of messages a tunnel.FrameStream.
type frames struct {
	ctx  context.Context
	send func([]byte) error
	recv func() ([]byte, error)
}

func (f frames) Send(data []byte) error   { return f.send(data) }
func (f frames) Recv() ([]byte, error)    { return f.recv() }
func (f frames) Context() context.Context { return f.ctx }
