package api

import (
	"context"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/node"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

func (s *nodes) TaintNode(ctx context.Context, req *orchionv1.TaintNodeRequest) (*orchionv1.Node, error) {
	if err := checkSomeTaints(req.GetTaints()); err != nil {
		return nil, err
	}
	return s.edited(req.GetId(), func() (*node.Node, error) { return s.cfg.Nodes.Taint(ctx, req.GetId(), req.GetTaints()) })
}

func (s *nodes) UntaintNode(ctx context.Context, req *orchionv1.UntaintNodeRequest) (*orchionv1.Node, error) {
	if err := checkSomeTaints(req.GetTaints()); err != nil {
		return nil, err
	}
	return s.edited(req.GetId(), func() (*node.Node, error) { return s.cfg.Nodes.Untaint(ctx, req.GetId(), req.GetTaints()) })
}

func checkSomeTaints(taints []string) error {
	if len(taints) == 0 {
		return fault.BadField("taints", "must name at least one taint")
	}
	return checkTaints("taints", taints)
}
