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

// Connect is the assignment stream of a node. Its handler sends, and one goroutine
// receives: there are thousands of these streams, so what each costs counts.
func (s *sessions) Connect(stream connectStream) error {
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	nodeID, err := s.cfg.sendingNode(ctx)
	if err != nil {
		return err
	}
	r := &receiver{
		sessions: s, stream: stream, nodeID: nodeID, instanceID: metadataValue(ctx, keyInstanceID),
		hello: inbox[*orchionv1.ConnectRequest]{messages: make(chan *orchionv1.ConnectRequest)}, opened: make(chan struct{}),
	}
	// It ends with the stream, which ends when this handler returns.
	go func() { cancel(r.run(ctx)) }()
	first, err := r.hello.first(ctx, "hello")
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
	close(r.opened)
	return r.reason(ctx, sendMessages(ctx, session, stream))
}

// receiver takes what a node says on its stream.
type receiver struct {
	*sessions
	stream             connectStream
	nodeID, instanceID string
	hello              inbox[*orchionv1.ConnectRequest] // for the first message alone
	opened             chan struct{}                    // closed when the rest may be handled
}

// run receives until the stream ends or something on it is wrong, and answers why.
func (r *receiver) run(ctx context.Context) error {
	m, err := r.recv()
	if err != nil {
		return err
	}
	select {
	case r.hello.messages <- m:
	case <-ctx.Done():
		return nil
	}
	select {
	case <-r.opened:
	case <-ctx.Done():
		return nil
	}
	for {
		m, err := r.recv()
		if err != nil {
			return err
		}
		if err := r.handle(ctx, r.nodeID, m); err != nil {
			return err
		}
	}
}

// recv receives the next message but for heartbeats, which it takes at once: a node
// lives however much there is to do for it.
func (r *receiver) recv() (*orchionv1.ConnectRequest, error) {
	for {
		m, err := r.stream.Recv()
		if err != nil {
			return nil, err
		}
		beat, ok := m.GetMessage().(*orchionv1.ConnectRequest_Heartbeat)
		if !ok {
			return m, nil
		}
		usage, err := usageFromProto("heartbeat", beat.Heartbeat)
		if err != nil {
			return nil, err
		}
		if _, err := r.cfg.Nodes.Heartbeat(r.nodeID, r.instanceID, usage); err != nil {
			return nil, err
		}
	}
}

// reason is why the stream ends, given why sending did: what was wrong with what came
// in, if something was, and nothing when the node has closed it.
func (r *receiver) reason(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	switch {
	case cause == nil:
		return err
	case errors.Is(cause, io.EOF):
		return nil
	default:
		return cause
	}
}

// adopt reconciles what a node holds with what it should run.
func (s *sessions) adopt(ctx context.Context, session *dispatch.Session, held hello) (dispatch.AssignmentSet, error) {
	var set dispatch.AssignmentSet
	interval, err := s.cfg.Nodes.HeartbeatInterval(session.NodeID())
	if err != nil {
		return set, err
	}
	set.HeartbeatInterval = interval
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
	case *orchionv1.ConnectRequest_ImagesChanged:
		images, err := imagesFromProto("imagesChanged.images", m.ImagesChanged.GetImages())
		if err != nil {
			return err
		}
		s.cfg.Jobs.NodeImages(nodeID, images)
		return nil
	case *orchionv1.ConnectRequest_Hello:
		return fault.BadField("hello", "may only be the first message of the stream")
	default:
		// A newer node agent may say things that this orchestrator does not
		// know; they are not for it.
		return nil
	}
}
