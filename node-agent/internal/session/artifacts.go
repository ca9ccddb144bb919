package session

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

const (
	// artifactPart is how much of a content is sent in one message.
	artifactPart = 256 << 10
	// listPart is how many artifacts are listed in one message.
	listPart = 500
	// artifactPatience is how long sending may get no further: the orchestrator is away, or
	// has no room.
	artifactPatience = time.Hour
)

// Artifact is one file that an attempt left.
type Artifact struct {
	Name, Path string
	Size       int64
	Mode       uint32 // permissions
	ModTime    time.Time
	// SameAs is the Path of an artifact before it that has its content; then there is no
	// Content.
	SameAs  string
	Content io.Reader // of Size bytes
}

// ArtifactLimits are those of the orchestrator.
type ArtifactLimits struct {
	FileBytes, Bytes int64 // of one, and of all together
	Files            int
}

// ArtifactSource reads what an attempt left, from its beginning, and hands each file to
// emit. It returns emit's error as it is.
type ArtifactSource func(ctx context.Context, limits ArtifactLimits, emit func(*Artifact) error) error

// Artifacts sends what attempts left to the orchestrator.
type Artifacts struct {
	client orchionv1.ArtifactSessionClient
	reach  *Reach
	logger *slog.Logger
}

// NewArtifacts makes an Artifacts that speaks through client.
func NewArtifacts(client orchionv1.ArtifactSessionClient, reach *Reach, logger *slog.Logger) *Artifacts {
	return &Artifacts{client: client, reach: reach, logger: logger}
}

// ErrRefused says that the orchestrator will never take something.
var ErrRefused = errors.New("the orchestrator refuses it")

// sourceError is an error of a source.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// errBroken says that a stream takes nothing more; why, the receiver knows.
var errBroken = errors.New("the stream has broken")

// Push sends what an attempt left and returns nil when the orchestrator has said that it
// keeps all of it; when that is so already, source is not read. It goes on over broken
// streams, and does not send again what is stored, for as long as ctx lives and it gets
// any further within an hour. It returns the source's error as it is, and the
// orchestrator's when that will never take it.
func (a *Artifacts) Push(ctx context.Context, ref *orchionv1.AttemptRef, source ArtifactSource) error {
	wait := newBackOff(retryLimit)
	p := &artifactPush{source: source, stored: map[contentKey]string{}, moved: time.Now()}
	for {
		err := p.once(ctx, a.client, ref)
		var own *sourceError
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &own):
			return own.err
		case status.Code(err) == codes.InvalidArgument:
			return fmt.Errorf("%w: %s", ErrRefused, status.Convert(err).Message())
		case time.Since(p.lastMoved()) > artifactPatience:
			return fmt.Errorf("the orchestrator has taken nothing for %v: %s", artifactPatience, status.Convert(err).Message())
		}
		a.logger.Log(ctx, logLevel(err), "sending the artifacts of an attempt broke off, going on with it",
			"job", ref.GetJobId(), "attempt", ref.GetAttempt(), "error", err)
		if !pause(ctx, wait.NextBackOff(), a.reach.returned()) {
			return ctx.Err()
		}
	}
}

// contentKey tells contents apart between two readings of a container that has ended.
type contentKey struct {
	path    string
	size    int64
	modTime time.Time
}

// artifactPush is what is known over the streams of one Push.
type artifactPush struct {
	source ArtifactSource

	mu     sync.Mutex            // guards what follows
	stored map[contentKey]string // digests of what the orchestrator has
	moved  time.Time             // when it last took something
}

func (p *artifactPush) lastMoved() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.moved
}

// once sends over one stream.
func (p *artifactPush) once(ctx context.Context, client orchionv1.ArtifactSessionClient, ref *orchionv1.AttemptRef) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	stream, err := client.PushArtifacts(ctx)
	if err != nil {
		return err
	}
	open := &orchionv1.PushArtifactsRequest{Message: &orchionv1.PushArtifactsRequest_Open{Open: &orchionv1.OpenArtifacts{Ref: ref}}}
	if err := stream.Send(open); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	answer, err := stream.Recv()
	if err != nil {
		return unexpectedEnd(err)
	}
	opened := answer.GetOpened()
	if opened.GetCommitted() {
		return nil
	}
	limits := ArtifactLimits{FileBytes: opened.GetMaxFileBytes(), Bytes: opened.GetMaxBytes(), Files: int(opened.GetMaxFiles())}
	s := &artifactSender{push: p, stream: stream, digests: map[string]string{}}
	group.Go(func() error {
		err := p.source(ctx, limits, s.emit)
		if errors.Is(err, errBroken) {
			return nil // the receiver knows why
		}
		if err != nil {
			return &sourceError{err}
		}
		if err := s.commit(); !errors.Is(err, errBroken) {
			return err
		}
		return nil
	})
	group.Go(func() error { return s.receive() })
	if err := group.Wait(); !errors.Is(err, errAllKept) {
		return err
	}
	return nil
}

