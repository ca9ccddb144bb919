package api

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/orchion/orchion/orchestrator/internal/gateway/routing"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

func (s *gatewayService) ListModelQueues(_ context.Context, req *orchionv1.ListModelQueuesRequest) (*orchionv1.ListModelQueuesResponse, error) {
	if err := checkTrafficOf(req.GetModel()); err != nil {
		return nil, err
	}
	queues, _ := s.cfg.Traffic(req.GetModel())
	now := time.Now()
	page, next, err := namedPage(req, queues, func(q *routing.QueueStatus) string { return q.Model }, every,
		func(q *routing.QueueStatus) *orchionv1.ModelQueue { return modelQueueToProto(q, now) })
	if err != nil {
		return nil, err
	}
	return &orchionv1.ListModelQueuesResponse{Queues: page, NextPageToken: next}, nil
}

func (s *gatewayService) ListModelReplicas(_ context.Context, req *orchionv1.ListModelReplicasRequest) (*orchionv1.ListModelReplicasResponse, error) {
	if err := checkTrafficOf(req.GetModel()); err != nil {
		return nil, err
	}
	_, replicas := s.cfg.Traffic(req.GetModel())
	slices.SortFunc(replicas, func(a, b routing.ReplicaStatus) int { return strings.Compare(placeOf(&a), placeOf(&b)) })
	page, next, err := namedPage(req, replicas, placeOf, every, modelReplicaToProto)
	if err != nil {
		return nil, err
	}
	return &orchionv1.ListModelReplicasResponse{Replicas: page, NextPageToken: next}, nil
}

func checkTrafficOf(name string) error {
	if name == "" {
		return nil
	}
	return checkModel("model", name)
}

// placeOf orders replicas by their model and node. No model's name and no id has a space.
func placeOf(r *routing.ReplicaStatus) string {
	return strings.Join([]string{r.Route.Model, r.Route.NodeID, cmp.Or(r.Route.ReplicaID, r.Route.EngineEndpoint)}, " ")
}

func modelQueueToProto(q *routing.QueueStatus, now time.Time) *orchionv1.ModelQueue {
	out := &orchionv1.ModelQueue{
		Model: q.Model, Interactive: int32(q.Interactive), Batch: int32(q.Batch), InFlight: int32(q.InFlight),
		Replicas: int32(q.Replicas), MaxInFlight: int32(q.MaxInFlight), MaxQueued: int32(q.MaxQueued),
	}
	if !q.Oldest.IsZero() {
		out.Oldest = durationpb.New(now.Sub(q.Oldest))
	}
	return out
}

func modelReplicaToProto(r *routing.ReplicaStatus) *orchionv1.ModelReplica {
	out := &orchionv1.ModelReplica{
		Model: r.Route.Model, NodeId: r.Route.NodeID, ReplicaId: r.Route.ReplicaID, EngineEndpoint: r.Route.EngineEndpoint,
		Engine: r.Route.Engine, InFlight: int32(r.InFlight), MaxInFlight: int32(r.Route.MaxInFlight),
		Breaker: r.Breaker.String(), TokensPerSecond: r.Rate,
	}
	if r.RetryAfter > 0 {
		out.RetryAfter = durationpb.New(r.RetryAfter)
	}
	if r.First > 0 {
		out.FirstToken = durationpb.New(r.First)
	}
	return out
}
