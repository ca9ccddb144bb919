package session

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/orchion/orchion/node-agent/internal/fakeorchestrator"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

func newModelFiles(b *bench, dir string) *ModelFiles {
	return NewModelFiles(orchionv1.NewNodeSessionClient(b.conn), dir, b.membership.cfg.Reach, slog.New(slog.DiscardHandler))
}

func digestOf(content string) string {
	sum := sha256.Sum256([]byte(content))
	return "sha256:" + hex.EncodeToString(sum[:])
}

func TestModelFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := fakeorchestrator.New()
		far.Start()
		b := newBench(t, far)
		defer b.close()
		dir := filepath.Join(t.TempDir(), "models")
		files := newModelFiles(b, dir)
		if _, _, err := files.Manifest(t.Context(), "r1", func(string) {}); !errors.Is(err, ErrNoBlob) {
			t.Errorf("a model that nobody has: %v", err)
		}
		far.SetModelFile("", []byte("the manifest"))
		var awaited []string
		manifest, nodeID, err := files.Manifest(t.Context(), "r1", func(id string) { awaited = append(awaited, id) })
		if string(manifest) != "the manifest" || nodeID != "n2" || err != nil || !slices.Equal(awaited, []string{"n2"}) {
			t.Errorf("the manifest is %q from %q, %v, after waiting for %v", manifest, nodeID, err, awaited)
		}
		// A file that breaks off is gone on with.
		content := strings.Repeat("weights ", 1000)
		digest := digestOf(content)
		far.SetModelFile(digest, []byte(content))
		far.CutBlobs(2)
		var seen []int64
		file, err := files.Get(t.Context(), "r1", digest, func(n int64) { seen = append(seen, n) })
		if err != nil || contentOf(t, file) != content || !slices.IsSorted(seen) || seen[len(seen)-1] != int64(len(content)) {
			t.Errorf("the file came as %v, %v", seen, err)
		}
		file.Release()
		time.Sleep(time.Second)
		if n := kept(t, dir); n != 0 {
			t.Errorf("%d files are left", n)
		}
		// What does not have its digest is not taken, and not kept.
		far.SetModelFile(digest, []byte("something else"))
		if _, err := files.Get(t.Context(), "r1", digest, func(int64) {}); err == nil || !strings.Contains(err.Error(), "what came is sha256:") {
			t.Errorf("a file with another digest: %v", err)
		}
		if _, err := files.Get(t.Context(), "r1", digestOf("none"), func(int64) {}); !errors.Is(err, ErrNoBlob) {
			t.Errorf("a file that nobody has: %v", err)
		}
	})
}

// What an earlier run of the agent fetched of a file is gone on with, unless it is old.
func TestModelFilesOutliveTheAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := fakeorchestrator.New()
		far.Start()
		b := newBench(t, far)
		defer b.close()
		dir := t.TempDir()
		content := strings.Repeat("weights ", 1000)
		digest := digestOf(content)
		far.SetModelFile(digest, []byte(content))
		part := filepath.Join(dir, strings.Replace(digest, ":", "-", 1))
		old := filepath.Join(dir, "sha256-old")
		for path, text := range map[string]string{part: content[:5000], old: "x"} {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		now := time.Now() // in the bubble
		if err := errors.Join(os.Chtimes(part, now, now), os.Chtimes(old, now, now.Add(-25*time.Hour))); err != nil {
			t.Fatal(err)
		}
		files := newModelFiles(b, dir)
		if n := kept(t, dir); n != 1 {
			t.Errorf("%d files are kept, want the one that is not old", n)
		}
		first := int64(0)
		file, err := files.Get(t.Context(), "r1", digest, func(n int64) {
			if first == 0 {
				first = n
			}
		})
		if err != nil || contentOf(t, file) != content {
			t.Fatalf("the file is another, or %v", err)
		}
		if first != 6000 {
			t.Errorf("after the first message %d bytes are there, want the 5,000 of before and 1,000 more", first)
		}
		file.Release()
	})
}