// errAllKept ends the stream of artifacts that the orchestrator keeps.
var errAllKept = errors.New("the orchestrator keeps all artifacts")

// artifactSender sends over one stream. emit and commit are one goroutine's, receive is
// another's.
type artifactSender struct {
	push   *artifactPush
	stream grpc.BidiStreamingClient[orchionv1.PushArtifactsRequest, orchionv1.PushArtifactsResponse]
	list   []*orchionv1.Artifact
	// digests are those of the contents so far, by path.
	digests map[string]string

	mu   sync.Mutex // guards what follows
	sent []sentContent
}

// sentContent is a content that is not acknowledged.
type sentContent struct {
	key    contentKey
	digest string
}

func (s *artifactSender) send(m *orchionv1.PushArtifactsRequest) error {
	if err := s.stream.Send(m); err != nil {
		return errBroken
	}
	return nil
}

// emit sends one artifact's content, unless the orchestrator has it.
func (s *artifactSender) emit(a *Artifact) error {
	key := contentKey{a.Path, a.Size, a.ModTime}
	s.push.mu.Lock()
	digest := s.push.stored[key]
	s.push.mu.Unlock()
	if a.SameAs != "" {
		digest = s.digests[a.SameAs]
	}
	if digest == "" {
		var err error
		if digest, err = s.content(a, key); err != nil {
			return err
		}
	}
	s.digests[a.Path] = digest
	s.list = append(s.list, &orchionv1.Artifact{Name: a.Name, Path: a.Path, SizeBytes: a.Size, Digest: digest, Mode: a.Mode})
	return nil
}

func (s *artifactSender) content(a *Artifact, key contentKey) (digest string, err error) {
	sum := sha256.New()
	for left := a.Size; left > 0; {
		// Not used again: gRPC may still hold what was sent.
		part := make([]byte, min(left, artifactPart))
		if _, err := io.ReadFull(a.Content, part); err != nil {
			return "", fmt.Errorf("read %s: %w", a.Path, err)
		}
		sum.Write(part)
		left -= int64(len(part))
		if err := s.send(&orchionv1.PushArtifactsRequest{Message: &orchionv1.PushArtifactsRequest_Data{Data: part}}); err != nil {
			return "", err
		}
	}
	digest = "sha256:" + hex.EncodeToString(sum.Sum(nil))
	s.mu.Lock()
	s.sent = append(s.sent, sentContent{key, digest})
	s.mu.Unlock()
	return digest, s.send(&orchionv1.PushArtifactsRequest{Message: &orchionv1.PushArtifactsRequest_End{End: &orchionv1.EndOfContent{}}})
}

// commit says what there is.
func (s *artifactSender) commit() error {
	for begin := 0; begin < len(s.list); begin += listPart {
		part := &orchionv1.ArtifactList{Artifacts: s.list[begin:min(begin+listPart, len(s.list))]}
		if err := s.send(&orchionv1.PushArtifactsRequest{Message: &orchionv1.PushArtifactsRequest_List{List: part}}); err != nil {
			return err
		}
	}
	return s.send(&orchionv1.PushArtifactsRequest{Message: &orchionv1.PushArtifactsRequest_Commit{Commit: &orchionv1.CommitArtifacts{}}})
}

// receive takes acknowledgements until all is kept.
func (s *artifactSender) receive() error {
	for {
		answer, err := s.stream.Recv()
		if err != nil {
			return unexpectedEnd(err)
		}
		switch m := answer.GetMessage().(type) {
		case *orchionv1.PushArtifactsResponse_Stored:
			if err := s.acknowledged(m.Stored.GetDigest()); err != nil {
				return err
			}
		case *orchionv1.PushArtifactsResponse_Committed:
			if len(m.Committed.GetMissing()) == 0 {
				return errAllKept
			}
			s.push.forget(m.Committed.GetMissing())
			return status.Error(codes.Unavailable, "the orchestrator lost some contents meanwhile")
		}
	}
}

// acknowledged notes that the orchestrator has stored the oldest content that it had not.
func (s *artifactSender) acknowledged(digest string) error {
	s.mu.Lock()
	if len(s.sent) == 0 {
		s.mu.Unlock()
		return status.Error(codes.DataLoss, "the orchestrator stored what was not sent")
	}
	first := s.sent[0]
	s.sent = s.sent[1:]
	s.mu.Unlock()
	if first.digest != digest {
		return status.Errorf(codes.DataLoss, "%s arrived as %s instead of %s", first.key.path, digest, first.digest)
	}
	s.push.mu.Lock()
	defer s.push.mu.Unlock()
	s.push.stored[first.key] = digest
	s.push.moved = time.Now()
	return nil
}

func (p *artifactPush) forget(missing []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	gone := map[string]bool{}
	for _, digest := range missing {
		gone[digest] = true
	}
	for key, digest := range p.stored {
		if gone[digest] {
			delete(p.stored, key)
		}
	}
}
