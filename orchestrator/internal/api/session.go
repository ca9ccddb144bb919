package api

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"

	"github.com/orchion/orchion/orchestrator/internal/dispatch"
	"github.com/orchion/orchion/orchestrator/internal/fault"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/loopback"
)

// sessions serves orchion.v1.NodeSession.
type sessions struct {
	orchionv1.UnimplementedNodeSessionServer
	cfg *Config
}

type connectStream = grpc.BidiStreamingServer[orchionv1.ConnectRequest, orchionv1.ConnectResponse]

// connection is one node's assignment stream. There are thousands of them, so what
// each costs counts: its handler sends, one goroutine receives, and both wait with
// small stacks, since all that goes deep is done aside.
type connection struct {
	*sessions
	stream             connectStream
	ctx                context.Context //nolint:containedctx // the stream's, and ends with it
	nodeID, instanceID string
	message            nodeMessage   // the last that was received
	hello              inbox[[]byte] // for the first message alone
	opened             chan struct{} // closed when the rest may be handled
	session            *dispatch.Session
	sequence           uint64 // of the last message that was sent
}

// Connect is the assignment stream of a node.
func (s *sessions) Connect(stream connectStream) error {
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	c := &connection{
		sessions: s, stream: stream, ctx: ctx,
		hello: inbox[[]byte]{messages: make(chan []byte)}, opened: make(chan struct{}),
	}
	defer c.end()
	if err := aside(func() error { return c.begin(cancel) }); err != nil {
		return err
	}
	return c.reason(c.send())
}

// begin brings the stream to where messages go both ways.
func (c *connection) begin(cancel context.CancelCauseFunc) (err error) {
	if c.nodeID, err = c.cfg.sendingNode(c.ctx); err != nil {
		return err
	}
	c.instanceID = metadataValue(c.ctx, keyInstanceID)
	// It ends with the stream, which ends when the handler returns.
	go func() { cancel(c.receive()) }()
	first, err := c.hello.first(c.ctx, "hello")
	if err != nil {
		return err
	}
	req, err := decodeConnectRequest(first)
	if err != nil {
		return err
	}
	held, err := helloFromProto(req)
	if err != nil {
		return err
	}

	// What was asked on the node's last stream may have been lost with it.
	c.cfg.Tunnels.SessionLost(c.nodeID)
	c.session = c.cfg.Hub.Attach(c.nodeID)
	// A node that went offline, or was taken over, before its stream was
	// attached was not disconnected with that.
	if _, err := c.cfg.sendingNode(c.ctx); err != nil {
		return err
	}
	set, err := c.adopt(c.ctx, c.session, held)
	if err != nil {
		return err
	}
	c.session.Open(set)
	c.cfg.Logger.Info("node connected", "node", c.nodeID, "address", peerHost(c.ctx),
		"attempts", len(set.Jobs), "replicas", len(set.Replicas))
	close(c.opened)
	return nil
}

// end takes back what begin did, as far as it came.
func (c *connection) end() {
	if c.session == nil {
		return
	}
	c.session.Close(nil)
	if !c.cfg.Hub.Connected(c.nodeID) {
		c.cfg.Tunnels.SessionLost(c.nodeID)
	}
	select {
	case <-c.opened:
		c.cfg.Logger.Info("node disconnected", "node", c.nodeID)
	default:
	}
}

// receive takes what a node says on its stream until that ends or something on it
// is wrong, and answers why.
func (c *connection) receive() error {
	if err := c.next(); err != nil {
		return err
	}
	select {
	case c.hello.messages <- c.message.other:
	case <-c.ctx.Done():
		return nil
	}
	select {
	case <-c.opened:
	case <-c.ctx.Done():
		return nil
	}
	for {
		if err := c.next(); err != nil {
			return err
		}
		if err := aside(c.take); err != nil {
			return err
		}
	}
}

// next receives the next message but for heartbeats, which it takes at once: a node
// lives however much there is to do for it.
func (c *connection) next() error {
	for {
		if err := c.stream.RecvMsg(&c.message); err != nil {
			return err
		}
		if !c.message.beat {
			return nil
		}
		if _, err := c.cfg.Nodes.Heartbeat(c.nodeID, c.instanceID, c.message.usage); err != nil {
			return err
		}
	}
}

// take handles the message that was received.
func (c *connection) take() error {
	req, err := decodeConnectRequest(c.message.other)
	if err != nil {
		return err
	}
	c.message.other = nil
	return c.handle(c.ctx, c.nodeID, req)
}

// reason is why the stream ends, given why sending did: what was wrong with what came
// in, if something was, and nothing when the node has closed it.
func (c *connection) reason(err error) error {
	cause := context.Cause(c.ctx)
	switch {
	case cause == nil:
		return err
	case errors.Is(cause, io.EOF):
		return nil
	default:
		return cause
	}
}

// send sends what there is for the node until the stream ends, and answers why.
func (c *connection) send() error {
	for {
		m, err := c.session.Next(c.ctx)
		if err != nil {
			return err
		}
		if err := aside(func() error { return c.tell(m) }); err != nil {
			return err
		}
	}
}

// tell sends one message.
func (c *connection) tell(m dispatch.Message) error {
	if open, ok := m.(dispatch.OpenTunnel); ok && !loopback.IsPeer(c.ctx) {
		open.Place = loopback.Place{} // it cannot be there, and need not know where that is
		m = open
	}
	out, err := messageToProto(m)
	if err != nil {
		return err
	}
	c.sequence++
	out.Sequence = c.sequence
	return c.stream.Send(out)
}

// aside does something on a goroutine of its own and waits for it, so that what it
// needs of a stack is given back: goroutines that live as long as a node's
// connection keep what they needed most. A panic is answered as an error.
func aside(do func() error) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- newPanicError(p)
			}
		}()
		done <- do()
	}()
	return <-done
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
	case *orchionv1.ConnectRequest_TunnelDirect:
		if !loopback.IsPeer(ctx) {
			return fault.BadField("tunnelDirect", "may only be said over a connection within one machine")
		}
		s.cfg.Tunnels.Direct(nodeID, m.TunnelDirect.GetTunnelId(), m.TunnelDirect.GetAddress())
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
	case *orchionv1.ConnectRequest_Heartbeat:
		usage, err := usageFromProto("heartbeat", m.Heartbeat)
		if err != nil {
			return err
		}
		_, err = s.cfg.Nodes.Heartbeat(nodeID, metadataValue(ctx, keyInstanceID), usage)
		return err
	case *orchionv1.ConnectRequest_Hello:
		return fault.BadField("hello", "may only be the first message of the stream")
	default:
		// A newer node agent may say things that this orchestrator does not
		// know; they are not for it.
		return nil
	}
}
