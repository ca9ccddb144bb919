package fakeorchestrator

import (
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// SetModelFile has another node give a file of a model: the manifest under an empty digest.
func (f *Fake) SetModelFile(digest string, content []byte) { f.SetBlob("model "+digest, content) }

// FetchModel implements orchionv1.NodeSessionServer. CutBlobs holds for it, too.
func (f *Fake) FetchModel(req *orchionv1.FetchModelRequest, stream grpc.ServerStreamingServer[orchionv1.FetchModelResponse]) error {
	if err := f.called("FetchModel"); err != nil {
		return err
	}
	f.mu.Lock()
	content, there := f.blobs["model "+req.GetDigest()]
	cut := f.cutBlobs > 0
	if cut {
		f.cutBlobs--
	}
	f.mu.Unlock()
	if !there {
		return status.Error(codes.NotFound, "no node has the model")
	}
	first := []*orchionv1.FetchModelResponse{
		{Message: &orchionv1.FetchModelResponse_Awaited{Awaited: &orchionv1.ModelFileAwaited{NodeId: "n2"}}},
		{Message: &orchionv1.FetchModelResponse_Found{Found: &orchionv1.ModelFileFound{NodeId: "n2", TotalBytes: int64(len(content))}}},
	}
	for rest := content[req.GetOffset():]; len(rest) > 0 || len(first) > 0; {
		var m *orchionv1.FetchModelResponse
		if len(first) > 0 {
			m, first = first[0], first[1:]
		} else {
			part := rest[:min(blobPart, len(rest))]
			m = &orchionv1.FetchModelResponse{Message: &orchionv1.FetchModelResponse_Data{Data: part}}
			rest = rest[len(part):]
		}
		if err := stream.Send(m); err != nil {
			return err
		}
		if cut && m.GetData() != nil {
			return status.Error(codes.Unavailable, "node n2 broke off the file")
		}
	}
	return nil
}
