package api

import (
	"context"

	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/orchion/orchion/orchestrator/internal/dispatch"
	"github.com/orchion/orchion/orchestrator/internal/job"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// queues serves orchion.v1.Queues.
type queues struct {
	orchionv1.UnimplementedQueuesServer
	cfg *Config
}

func (s *queues) ListQueues(ctx context.Context, req *orchionv1.ListQueuesRequest) (*orchionv1.ListQueuesResponse, error) {
	all, err := s.cfg.Queues.Queues(ctx) // ordered by name
	if err != nil {
		return nil, err
	}
	page, next, err := namedPage(req, all, func(q *dispatch.QueueStatus) string { return q.Name }, every, queueToProto)
	if err != nil {
		return nil, err
	}
	return &orchionv1.ListQueuesResponse{Queues: page, NextPageToken: next}, nil
}

func (s *queues) GetQueue(ctx context.Context, req *orchionv1.GetQueueRequest) (*orchionv1.Queue, error) {
	if err := job.CheckQueueName("name", req.GetName()); err != nil {
		return nil, err
	}
	return answerQueue(s.cfg.Queues.Queue(ctx, req.GetName()))
}

func (s *queues) PutQueue(ctx context.Context, req *orchionv1.PutQueueRequest) (*orchionv1.Queue, error) {
	return answerQueue(s.cfg.Queues.SetQueue(ctx, req.GetName(), func(q *job.Queue) error {
		q.Weight, q.MaxRunning, q.Paused = int(req.GetWeight()), int(req.GetMaxRunning()), req.GetPaused()
		if req.GetWeight() == 0 {
			q.Weight = 1
		}
		return nil
	}))
}

func (s *queues) UpdateQueue(ctx context.Context, req *orchionv1.UpdateQueueRequest) (*orchionv1.Queue, error) {
	return answerQueue(s.cfg.Queues.SetQueue(ctx, req.GetName(), func(q *job.Queue) error {
		if req.Weight != nil {
			q.Weight = int(req.GetWeight())
		}
		if req.MaxRunning != nil {
			q.MaxRunning = int(req.GetMaxRunning())
		}
		if req.Paused != nil {
			q.Paused = req.GetPaused()
		}
		return nil
	}))
}

func (s *queues) DeleteQueue(ctx context.Context, req *orchionv1.DeleteQueueRequest) (*emptypb.Empty, error) {
	if err := job.CheckQueueName("name", req.GetName()); err != nil {
		return nil, err
	}
	if err := s.cfg.Queues.DeleteQueue(ctx, req.GetName()); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

func answerQueue(q dispatch.QueueStatus, err error) (*orchionv1.Queue, error) {
	if err != nil {
		return nil, err
	}
	return queueToProto(&q), nil
}

func queueToProto(q *dispatch.QueueStatus) *orchionv1.Queue {
	return &orchionv1.Queue{
		Name: q.Name, Weight: int32(q.Weight), MaxRunning: int32(q.MaxRunning), Paused: q.Paused,
		Queued: int64(q.Queued), Running: int64(q.Running),
	}
}
