package session

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// keepBlob is how long a blob is kept after it was last used: the next job of an array
// wants the same.
const keepBlob = 10 * time.Minute

// ErrNoBlob says that the orchestrator does not have a blob.
var ErrNoBlob = errors.New("the orchestrator does not have it any more")

// openBlob begins to fetch a blob from an offset; next gives what comes, piece by piece,
// and io.EOF in the end.
type openBlob func(ctx context.Context, digest string, offset int64) (next func() ([]byte, error), err error)

// Blobs fetches blobs from the orchestrator and keeps them in a folder for a little while.
type Blobs struct {
	open openBlob
	dir  string
	keep time.Duration // after the last use
	// keepParts leaves what has come of a blob that did not come whole.
	keepParts bool
	reach     *Reach
	logger    *slog.Logger

	mu   sync.Mutex // guards what follows, and in each Blob what it says
	held map[string]*Blob
}

// NewBlobs makes a Blobs that speaks through client and has a folder for itself. What an
// earlier run of the agent left there is removed.
func NewBlobs(client orchionv1.BlobsClient, dir string, reach *Reach, logger *slog.Logger) *Blobs {
	if err := os.RemoveAll(dir); err != nil {
		logger.Warn("cannot remove the blobs of an earlier run of this agent", "folder", dir, "error", err)
	}
	open := func(ctx context.Context, digest string, offset int64) (func() ([]byte, error), error) {
		stream, err := client.GetBlob(ctx, &orchionv1.GetBlobRequest{Digest: digest, Offset: offset})
		if err != nil {
			return nil, err
		}
		return func() ([]byte, error) {
			m, err := stream.Recv()
			return m.GetData(), err
		}, nil
	}
	return &Blobs{open: open, dir: dir, keep: keepBlob, reach: reach, logger: logger, held: map[string]*Blob{}}
}

// Close removes what is kept. Nobody may use it any more.
func (b *Blobs) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, blob := range b.held {
		if blob.expiry != nil {
			blob.expiry.Stop()
		}
	}
	b.held = map[string]*Blob{}
	if err := os.RemoveAll(b.dir); err != nil {
		b.logger.Warn("cannot remove the blobs that jobs were given", "folder", b.dir, "error", err)
	}
}

// Blob is one blob, which stays until it is released.
type Blob struct {
	b      *Blobs
	digest string
	path   string

	// Guarded by Blobs.mu.
	users  int
	expiry *time.Timer // runs while there are none

	// turn is held by whoever fetches; it guards what follows.
	turn  chan struct{}
	sum   hash.Hash // of what is there
	got   int64
	whole bool
}

// Open opens the content for reading.
func (blob *Blob) Open() (io.ReadCloser, error) { return os.Open(blob.path) }

// Release says that the blob is not used any more. Call it once.
func (blob *Blob) Release() {
	b := blob.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if blob.users--; blob.users > 0 {
		return
	}
	blob.expiry = time.AfterFunc(b.keep, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if blob.users == 0 && b.held[blob.digest] == blob {
			delete(b.held, blob.digest)
			if blob.whole || !b.keepParts {
				os.Remove(blob.path)
			}
		}
	})
}

// Get gives a blob, which it fetches if need be, for as long as ctx lives. Release it.
// progress gets how many bytes are there. The errors are ErrNoBlob, the context's, and
// those of this machine's disk.
func (b *Blobs) Get(ctx context.Context, digest string, progress func(bytes int64)) (*Blob, error) {
	blob := b.hold(digest)
	select {
	case blob.turn <- struct{}{}:
	case <-ctx.Done():
		blob.Release()
		return nil, ctx.Err()
	}
	defer func() { <-blob.turn }()
	if err := blob.fetch(ctx, progress); err != nil {
		blob.Release()
		return nil, err
	}
	return blob, nil
}

func (b *Blobs) hold(digest string) *Blob {
	b.mu.Lock()
	defer b.mu.Unlock()
	blob := b.held[digest]
	if blob == nil {
		name := filepath.Base(strings.ReplaceAll(digest, ":", "-"))
		blob = &Blob{b: b, digest: digest, path: filepath.Join(b.dir, name), turn: make(chan struct{}, 1), sum: sha256.New()}
		b.held[digest] = blob
	}
	blob.users++
	if blob.expiry != nil {
		blob.expiry.Stop()
		blob.expiry = nil
	}
	return blob
}

// fetch fetches what is missing. It tries again for as long as the orchestrator is away.
func (blob *Blob) fetch(ctx context.Context, progress func(bytes int64)) error {
	wait := newBackOff(retryLimit)
	for !blob.whole {
		err := blob.fetchOnce(ctx, progress)
		switch {
		case err == nil:
			continue
		case ctx.Err() != nil:
			return ctx.Err()
		case status.Code(err) == codes.NotFound:
			return fmt.Errorf("blob %s: %w", blob.digest, ErrNoBlob)
		case !fromFar(err):
			return err
		}
		blob.b.logger.Log(ctx, logLevel(err), "fetching a blob broke off, going on with it", "blob", blob.digest, "bytes", blob.got, "error", err)
		if !pause(ctx, wait.NextBackOff(), blob.b.reach.returned()) {
			return ctx.Err()
		}
	}
	return nil
}

// fromFar says whether an error is the orchestrator's, or that of the way to it.
func fromFar(err error) bool {
	_, ok := status.FromError(err)
	return ok
}

// fetchOnce fetches what is missing over one stream.
func (blob *Blob) fetchOnce(ctx context.Context, progress func(bytes int64)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := blob.takeUp(); err != nil {
		return err
	}
	next, err := blob.b.open(ctx, blob.digest, blob.got)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(blob.b.dir, 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(blob.path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	for {
		data, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if _, err := file.WriteAt(data, blob.got); err != nil {
			return err
		}
		blob.sum.Write(data)
		blob.got += int64(len(data))
		progress(blob.got)
	}
	if got := "sha256:" + hex.EncodeToString(blob.sum.Sum(nil)); got != blob.digest {
		blob.sum, blob.got = sha256.New(), 0
		return errors.Join(fmt.Errorf("blob %s: what came is %s", blob.digest, got), file.Truncate(0))
	}
	blob.whole = true
	return nil
}

// takeUp goes on with what an earlier run of the agent fetched, if it is there.
func (blob *Blob) takeUp() error {
	if blob.got > 0 {
		return nil
	}
	file, err := os.Open(blob.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	blob.got, err = io.Copy(blob.sum, file)
	return err
}
