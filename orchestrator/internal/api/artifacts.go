package api

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/grpc"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/store"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// artifacts serves orchion.v1.Artifacts.
type artifacts struct {
	orchionv1.UnimplementedArtifactsServer
	cfg *Config
}

// ListArtifacts answers what the attempts of a job left.
func (s *artifacts) ListArtifacts(ctx context.Context, req *orchionv1.ListArtifactsRequest) (*orchionv1.ListArtifactsResponse, error) {
	if err := checkJobID("id", req.GetId()); err != nil {
		return nil, err
	}
	if err := checkRange("attempt", req.GetAttempt(), 0, maxInt32); err != nil {
		return nil, err
	}
	limit, err := pageSize(req.GetPageSize())
	if err != nil {
		return nil, err
	}
	filter := store.ArtifactFilter{Attempt: int(req.GetAttempt()), Limit: limit}
	if req.GetPageToken() != "" {
		if filter.AfterAttempt, filter.AfterName, err = artifactPlace(req.GetPageToken()); err != nil {
			return nil, err
		}
	}
	list, err := s.cfg.Artifacts.ListArtifacts(ctx, req.GetId(), filter)
	if err != nil {
		return nil, err
	}
	out := &orchionv1.ListArtifactsResponse{}
	for i := range list {
		out.Artifacts = append(out.Artifacts, artifactToProto(&list[i]))
	}
	if len(list) == limit {
		last := &list[limit-1]
		out.NextPageToken = base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %s", last.Attempt, last.Name))
	}
	return out, nil
}

// artifactPlace reads a token of ListArtifacts.
func artifactPlace(token string) (attempt int, name string, err error) {
	wrong := fault.BadField("pageToken", "is not a token that this orchestrator gave; take nextPageToken of the last answer")
	if len(token) > 2*maxArtifactName {
		return 0, "", wrong
	}
	place, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return 0, "", wrong
	}
	number, name, ok := strings.Cut(string(place), " ")
	attempt, err = strconv.Atoi(number)
	if !ok || err != nil {
		return 0, "", wrong
	}
	return attempt, name, nil
}

func artifactToProto(a *job.Artifact) *orchionv1.Artifact {
	return &orchionv1.Artifact{
		Attempt: int32(a.Attempt), Name: a.Name, Path: a.Path, SizeBytes: a.Size, Digest: string(a.Digest), Mode: uint32(a.Mode),
	}
}

// GetArtifact answers the content of one.
func (s *artifacts) GetArtifact(req *orchionv1.GetArtifactRequest, stream grpc.ServerStreamingServer[orchionv1.GetArtifactResponse]) error {
	a, err := s.cfg.artifact(stream.Context(), req.GetId(), int(req.GetAttempt()), req.GetName())
	if err != nil {
		return err
	}
	content, err := s.cfg.Blobs.Open(a.Digest)
	if err != nil {
		return err
	}
	defer content.Close()
	return sendParts(content, func(part []byte) error { return stream.Send(&orchionv1.GetArtifactResponse{Data: part}) })
}

// artifact finds an artifact of a job, of one attempt or, with 0, the newest that
// left some.
func (c *Config) artifact(ctx context.Context, jobID string, attempt int, name string) (job.Artifact, error) {
	var none job.Artifact
	if err := checkArtifactName("name", name); err != nil {
		return none, err
	}
	attempt, err := c.artifactAttempt(ctx, jobID, attempt)
	if err != nil {
		return none, err
	}
	list, err := c.Artifacts.ListArtifacts(ctx, jobID, store.ArtifactFilter{Attempt: attempt, Name: name, Limit: 1})
	if err != nil {
		return none, err
	}
	if len(list) == 0 {
		return none, fault.New(fault.NotFound, "attempt %d of job %s left no artifact %q", attempt, jobID, clip(name))
	}
	return list[0], nil
}

// artifactAttempt is the attempt asked for or, with 0, the newest that left
// artifacts. NotFound when there is none.
func (c *Config) artifactAttempt(ctx context.Context, jobID string, attempt int) (int, error) {
	if err := errors.Join(checkJobID("id", jobID), checkRange("attempt", attempt, 0, maxInt32)); err != nil {
		return 0, err
	}
	sets, err := c.Artifacts.ArtifactSets(ctx, jobID)
	if err != nil {
		return 0, err
	}
	for i := len(sets) - 1; i >= 0; i-- {
		if attempt == 0 || sets[i].Attempt == attempt {
			return sets[i].Attempt, nil
		}
	}
	if attempt != 0 {
		return 0, fault.New(fault.NotFound, "attempt %d of job %s left no artifacts", attempt, jobID)
	}
	return 0, fault.New(fault.NotFound, "job %s left no artifacts", jobID)
}
