package api

import (
	"context"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/modelshare"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/modelpull"
)

// ModelPulls has nodes get models, as modelshare.Puller does. Errors are *fault.Error.
type ModelPulls interface {
	Pull(name, image string, nodeIDs []string) ([]modelshare.NodePull, error)
	Look(name string) ([]modelshare.NodePull, error)
}

func (s *models) PullModel(_ context.Context, req *orchionv1.PullModelRequest) (*orchionv1.ModelPull, error) {
	if err := checkModel("model", req.GetModel()); err != nil {
		return nil, err
	}
	if err := checkCount("nodeIds", len(req.GetNodeIds()), modelshare.MaxPulls); err != nil {
		return nil, err
	}
	for i, id := range req.GetNodeIds() {
		if err := checkRequired(indexed("nodeIds", i), id, maxText); err != nil {
			return nil, err
		}
	}
	if len(req.GetImage()) > maxText {
		return nil, fault.BadField("image", "has %d characters; at most %d are allowed", len(req.GetImage()), maxText)
	}
	nodes, err := s.cfg.ModelPulls.Pull(req.GetModel(), req.GetImage(), req.GetNodeIds())
	if err != nil {
		return nil, err
	}
	return modelPullToProto(req.GetModel(), nodes), nil
}

func (s *models) GetModelPull(_ context.Context, req *orchionv1.GetModelPullRequest) (*orchionv1.ModelPull, error) {
	if err := checkModel("model", req.GetModel()); err != nil {
		return nil, err
	}
	nodes, err := s.cfg.ModelPulls.Look(req.GetModel())
	if err != nil {
		return nil, err
	}
	return modelPullToProto(req.GetModel(), nodes), nil
}

var pullStates = map[modelpull.State]orchionv1.ModelPullState{
	modelpull.Pulling: orchionv1.ModelPullState_MODEL_PULL_STATE_PULLING,
	modelpull.Pulled:  orchionv1.ModelPullState_MODEL_PULL_STATE_PULLED,
	modelpull.Failed:  orchionv1.ModelPullState_MODEL_PULL_STATE_FAILED,
}

func modelPullToProto(name string, nodes []modelshare.NodePull) *orchionv1.ModelPull {
	out := &orchionv1.ModelPull{Model: name}
	for _, n := range nodes {
		out.Nodes = append(out.Nodes, &orchionv1.ModelPullNode{
			NodeId: n.NodeID, State: pullStates[n.State], ProgressPercent: n.Percent,
			CompletedBytes: n.CompletedBytes, TotalBytes: n.TotalBytes, Reason: n.Reason,
		})
	}
	return out
}
