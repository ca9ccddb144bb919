package api

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/modelshare"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// ModelFiles finds the files of models on other nodes, as modelshare.Broker
// does.
type ModelFiles interface {
	Open(ctx context.Context, ask modelshare.Ask, awaited func(nodeID string)) (*modelshare.File, error)
}

// FetchModel carries a file of a model to a node that is to serve it.
func (s *sessions) FetchModel(req *orchionv1.FetchModelRequest, stream grpc.ServerStreamingServer[orchionv1.FetchModelResponse]) error {
	ctx := stream.Context()
	nodeID, err := s.cfg.sendingNode(ctx)
	if err != nil {
		return err
	}
	if err := checkRequired("replica_id", req.GetReplicaId(), maxText); err != nil {
		return err
	}
	if req.GetDigest() != "" {
		if _, err := digestFromProto("digest", req.GetDigest()); err != nil {
			return err
		}
	}
	if req.GetOffset() < 0 {
		return fault.BadField("offset", "is %d; it must not be negative", req.GetOffset())
	}
	ask := modelshare.Ask{NodeID: nodeID, ReplicaID: req.GetReplicaId(), Digest: req.GetDigest(), Offset: req.GetOffset()}
	file, err := s.cfg.ModelFiles.Open(ctx, ask, func(source string) {
		// A stream that is broken ends ctx, and with it Open.
		_ = stream.Send(&orchionv1.FetchModelResponse{Message: &orchionv1.FetchModelResponse_Awaited{
			Awaited: &orchionv1.ModelFileAwaited{NodeId: source},
		}})
	})
	if err != nil {
		return err
	}
	defer file.Close()
	found := &orchionv1.ModelFileFound{NodeId: file.NodeID, TotalBytes: file.Total}
	if err := stream.Send(&orchionv1.FetchModelResponse{Message: &orchionv1.FetchModelResponse_Found{Found: found}}); err != nil {
		return err
	}
	return sendFile(stream, file)
}

func sendFile(stream grpc.ServerStreamingServer[orchionv1.FetchModelResponse], file *modelshare.File) error {
	buf := make([]byte, blobPart)
	for {
		n, broken := 0, error(nil)
		for n < len(buf) && broken == nil {
			var more int
			more, broken = file.Read(buf[n:])
			n += more
		}
		if n > 0 {
			part := &orchionv1.FetchModelResponse{Message: &orchionv1.FetchModelResponse_Data{Data: buf[:n]}}
			if err := stream.Send(part); err != nil {
				return err
			}
		}
		if errors.Is(broken, io.EOF) {
			return nil
		}
		if broken != nil {
			return fault.Wrap(fault.Unavailable, broken, "node %s broke off the file", file.NodeID)
		}
	}
}
