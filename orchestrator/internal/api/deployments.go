package api

import (
	"context"

	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/orchion/orchion/orchestrator/internal/model"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// deployments serves orchion.v1.Deployments.
type deployments struct {
	orchionv1.UnimplementedDeploymentsServer
	cfg *Config
}

func (s *deployments) CreateDeployment(ctx context.Context, req *orchionv1.CreateDeploymentRequest) (*orchionv1.Deployment, error) {
	wanted, err := deploymentFromProto(req)
	if err != nil {
		return nil, err
	}
	s.cfg.ModelFit.Learn(ctx, &wanted.Spec)
	d, err := s.cfg.Deployments.Create(ctx, wanted)
	return s.answer(d, err)
}

func (s *deployments) ListDeployments(_ context.Context, req *orchionv1.ListDeploymentsRequest) (*orchionv1.ListDeploymentsResponse, error) {
	selector, err := checkSelector("label", req.GetLabelSelector())
	if err != nil {
		return nil, err
	}
	page, next, err := namedPage(req, s.cfg.Deployments.List(), func(d *model.Deployment) string { return d.Name },
		func(d *model.Deployment) bool { return selector.Matches(d.Labels) }, s.current)
	if err != nil {
		return nil, err
	}
	return &orchionv1.ListDeploymentsResponse{Deployments: page, NextPageToken: next}, nil
}

func (s *deployments) GetDeployment(_ context.Context, req *orchionv1.GetDeploymentRequest) (*orchionv1.Deployment, error) {
	if err := checkDeploymentName("name", req.GetName()); err != nil {
		return nil, err
	}
	d, err := s.cfg.Deployments.Get(req.GetName())
	return s.answer(d, err)
}

func (s *deployments) UpdateDeployment(ctx context.Context, req *orchionv1.UpdateDeploymentRequest) (*orchionv1.Deployment, error) {
	if err := checkDeploymentName("name", req.GetName()); err != nil {
		return nil, err
	}
	d, err := s.cfg.Deployments.Update(ctx, req.GetName(), func(d *model.Deployment) error {
		return changeDeployment(d, req)
	})
	return s.answer(d, err)
}

func (s *deployments) DeleteDeployment(ctx context.Context, req *orchionv1.DeleteDeploymentRequest) (*emptypb.Empty, error) {
	if err := checkDeploymentName("name", req.GetName()); err != nil {
		return nil, err
	}
	if err := s.cfg.Deployments.Delete(ctx, req.GetName()); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

func (s *deployments) answer(d model.Deployment, err error) (*orchionv1.Deployment, error) {
	if err != nil {
		return nil, err
	}
	return s.current(&d), nil
}

// current is a deployment with what its replicas do at this moment.
func (s *deployments) current(d *model.Deployment) *orchionv1.Deployment {
	out := deploymentToProto(d)
	for _, r := range out.GetReplicas() {
		if r.GetNodeId() != "" {
			r.InFlight = int32(s.cfg.InFlight(d.Spec.Model, r.GetNodeId(), r.GetId()))
		}
	}
	return out
}
