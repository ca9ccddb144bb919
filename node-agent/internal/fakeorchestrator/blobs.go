package fakeorchestrator

import (
	"crypto/sha256"
	"encoding/hex"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// blobPart is how much of a blob is sent in one message.
const blobPart = 1000

// AddBlob has the orchestrator hold content, and answers its digest.
func (f *Fake) AddBlob(content []byte) (digest string) {
	sum := sha256.Sum256(content)
	digest = "sha256:" + hex.EncodeToString(sum[:])
	f.SetBlob(digest, content)
	return digest
}

// SetBlob has the orchestrator hold content under a digest that need not be its own.
func (f *Fake) SetBlob(digest string, content []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.blobs == nil {
		f.blobs = map[string][]byte{}
	}
	f.blobs[digest] = content
}

// CutBlobs breaks the next n streams of blobs after their first message.
func (f *Fake) CutBlobs(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cutBlobs = n
}

// GetBlob implements orchionv1.BlobsServer.
func (f *Fake) GetBlob(req *orchionv1.GetBlobRequest, stream grpc.ServerStreamingServer[orchionv1.GetBlobResponse]) error {
	if err := f.called("GetBlob"); err != nil {
		return err
	}
	f.mu.Lock()
	content, there := f.blobs[req.GetDigest()]
	cut := f.cutBlobs > 0
	if cut {
		f.cutBlobs--
	}
	f.mu.Unlock()
	if !there {
		return status.Errorf(codes.NotFound, "there is no blob %s", req.GetDigest())
	}
	for rest := content[req.GetOffset():]; len(rest) > 0; {
		part := rest[:min(blobPart, len(rest))]
		if err := stream.Send(&orchionv1.GetBlobResponse{Data: part}); err != nil {
			return err
		}
		if cut {
			return status.Error(codes.Unavailable, "the orchestrator is stopping")
		}
		rest = rest[len(part):]
	}
	return nil
}
