package api

import (
	"context"

	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/orchion/orchion/orchestrator/internal/alias"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// gatewayService serves orchion.v1.Gateway.
type gatewayService struct {
	orchionv1.UnimplementedGatewayServer
	cfg *Config
}

func (s *gatewayService) ListAliases(_ context.Context, req *orchionv1.ListAliasesRequest) (*orchionv1.ListAliasesResponse, error) {
	page, next, err := namedPage(req, s.cfg.Aliases.List(), func(a *alias.Status) string { return a.Name }, every, aliasToProto)
	if err != nil {
		return nil, err
	}
	return &orchionv1.ListAliasesResponse{Aliases: page, NextPageToken: next}, nil
}

func (s *gatewayService) GetAlias(_ context.Context, req *orchionv1.GetAliasRequest) (*orchionv1.Alias, error) {
	if err := alias.CheckName("name", req.GetName()); err != nil {
		return nil, err
	}
	return answerAlias(s.cfg.Aliases.Get(req.GetName()))
}

func (s *gatewayService) PutAlias(ctx context.Context, req *orchionv1.PutAliasRequest) (*orchionv1.Alias, error) {
	return answerAlias(s.cfg.Aliases.Put(ctx, alias.Alias{Name: req.GetName(), Models: req.GetModels()}))
}

func (s *gatewayService) DeleteAlias(ctx context.Context, req *orchionv1.DeleteAliasRequest) (*emptypb.Empty, error) {
	if err := alias.CheckName("name", req.GetName()); err != nil {
		return nil, err
	}
	if err := s.cfg.Aliases.Delete(ctx, req.GetName()); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

func answerAlias(a alias.Status, err error) (*orchionv1.Alias, error) {
	if err != nil {
		return nil, err
	}
	return aliasToProto(&a), nil
}

func aliasToProto(a *alias.Status) *orchionv1.Alias {
	return &orchionv1.Alias{Name: a.Name, Models: a.Models, LeadsTo: a.LeadsTo, Shadowed: a.Shadowed}
}
