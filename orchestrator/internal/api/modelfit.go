package api

import (
	"context"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/fit"
	"github.com/orchion/orchion/orchestrator/internal/model"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// ModelFit answers where models could run, as fit.Fitter does. Errors are
// *fault.Error.
type ModelFit interface {
	Fit(ctx context.Context, ask fit.Ask) (fit.Answer, error)
	// Learn prepares placing a deployment; it takes a short time at most.
	Learn(ctx context.Context, s *model.Spec)
}

// models serves orchion.v1.Models.
type models struct {
	orchionv1.UnimplementedModelsServer
	cfg *Config
}

func (s *models) GetModelFit(ctx context.Context, req *orchionv1.GetModelFitRequest) (*orchionv1.ModelFit, error) {
	if err := checkModel("model", req.GetModel()); err != nil {
		return nil, err
	}
	engine := model.Ollama
	switch req.GetEngine() {
	case "", model.Ollama.String():
	case model.VLLM.String():
		engine = model.VLLM
	case model.External.String():
		engine = model.External
	default:
		return nil, fault.BadField("engine", "is %q; allowed are ollama, vllm and external", clip(req.GetEngine()))
	}
	ask := fit.Ask{Model: req.GetModel(), Engine: engine, Context: req.GetContext(), Parallel: int64(req.GetParallel())}
	a, err := s.cfg.ModelFit.Fit(ctx, ask)
	if err != nil {
		return nil, err
	}
	return modelFitToProto(&a), nil
}

func modelFitToProto(a *fit.Answer) *orchionv1.ModelFit {
	m := &a.Metadata
	out := &orchionv1.ModelFit{
		Model: a.Model, Engine: orchionv1.Engine(a.Engine), Context: a.Context, Parallel: int32(a.Parallel),
		Source: m.Source, SourceNodeId: a.NodeID, Architecture: m.Architecture, Quantization: m.Quantization,
		Parameters: m.Parameters, MaxContext: m.ContextLength,
		WeightBytes: a.Need.Weights, CacheBytes: a.Need.Cache, OverheadBytes: a.Need.Overhead, TotalBytes: a.Need.Total(),
		BytesPerToken: m.BytesPerToken(),
	}
	for i := range a.Nodes {
		n := &a.Nodes[i]
		out.Nodes = append(out.Nodes, &orchionv1.ModelNodeFit{
			NodeId: n.NodeID, Hostname: n.Hostname, Place: orchionv1.ModelPlace(n.Place), Reason: n.Reason,
			GpuFreeBytes: n.GPUFreeBytes, GpuTotalBytes: n.GPUTotalBytes,
			MemoryFreeBytes: n.MemoryFreeBytes, MemoryTotalBytes: n.MemoryTotalBytes, MissingBytes: n.MissingBytes,
			Serving: n.Serving, TokensPerSecond: n.TokensPerSecond, SpeedSource: n.SpeedSource,
		})
	}
	return out
}
