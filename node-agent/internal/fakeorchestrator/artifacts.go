package fakeorchestrator

import (
	"crypto/sha256"
	"encoding/hex"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// Artifacts is what was pushed of what attempts left.
type Artifacts struct {
	// List is what was committed; nil: nothing was.
	List []*orchionv1.Artifact
	// Contents are what came, by digest, and Came how often each did.
	Contents map[string]string
	Came     map[string]int
	Streams  int
}

// CutArtifacts breaks the next n streams of artifacts after so many contents each.
func (f *Fake) CutArtifacts(n, after int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cutArtifacts, f.cutArtifactsAfter = n, after
}

// LoseContents has the orchestrator lose the contents that it has before the next commit.
func (f *Fake) LoseContents() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.loseContents = true
}

// ArtifactsOf gives what a job left.
func (f *Fake) ArtifactsOf(jobID string) *Artifacts {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.artifactsLocked(jobID)
}

func (f *Fake) artifactsLocked(jobID string) *Artifacts {
	if f.artifacts == nil {
		f.artifacts = map[string]*Artifacts{}
	}
	if f.artifacts[jobID] == nil {
		f.artifacts[jobID] = &Artifacts{Contents: map[string]string{}, Came: map[string]int{}}
	}
	return f.artifacts[jobID]
}

// PushArtifacts implements orchionv1.ArtifactSessionServer.
func (f *Fake) PushArtifacts(stream grpc.BidiStreamingServer[orchionv1.PushArtifactsRequest, orchionv1.PushArtifactsResponse]) error {
	if err := f.called("PushArtifacts"); err != nil {
		return err
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	f.mu.Lock()
	got := f.artifactsLocked(first.GetOpen().GetRef().GetJobId())
	got.Streams++
	left := -1
	if f.cutArtifacts > 0 {
		f.cutArtifacts--
		left = f.cutArtifactsAfter
	}
	opened := &orchionv1.ArtifactsOpened{Committed: got.List != nil, MaxFileBytes: 1 << 20, MaxBytes: 1 << 30, MaxFiles: 10_000}
	f.mu.Unlock()
	if err := stream.Send(&orchionv1.PushArtifactsResponse{Message: &orchionv1.PushArtifactsResponse_Opened{Opened: opened}}); err != nil {
		return err
	}
	var content []byte
	list := []*orchionv1.Artifact{}
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		answer := &orchionv1.PushArtifactsResponse{}
		switch m := m.GetMessage().(type) {
		case *orchionv1.PushArtifactsRequest_Data:
			content = append(content, m.Data...)
			continue
		case *orchionv1.PushArtifactsRequest_End:
			if left == 0 {
				return status.Error(codes.Unavailable, "the orchestrator is stopping")
			}
			left--
			digest := f.keep(got, content)
			content = nil
			answer.Message = &orchionv1.PushArtifactsResponse_Stored{Stored: &orchionv1.ContentStored{Digest: digest}}
		case *orchionv1.PushArtifactsRequest_List:
			list = append(list, m.List.GetArtifacts()...)
			continue
		case *orchionv1.PushArtifactsRequest_Commit:
			answer.Message = &orchionv1.PushArtifactsResponse_Committed{Committed: f.commit(got, list)}
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
		if answer.GetCommitted() != nil {
			return nil
		}
	}
}

func (f *Fake) keep(got *Artifacts, content []byte) (digest string) {
	sum := sha256.Sum256(content)
	digest = "sha256:" + hex.EncodeToString(sum[:])
	f.mu.Lock()
	defer f.mu.Unlock()
	got.Contents[digest] = string(content)
	got.Came[digest]++
	return digest
}

func (f *Fake) commit(got *Artifacts, list []*orchionv1.Artifact) *orchionv1.ArtifactsCommitted {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.loseContents {
		f.loseContents = false
		clear(got.Contents)
	}
	answer := &orchionv1.ArtifactsCommitted{}
	for _, a := range list {
		if _, there := got.Contents[a.GetDigest()]; !there {
			answer.Missing = append(answer.Missing, a.GetDigest())
		}
	}
	if len(answer.GetMissing()) == 0 {
		got.List = list
	}
	return answer
}
