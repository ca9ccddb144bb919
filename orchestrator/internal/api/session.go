package api

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/orchion/orchion/orchestrator/internal/dispatch"
	"github.com/orchion/orchion/orchestrator/internal/fault"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/loopback"
)

// sessions serves orchion.v1.NodeSession.
type sessions struct {
	orchionv1.UnimplementedNodeSessionServer
	cfg     *Config
	closing context.Context //nolint:containedctx // the server's: streams end with it
}

type connectStream = grpc.BidiStreamingServer[orchionv1.ConnectRequest, orchionv1.ConnectResponse]

// connection is one node's assignment stream. There are thousands of them, so what
// each costs counts: its handler receives, a goroutine sends only while there is
// something to be sent, and all that goes deep is done aside, so that the handler's
// stack stays as small as gRPC allows.
type connection struct {
	*sessions
	stream             connectStream
	status             statusWriter          // of the stream
	ctx                context.Context       //nolint:containedctx // the stream's, and ends with it
	ended              atomic.Pointer[error] // why, once it is so far
	nodeID, instanceID string
	message            nodeMessage // the last that was received
	session            *dispatch.Session
	opened             bool   // the node has the full set, or is about to
	sequence           uint64 // of the last message that was sent
}

// Connect is the assignment stream of a node.
func (s *sessions) Connect(stream connectStream) error {
	c := &connection{sessions: s, stream: stream, ctx: stream.Context()}
	var ok bool
	if c.status, ok = grpc.ServerTransportStreamFromContext(c.ctx).(statusWriter); !ok {
		return fault.New(fault.Internal, "gRPC's streams cannot be ended while something is received on them")
	}
	stop := context.AfterFunc(s.closing, func() { c.abort(errShuttingDown) })
	defer stop()
	defer c.end()
	err := c.serve()
	if c.ended.CompareAndSwap(nil, &err) && errors.Is(err, io.EOF) {
		return nil // the node has closed it
	}
	return *c.ended.Load()
}

// statusWriter is what gRPC's streams have, and do not show, that ends a stream with
// a status. A handler that waits for a message could otherwise only be cancelled, and
// gRPC would tell the node of that before the handler can say why; a second goroutine
// for each connection would be the price of the reason.
type statusWriter interface {
	WriteStatus(s *status.Status) error
}

// abort ends the stream for a reason, from whatever goroutine, and does not block.
func (c *connection) abort(reason error) {
	if !c.ended.CompareAndSwap(nil, &reason) {
		return
	}
	s, _ := statusOf(reason)
	_ = c.status.WriteStatus(s) // one that is gone needs none
}

// serve takes what a node says on its stream until that ends or something on it is
// wrong, and answers why.
func (c *connection) serve() error {
	if err := aside(c.identify); err != nil {
		return err
	}
	patience := time.AfterFunc(openTimeout, func() { c.abort(unsaid("hello", openTimeout)) })
	err := c.next()
	patience.Stop()
	if err != nil {
		return err
	}
	if err := aside(c.begin); err != nil {
		return err
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

// identify finds out whose stream it is.
func (c *connection) identify() (err error) {
	c.nodeID, err = c.cfg.sendingNode(c.ctx)
	c.instanceID = metadataValue(c.ctx, keyInstanceID)
	return err
}

// begin brings the stream, on which the first message has come, to where messages go
// both ways.
func (c *connection) begin() error {
	req, err := c.decode()
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
	c.session.Deliver(func(m dispatch.Message) error { return caught(func() error { return c.tell(m) }) }, c.abort)
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
	c.opened = true
	c.cfg.Logger.Info("node connected", "node", c.nodeID, "address", peerHost(c.ctx),
		"attempts", len(set.Jobs), "replicas", len(set.Replicas))
	return nil
}

// end takes back what begin did, as far as it came, and lets nothing be sent after it.
func (c *connection) end() {
	if c.session == nil {
		return
	}
	c.session.Close(nil)
	c.session.Wait()
	if !c.cfg.Hub.Connected(c.nodeID) {
		c.cfg.Tunnels.SessionLost(c.nodeID)
	}
	if c.opened {
		c.cfg.Logger.Info("node disconnected", "node", c.nodeID)
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

// decode decodes the message that was received.
func (c *connection) decode() (*orchionv1.ConnectRequest, error) {
	req, err := decodeConnectRequest(c.message.other)
	c.message.other = nil
	return req, err
}

// take handles the message that was received.
func (c *connection) take() error {
	req, err := c.decode()
	if err != nil {
		return err
	}
	return c.handle(c.ctx, c.nodeID, req)
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
	go func() { done <- caught(do) }()
	return <-done
}

// caught does something and answers a panic as an error.
func caught(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = newPanicError(p)
		}
	}()
	return do()
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
