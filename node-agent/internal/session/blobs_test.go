package session

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/orchion/orchion/node-agent/internal/fakeorchestrator"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// newBlobs makes Blobs on a folder with something in it that an earlier run left.
func newBlobs(t *testing.T, b *bench) (*Blobs, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "blobs")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "old"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return NewBlobs(orchionv1.NewBlobsClient(b.conn), dir, b.membership.cfg.Reach, slog.New(slog.DiscardHandler)), dir
}

func contentOf(t *testing.T, blob *Blob) string {
	t.Helper()
	r, err := blob.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func kept(t *testing.T, dir string) int {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return len(entries)
}

func calls(far *fakeorchestrator.Fake, method string) (n int) {
	for _, call := range far.Calls() {
		if call == method {
			n++
		}
	}
	return n
}

// A blob is fetched once for all who want it, goes on where it broke off, and is kept for a
// little while after it was last used.
func TestBlobsAreFetchedOnceAndKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := fakeorchestrator.New()
		far.Start()
		b := newBench(t, far)
		defer b.close()
		blobs, dir := newBlobs(t, b)
		content := strings.Repeat("content ", 1000)
		digest := far.AddBlob([]byte(content))
		far.CutBlobs(3)

		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				last := int64(0)
				blob, err := blobs.Get(t.Context(), digest, func(got int64) {
					if got <= last {
						t.Errorf("progress went from %d to %d", last, got)
					}
					last = got
				})
				if err != nil {
					t.Error(err)
					return
				}
				defer blob.Release()
				if contentOf(t, blob) != content {
					t.Error("the content differs")
				}
			})
		}
		wg.Wait()
		if n := calls(far, "GetBlob"); n != 4 {
			t.Errorf("%d calls, want 4: one that is whole and three that broke off", n)
		}
		time.Sleep(keepBlob - time.Second)
		blob, err := blobs.Get(t.Context(), digest, func(int64) {})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * keepBlob)
		if contentOf(t, blob) != content || calls(far, "GetBlob") != 4 {
			t.Error("a blob that is used was not kept")
		}
		blob.Release()
		time.Sleep(keepBlob + time.Second)
		synctest.Wait()
		if n := kept(t, dir); n != 0 {
			t.Errorf("%d files are left", n)
		}
		blob, err = blobs.Get(t.Context(), digest, func(int64) {})
		if err != nil || contentOf(t, blob) != content || calls(far, "GetBlob") != 5 {
			t.Errorf("fetched anew: %v after %d calls", err, calls(far, "GetBlob"))
		}
		blob.Release()
		blobs.Close()
		if n := kept(t, dir); n != 0 {
			t.Errorf("%d files are left", n)
		}
	})
}

func TestBlobsThatCannotBeHad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := fakeorchestrator.New()
		far.Start()
		b := newBench(t, far)
		defer b.close()
		blobs, _ := newBlobs(t, b)
		defer blobs.Close()
		none := "sha256:" + strings.Repeat("0", 64)
		if _, err := blobs.Get(t.Context(), none, func(int64) {}); !errors.Is(err, ErrNoBlob) {
			t.Errorf("got %v", err)
		}
		far.SetBlob(none, []byte("something else"))
		if _, err := blobs.Get(t.Context(), none, func(int64) {}); err == nil || !strings.Contains(err.Error(), "blob "+none+": what came is sha256:") {
			t.Errorf("got %v", err)
		}
		digest := far.AddBlob(bytes.Repeat([]byte("x"), 5000))
		far.Stop()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := blobs.Get(ctx, digest, func(int64) {}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		go func() {
			time.Sleep(time.Minute)
			far.Start()
		}()
		blob, err := blobs.Get(t.Context(), digest, func(int64) {})
		if err != nil {
			t.Fatal(err)
		}
		blob.Release()
	})
}
