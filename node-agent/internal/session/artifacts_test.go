package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/orchion/orchion/node-agent/internal/fakeorchestrator"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// newArtifacts makes an Artifacts that speaks with far.
func newArtifacts(b *bench) *Artifacts {
	return NewArtifacts(orchionv1.NewArtifactSessionClient(b.conn), b.membership.cfg.Reach, slog.New(slog.DiscardHandler))
}

// filesSource leaves n files, the first of them empty and the last another name of the one
// before it.
func filesSource(n int) ArtifactSource {
	return func(_ context.Context, limits ArtifactLimits, emit func(*Artifact) error) error {
		for i := range n {
			text := strings.Repeat(fmt.Sprintf("%d ", i), i*20_000)
			a := &Artifact{Name: fmt.Sprintf("n%d", i), Path: fmt.Sprintf("/p%d", i), Size: int64(len(text)), Mode: 0o640, Content: strings.NewReader(text)}
			if i == n-1 {
				a.SameAs, a.Content = fmt.Sprintf("/p%d", i-1), nil
				a.Size = int64(len(strings.Repeat(fmt.Sprintf("%d ", i-1), (i-1)*20_000)))
			}
			if limits.FileBytes != 1<<20 || limits.Bytes != 1<<30 || limits.Files != 10_000 {
				return fmt.Errorf("limits are %+v", limits)
			}
			if err := emit(a); err != nil {
				return err
			}
		}
		return nil
	}
}

// What was stored before a stream broke is not sent again.
func TestArtifactsGoOnWhereTheyBroke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := fakeorchestrator.New()
		far.CutArtifacts(2, 2)
		far.Start()
		b := newBench(t, far)
		defer b.close()
		const n = 8
		if err := newArtifacts(b).Push(t.Context(), ref("a"), filesSource(n)); err != nil {
			t.Fatal(err)
		}
		got := far.ArtifactsOf("a")
		if len(got.List) != n || got.Streams != 3 || len(got.Contents) != n-1 {
			t.Errorf("%d listed, %d contents, %d streams", len(got.List), len(got.Contents), got.Streams)
		}
		for i, a := range got.List {
			from := min(i, n-2)
			want := strings.Repeat(fmt.Sprintf("%d ", from), from*20_000)
			if got.Contents[a.GetDigest()] != want || a.GetSizeBytes() != int64(len(want)) || a.GetName() != fmt.Sprintf("n%d", i) || a.GetMode() != 0o640 {
				t.Errorf("artifact %d is %v", i, a)
			}
		}
		for digest, times := range got.Came {
			if times != 1 {
				t.Errorf("%s came %d times", digest, times)
			}
		}
		// Another run of the agent need not read anything.
		unread := func(context.Context, ArtifactLimits, func(*Artifact) error) error { return errors.New("was read") }
		if err := newArtifacts(b).Push(t.Context(), ref("a"), unread); err != nil {
			t.Error(err)
		}
	})
}

func TestArtifactsThatTheOrchestratorLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := fakeorchestrator.New()
		far.LoseContents()
		far.Start()
		b := newBench(t, far)
		defer b.close()
		if err := newArtifacts(b).Push(t.Context(), ref("a"), filesSource(4)); err != nil {
			t.Fatal(err)
		}
		if got := far.ArtifactsOf("a"); len(got.List) != 4 || got.Streams != 2 || len(got.Contents) != 3 {
			t.Errorf("%d listed, %d contents, %d streams", len(got.List), len(got.Contents), got.Streams)
		}
	})
}

func TestArtifactsThatCannotBeSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := fakeorchestrator.New()
		far.Start()
		b := newBench(t, far)
		defer b.close()
		artifacts := newArtifacts(b)
		broken := errors.New("cannot be read")
		err := artifacts.Push(t.Context(), ref("a"), func(context.Context, ArtifactLimits, func(*Artifact) error) error { return broken })
		if !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
		err = artifacts.Push(t.Context(), ref("a"), func(_ context.Context, _ ArtifactLimits, emit func(*Artifact) error) error {
			return emit(&Artifact{Name: "a", Path: "/a", Size: 10, Content: strings.NewReader("short")})
		})
		if err == nil || !strings.Contains(err.Error(), "read /a: unexpected EOF") {
			t.Errorf("got %v", err)
		}
		far.Fail("PushArtifacts", status.Error(codes.InvalidArgument, "list.artifacts: is wrong"))
		if err := artifacts.Push(t.Context(), ref("a"), filesSource(2)); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "list.artifacts: is wrong") {
			t.Errorf("got %v", err)
		}
		far.Fail("PushArtifacts", status.Error(codes.ResourceExhausted, "the store of blobs is full"))
		began := time.Now()
		err = artifacts.Push(t.Context(), ref("a"), filesSource(2))
		if err == nil || err.Error() != "the orchestrator has taken nothing for 1h0m0s: the store of blobs is full" || time.Since(began) < artifactPatience {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := artifacts.Push(ctx, ref("a"), filesSource(2)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}
