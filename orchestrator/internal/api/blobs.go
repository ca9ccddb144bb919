package api

import (
	"errors"
	"io"

	"google.golang.org/grpc"

	"github.com/orchion/orchion/orchestrator/internal/blob"
	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// blobs serves orchion.v1.Blobs.
type blobs struct {
	orchionv1.UnimplementedBlobsServer
	cfg *Config
}

const (
	// maxBlobPart bounds the content in one message.
	maxBlobPart = 1 << 20
	// blobPart is how much of a blob is sent in one message.
	blobPart = 256 << 10
)

func digestFromProto(field, text string) (blob.Digest, error) {
	digest, ok := blob.ParseDigest(text)
	if !ok {
		return "", fault.BadField(field, "is %q; a digest is sha256: and 64 hexadecimal digits in lower case", clip(text))
	}
	return digest, nil
}

// PutBlob stores content.
func (s *blobs) PutBlob(stream grpc.ClientStreamingServer[orchionv1.PutBlobRequest, orchionv1.PutBlobResponse]) error {
	ctx := stream.Context()
	in := receive(ctx, stream.Recv)
	first, err := in.next(ctx, "digest", openTimeout)
	if err != nil {
		return err
	}
	digest, err := digestFromProto("digest", first.GetDigest())
	if err != nil {
		return err
	}
	size, err := s.cfg.Blobs.Use(digest)
	if fault.CodeOf(err) == fault.NotFound {
		content := &messages{next: first.GetData(), recv: func() ([]byte, error) {
			m, err := in.next(ctx, "data", uploadPatience)
			return m.GetData(), err
		}}
		size, err = s.cfg.Blobs.Put(ctx, digest, content)
	}
	if err != nil {
		return err
	}
	return stream.SendAndClose(&orchionv1.PutBlobResponse{Digest: string(digest), SizeBytes: size})
}

// messages reads the content that messages carry.
type messages struct {
	next []byte
	recv func() ([]byte, error)
}

func (m *messages) Read(p []byte) (int, error) {
	for len(m.next) == 0 {
		var err error
		if m.next, err = m.recv(); err != nil {
			return 0, err
		}
	}
	if len(m.next) > maxBlobPart {
		return 0, fault.BadField("data", "has %d bytes; at most %d are allowed in one message", len(m.next), maxBlobPart)
	}
	n := copy(p, m.next)
	m.next = m.next[n:]
	return n, nil
}

// GetBlob answers content.
func (s *blobs) GetBlob(req *orchionv1.GetBlobRequest, stream grpc.ServerStreamingServer[orchionv1.GetBlobResponse]) error {
	digest, err := digestFromProto("digest", req.GetDigest())
	if err != nil {
		return err
	}
	content, err := s.cfg.Blobs.Open(digest)
	if err != nil {
		return err
	}
	defer content.Close()
	if err := checkRange("offset", req.GetOffset(), 0, maxBytesQuantity); err != nil {
		return err
	}
	if _, err := content.Seek(req.GetOffset(), io.SeekStart); err != nil {
		return fault.Wrap(fault.Unavailable, err, "the blob %s cannot be read", digest)
	}
	return sendParts(content, func(part []byte) error { return stream.Send(&orchionv1.GetBlobResponse{Data: part}) })
}

// sendParts sends content in messages.
func sendParts(content io.Reader, send func(part []byte) error) error {
	for {
		// Not used again: gRPC may still hold what was sent.
		part := make([]byte, blobPart)
		n, err := io.ReadFull(content, part)
		if n > 0 {
			if err := send(part[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return fault.Wrap(fault.Unavailable, err, "the content cannot be read")
		}
	}
}

// useBlobs sees to it that the blobs of a job that is about to be submitted, or
// of a schedule that is about to be put, are there and stay, and notes how large
// they are.
func useBlobs(blobs *blob.Store, spec *job.Spec) error {
	for i := range files(spec) {
		f := &spec.Container.Files[i]
		if f.Blob == "" {
			continue
		}
		var err error
		if f.Size, err = blobs.Use(f.Blob); fault.CodeOf(err) == fault.NotFound {
			return fault.BadField(indexed("spec.container.files", i)+".blob",
				"is %s, which is not there: upload it first with PUT /api/blobs/{digest}, and submit within an hour", f.Blob)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// files are those that a job is given.
func files(spec *job.Spec) []job.File {
	if spec.Container == nil {
		return nil
	}
	return spec.Container.Files
}
