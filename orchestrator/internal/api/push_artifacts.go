package api

import (
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"time"

	"google.golang.org/grpc"

	"github.com/orchion/orchion/orchestrator/internal/blob"
	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// maxArtifactList bounds the artifacts in one message.
const maxArtifactList = 1000

// artifactSessions serves orchion.v1.ArtifactSession.
type artifactSessions struct {
	orchionv1.UnimplementedArtifactSessionServer
	cfg *Config
}

type artifactStream = grpc.BidiStreamingServer[orchionv1.PushArtifactsRequest, orchionv1.PushArtifactsResponse]

// PushArtifacts takes what an attempt left from the node that ran it.
func (s *artifactSessions) PushArtifacts(stream artifactStream) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	in := receive(ctx, stream.Recv)
	ref, err := openAttempt(ctx, s.cfg, in)
	if err != nil {
		return err
	}
	sets, err := s.cfg.Artifacts.ArtifactSets(ctx, ref.JobID)
	if err != nil {
		return err
	}
	opened := &orchionv1.ArtifactsOpened{
		Committed:    slices.ContainsFunc(sets, func(set job.ArtifactSet) bool { return set.Attempt == ref.Attempt }),
		MaxFileBytes: s.cfg.Blobs.MaxBytes(), MaxBytes: s.cfg.ArtifactMaxBytes, MaxFiles: maxArtifacts,
	}
	err = stream.Send(&orchionv1.PushArtifactsResponse{Message: &orchionv1.PushArtifactsResponse_Opened{Opened: opened}})
	if err != nil {
		return err
	}
	p := &artifactPush{cfg: s.cfg, ref: ref, in: in, stream: stream, names: map[string]bool{}}
	return p.take(ctx)
}

// artifactPush takes one stream.
type artifactPush struct {
	cfg    *Config
	ref    job.Ref
	in     *inbox[*orchionv1.PushArtifactsRequest]
	stream artifactStream
	// came is how many bytes did.
	came  int64
	list  []job.Artifact
	names map[string]bool // of the list
	bytes int64           // of the list
}

// take goes on until the list is committed, or the node ends the stream.
func (p *artifactPush) take(ctx context.Context) error {
	for {
		m, err := p.next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch m := m.GetMessage().(type) {
		case *orchionv1.PushArtifactsRequest_Data, *orchionv1.PushArtifactsRequest_End:
			err = p.content(ctx, m)
		case *orchionv1.PushArtifactsRequest_List:
			err = p.listed(m.List.GetArtifacts())
		case *orchionv1.PushArtifactsRequest_Commit:
			return p.commit(ctx)
		default:
			err = fault.BadField("message", "is none that can come here")
		}
		if err != nil {
			return err
		}
	}
}

func (p *artifactPush) next(ctx context.Context) (*orchionv1.PushArtifactsRequest, error) {
	select {
	case m, ok := <-p.in.messages:
		if !ok {
			return nil, p.in.err
		}
		return m, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// content stores one content, of which the first message has come.
func (p *artifactPush) content(ctx context.Context, first any) error {
	var ended bool
	part := func(message any) ([]byte, error) {
		switch m := message.(type) {
		case *orchionv1.PushArtifactsRequest_Data:
			if p.came += int64(len(m.Data)); p.came > p.cfg.ArtifactMaxBytes {
				return nil, fault.BadField("data", "has come to more than %d bytes, which is the most that an attempt may leave; the orchestrator's --artifact-max-bytes says so", p.cfg.ArtifactMaxBytes)
			}
			return m.Data, nil
		case *orchionv1.PushArtifactsRequest_End:
			ended = true
			return nil, io.EOF
		default:
			return nil, fault.BadField("data", "must go on until the end of the content")
		}
	}
	begin, err := part(first)
	if err != nil && !ended {
		return err
	}
	reader := &messages{next: begin, recv: func() ([]byte, error) {
		if ended {
			return nil, io.EOF
		}
		m, err := p.next(ctx)
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF // the content is not whole
		}
		if err != nil {
			return nil, err
		}
		return part(m.GetMessage())
	}}
	digest, _, err := p.cfg.Blobs.Add(ctx, reader)
	if err != nil {
		return err
	}
	return p.stream.Send(&orchionv1.PushArtifactsResponse{Message: &orchionv1.PushArtifactsResponse_Stored{
		Stored: &orchionv1.ContentStored{Digest: string(digest)},
	}})
}

// listed notes what there is.
func (p *artifactPush) listed(list []*orchionv1.Artifact) error {
	if err := checkCount("list.artifacts", len(list), maxArtifactList); err != nil {
		return err
	}
	for i, a := range list {
		at := indexed("list.artifacts", i)
		if err := checkArtifactName(at+".name", a.GetName()); err != nil {
			return err
		}
		if err := checkPath(at+".path", a.GetPath()); err != nil {
			return err
		}
		digest, err := digestFromProto(at+".digest", a.GetDigest())
		if err != nil {
			return err
		}
		if err := checkRange(at+".sizeBytes", a.GetSizeBytes(), 0, math.MaxInt64); err != nil {
			return err
		}
		if a.GetMode() > maxMode {
			return fault.BadField(at+".mode", "is 0%o; it must be between 0 and 0%o", a.GetMode(), maxMode)
		}
		if p.names[a.GetName()] {
			return fault.BadField(at+".name", "is %q, which the list holds already", clip(a.GetName()))
		}
		p.names[a.GetName()] = true
		p.list = append(p.list, job.Artifact{
			Attempt: p.ref.Attempt, Name: a.GetName(), Path: a.GetPath(), Digest: digest, Size: a.GetSizeBytes(), Mode: int(a.GetMode()),
		})
		if p.bytes += min(a.GetSizeBytes(), p.cfg.ArtifactMaxBytes+1); p.bytes > p.cfg.ArtifactMaxBytes {
			return fault.BadField("list.artifacts", "have more than %d bytes together, which is the most that an attempt may leave; the orchestrator's --artifact-max-bytes says so", p.cfg.ArtifactMaxBytes)
		}
	}
	return checkCount("list.artifacts", len(p.list), maxArtifacts)
}

// commit stores the list, if all contents are there.
func (p *artifactPush) commit(ctx context.Context) error {
	committed := &orchionv1.ArtifactsCommitted{}
	sizes := map[blob.Digest]int64{}
	for i := range p.list {
		a := &p.list[i]
		size, known := sizes[a.Digest]
		if !known {
			var err error
			size, err = p.cfg.Blobs.Use(a.Digest)
			if fault.CodeOf(err) == fault.NotFound {
				size = -1
				committed.Missing = append(committed.Missing, string(a.Digest))
			} else if err != nil {
				return err
			}
			sizes[a.Digest] = size
		}
		if size >= 0 && size != a.Size {
			return fault.BadField("list.artifacts", "say that %q has %d bytes, but %s has %d", clip(a.Name), a.Size, a.Digest, size)
		}
	}
	if len(committed.GetMissing()) == 0 {
		if err := p.cfg.Artifacts.PutArtifacts(ctx, p.ref, p.list, time.Now()); err != nil {
			return err
		}
	}
	return p.stream.Send(&orchionv1.PushArtifactsResponse{Message: &orchionv1.PushArtifactsResponse_Committed{Committed: committed}})
}
