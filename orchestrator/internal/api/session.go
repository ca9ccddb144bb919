package api

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"

	"github.com/orchion/orchion/orchestrator/internal/dispatch"
	"github.com/orchion/orchion/orchestrator/internal/fault"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// sessions serves orchion.v1.NodeSession.
type sessions struct {
	orchionv1.UnimplementedNodeSessionServer
	cfg *Config
}

type connectStream = grpc.BidiStreamingServer[orchionv1.ConnectRequest, orchionv1.ConnectResponse]

// Connect is the assignment stream of a node.
func (s *sessions) Connect(stream connectStream) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	nodeID, err := s.cfg.sendingNode(ctx)
	if err != nil {
		return err
	}
	in := receive(ctx, stream.Recv)
	first, err := in.first(ctx, "hello")
	if err != nil {
		return err
	}
	held, err := helloFromProto(first)
	if err != nil {
		return err
	}

	// What was asked on the node's last stream may have been lost with it.
	s.cfg.Tunnels.SessionLost(nodeID)
	session := s.cfg.Hub.Attach(nodeID)
	defer func() {
		session.Close(nil)
		if !s.cfg.Hub.Connected(nodeID) {
			s.cfg.Tunnels.SessionLost(nodeID)
		}
	}()
	// A node that went offline, or was taken over, before its stream was
	// attached was not disconnected with that.
	if _, err := s.cfg.sendingNode(ctx); err != nil {
		return err
	}
	set, err := s.adopt(ctx, session, held)
	if err != nil {
		return err
	}
	session.Open(set)
	s.cfg.Logger.Info("node connected", "node", nodeID, "address", peerHost(ctx),
		"attempts", len(set.Jobs), "replicas", len(set.Replicas))
	defer s.cfg.Logger.Info("node disconnected", "node", nodeID)

	// The sender ends with ctx or, when the stream takes nothing more, with
	// the stream, which ends when this handler returns.
	sent := make(chan error, 1)
	go func() { sent <- sendMessages(ctx, session, stream) }()
	for {
		select {
		case m, ok := <-in.messages:
			if !ok {
				if errors.Is(in.err, io.EOF) {
					return nil
				}
				return in.err
			}
			if err := s.handle(ctx, nodeID, m); err != nil {
				return err
			}
		case err := <-sent:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// adopt reconciles what a node holds with what it should run.
func (s *sessions) adopt(ctx context.Context, session *dispatch.Session, held hello) (dispatch.AssignmentSet, error) {
	var set dispatch.AssignmentSet
	jobs, err := s.cfg.Jobs.Connected(ctx, session, held.attempts)
	if err != nil {
		return set, err
	}
	set.Jobs = jobs
	replicas, err := s.cfg.Deployments.Connected(ctx, session.NodeID(), held.replicas)
	if err != nil {
		return set, err
	}
	for _, r := range replicas {
		set.Replicas = append(set.Replicas, dispatch.ReplicaAssignment(r))
	}
	return set, nil
}

func sendMessages(ctx context.Context, session *dispatch.Session, stream connectStream) error {
	for sequence := uint64(1); ; sequence++ {
		m, err := session.Next(ctx)
		if err != nil {
			return err
		}
		out, err := messageToProto(m)
		if err != nil {
			return err
		}
		out.Sequence = sequence
		if err := stream.Send(out); err != nil {
			return err
		}
	}
}

// handle takes one message of a node. An error ends the stream; the node then
// connects again and says all that it holds.
func (s *sessions) handle(ctx context.Context, nodeID string, req *orchionv1.ConnectRequest) error {
	switch m := req.GetMessage().(type) {
	case *orchionv1.ConnectRequest_AttemptStatus:
		status, err := attemptStatusFromProto("attemptStatus", m.AttemptStatus)
		if err != nil {
			return err
		}
		return s.cfg.Jobs.AttemptStatus(ctx, nodeID, status)
	case *orchionv1.ConnectRequest_ReplicaStatus:
		status, err := replicaStatusFromProto("replicaStatus", m.ReplicaStatus)
		if err != nil {
			return err
		}
		s.cfg.Deployments.ReplicaStatus(ctx, nodeID, status)
		return nil
	case *orchionv1.ConnectRequest_RenewLeases:
		refs, err := refsFromProto("renewLeases.attempts", m.RenewLeases.GetAttempts())
		if err != nil {
			return err
		}
		return s.cfg.Jobs.RenewLeases(ctx, nodeID, m.RenewLeases.GetSequence(), refs)
	case *orchionv1.ConnectRequest_TunnelRefused:
		s.cfg.Tunnels.Refused(nodeID, m.TunnelRefused.GetTunnelId(), cut(m.TunnelRefused.GetReason(), maxStatusReason))
		return nil
	case *orchionv1.ConnectRequest_EnginesChanged:
		engines, err := enginesFromProto("enginesChanged.engines", m.EnginesChanged.GetEngines())
		if err != nil {
			return err
		}
		return s.cfg.Nodes.SetEngines(nodeID, metadataValue(ctx, keyInstanceID), engines)
	case *orchionv1.ConnectRequest_Hello:
		return fault.BadField("hello", "may only be the first message of the stream")
	default:
		// A newer node agent may say things that this orchestrator does not
		// know; they are not for it.
		return nil
	}
}
