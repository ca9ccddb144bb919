package api

import (
	"context"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/node"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// Bounds of the time that jobs get on a node that is drained.
const (
	minDrainDeadline = time.Second
	maxDrainDeadline = 30 * 24 * time.Hour
)

func (s *nodes) CordonNode(ctx context.Context, req *orchionv1.CordonNodeRequest) (*orchionv1.Node, error) {
	return s.edited(req.GetId(), func() (*node.Node, error) { return s.cfg.Nodes.SetCordon(ctx, req.GetId(), true) })
}

func (s *nodes) UncordonNode(ctx context.Context, req *orchionv1.UncordonNodeRequest) (*orchionv1.Node, error) {
	return s.edited(req.GetId(), func() (*node.Node, error) { return s.cfg.Nodes.SetCordon(ctx, req.GetId(), false) })
}

func (s *nodes) DrainNode(ctx context.Context, req *orchionv1.DrainNodeRequest) (*orchionv1.Node, error) {
	drain, err := drainFromProto(req, time.Now())
	if err != nil {
		return nil, err
	}
	return s.edited(req.GetId(), func() (*node.Node, error) { return s.cfg.Nodes.SetDrain(ctx, req.GetId(), drain) })
}

func (s *nodes) UndrainNode(ctx context.Context, req *orchionv1.UndrainNodeRequest) (*orchionv1.Node, error) {
	return s.edited(req.GetId(), func() (*node.Node, error) { return s.cfg.Nodes.SetDrain(ctx, req.GetId(), nil) })
}

// edited answers a node after a change.
func (s *nodes) edited(id string, change func() (*node.Node, error)) (*orchionv1.Node, error) {
	if err := checkID("id", id); err != nil {
		return nil, err
	}
	n, err := change()
	if err != nil {
		return nil, err
	}
	return s.cfg.nodeToProto(n), nil
}

// drainFromProto checks and reads how a node is to be drained from now on.
func drainFromProto(req *orchionv1.DrainNodeRequest, now time.Time) (*node.Drain, error) {
	drain := &node.Drain{Mode: node.DrainFinish, Reason: req.GetReason(), Maintenance: req.GetMaintenance()}
	switch req.GetMode() {
	case orchionv1.DrainMode_DRAIN_MODE_UNSPECIFIED, orchionv1.DrainMode_DRAIN_MODE_FINISH:
	case orchionv1.DrainMode_DRAIN_MODE_MOVE:
		drain.Mode = node.DrainMove
	default:
		return nil, fault.BadField("mode", "is %d; allowed are %s", req.GetMode(), allowed(orchionv1.DrainMode_value))
	}
	deadline, err := duration("deadline", req.GetDeadline(), minDrainDeadline, maxDrainDeadline)
	if err != nil {
		return nil, err
	}
	if deadline > 0 {
		if drain.Mode == node.DrainMove {
			return nil, fault.BadField("deadline", "does not go with DRAIN_MODE_MOVE, which waits for no job; leave one of them out")
		}
		drain.Deadline = now.Add(deadline)
	}
	return drain, checkText("reason", req.GetReason(), maxReason)
}

func (c *Config) drainToProto(n *node.Node) *orchionv1.NodeDrain {
	d := n.Drain
	if d == nil {
		return nil
	}
	return &orchionv1.NodeDrain{
		Since:         timeToProto(d.Since),
		Mode:          orchionv1.DrainMode(d.Mode),
		Deadline:      timeToProto(d.Deadline),
		Reason:        d.Reason,
		Maintenance:   d.Maintenance,
		RemainingJobs: int32(c.Jobs.JobsOn(n.ID)),
	}
}
