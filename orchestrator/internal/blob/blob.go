// Package blob keeps content by its digest, as files beside the database: what
// jobs are given and what they leave. It knows nothing of jobs; who uses a blob
// says so when it is swept.
//
// A file appears under its name when it is whole, checked and on the disk, and
// never changes after that. Its time of modification is when it was last wanted:
// a blob that nobody uses is kept for a while from then, so that what was
// uploaded for a job is still there when the job is submitted.
package blob

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
)

// The limits of a store that was told none.
const (
	DefaultMaxBytes      = 1 << 30
	DefaultStoreMaxBytes = 20 << 30
)

// Config says where blobs are kept, and how many.
type Config struct {
	// Dir is the folder, which is made. Needed.
	Dir string
	// MaxBytes bounds one blob. 0: DefaultMaxBytes.
	MaxBytes int64
	// StoreMaxBytes bounds all together, those that are being written included.
	// 0: DefaultStoreMaxBytes.
	StoreMaxBytes int64
}

// Store keeps blobs. Its methods are safe for concurrent use. Errors are
// *fault.Error: Invalid (the content is not what the digest says), NotFound,
// Exhausted (a limit, naming the flag), Unavailable (the disk).
type Store struct {
	cfg Config
	// bytes is what all blobs take together.
	bytes atomic.Int64

	mu sync.Mutex // held while a name appears, is touched or vanishes
}

// perBlob is what each blob counts as besides its content, in bytes: a block of the
// disk, so that the limit also bounds how many empty ones there may be.
const perBlob = 4 << 10

// Names below the folder.
const (
	// byDigest has a folder for each two first digits.
	byDigest = "sha256"
	// incoming holds what is being written; nothing in it outlives a restart.
	incoming = "incoming"
)

// Open opens the store in a folder, of which it must be the only one, and
// removes what was being written when it was last closed or killed.
func Open(cfg Config) (*Store, error) {
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = DefaultMaxBytes
	}
	if cfg.StoreMaxBytes == 0 {
		cfg.StoreMaxBytes = DefaultStoreMaxBytes
	}
	s := &Store{cfg: cfg}
	if err := os.RemoveAll(filepath.Join(cfg.Dir, incoming)); err != nil {
		return nil, fmt.Errorf("open the blobs: %w", err)
	}
	for _, folder := range []string{incoming, byDigest} {
		if err := os.MkdirAll(filepath.Join(cfg.Dir, folder), 0o700); err != nil {
			return nil, fmt.Errorf("open the blobs: %w", err)
		}
	}
	err := s.each(func(_ Digest, info fs.FileInfo) error {
		s.bytes.Add(info.Size() + perBlob)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("open the blobs: %w", err)
	}
	return s, nil
}

// MaxBytes is how large one blob may be.
func (s *Store) MaxBytes() int64 { return s.cfg.MaxBytes }

// Bytes is what all blobs take together, perBlob included.
func (s *Store) Bytes() int64 { return s.bytes.Load() }

// Put stores content under the digest that it must have. When it returns
// without an error, the blob is on the disk; otherwise nothing of it is.
func (s *Store) Put(ctx context.Context, want Digest, content io.Reader) (size int64, err error) {
	_, size, err = s.write(ctx, content, want)
	return size, err
}

// Add is Put of content whose digest is not known before.
func (s *Store) Add(ctx context.Context, content io.Reader) (Digest, int64, error) {
	return s.write(ctx, content, "")
}

func (s *Store) write(ctx context.Context, content io.Reader, want Digest) (_ Digest, size int64, err error) {
	file, err := os.CreateTemp(filepath.Join(s.cfg.Dir, incoming), "")
	if err != nil {
		return "", 0, unwritable(err)
	}
	in := &incomingFile{store: s, file: file}
	defer func() {
		if err != nil {
			in.discard()
		}
	}()
	if err := in.count(perBlob); err != nil {
		return "", 0, err
	}
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(in, sum), untilDone{ctx, content}); err != nil {
		return "", 0, err
	}
	digest := DigestOf(sum.Sum(nil))
	if want != "" && digest != want {
		return "", 0, fault.BadField("digest", "is %s, but the %d bytes of content are %s", want, in.size, digest)
	}
	if err := file.Sync(); err != nil {
		return "", 0, unwritable(err)
	}
	size = in.size
	return digest, size, s.keep(in, digest)
}

// keep gives what was written its name, unless it is there already.
func (s *Store) keep(in *incomingFile, digest Digest) error {
	if err := in.file.Close(); err != nil {
		return unwritable(err)
	}
	path := s.path(digest)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return unwritable(err)
	}
	s.mu.Lock()
	there := s.touchLocked(path) == nil
	var err error
	if !there {
		err = os.Rename(in.file.Name(), path)
	}
	s.mu.Unlock()
	if err != nil {
		return unwritable(err)
	}
	if there {
		in.discard()
	} else {
		in.counted = 0 // it is the blob's now, whatever fails from here on
	}
	// Also when another has just put it there: it may not have come this far.
	for _, folder := range []string{filepath.Dir(path), filepath.Join(s.cfg.Dir, byDigest)} {
		if err := syncDir(folder); err != nil {
			return unwritable(err)
		}
	}
	return nil
}

// incomingFile is a file that is being written, and counted.
type incomingFile struct {
	store *Store
	file  *os.File
	size  int64
	// counted is its part of Store.bytes.
	counted int64
}

// count has the store hold so many bytes more.
func (f *incomingFile) count(n int64) error {
	if f.store.bytes.Add(n) > f.store.cfg.StoreMaxBytes {
		f.store.bytes.Add(-n)
		return fault.New(fault.Exhausted,
			"the store of blobs is full: all together may have %d bytes, as the orchestrator's --blob-store-max-bytes says", f.store.cfg.StoreMaxBytes)
	}
	f.counted += n
	return nil
}

func (f *incomingFile) Write(p []byte) (int, error) {
	n := int64(len(p))
	if f.size+n > f.store.cfg.MaxBytes {
		return 0, TooLarge(f.store.cfg.MaxBytes)
	}
	if err := f.count(n); err != nil {
		return 0, err
	}
	f.size += n
	written, err := f.file.Write(p)
	if err != nil {
		return written, unwritable(err)
	}
	return written, nil
}

// discard removes the file.
func (f *incomingFile) discard() {
	f.file.Close()
	os.Remove(f.file.Name())
	f.store.bytes.Add(-f.counted)
	f.counted = 0
}

// untilDone reads until a context is done.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u untilDone) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, context.Cause(u.ctx)
	}
	return u.r.Read(p)
}

// Open opens a blob for reading. NotFound.
func (s *Store) Open(digest Digest) (*os.File, error) {
	file, err := os.Open(s.path(digest))
	if err != nil {
		return nil, s.unreadable(digest, err)
	}
	return file, nil
}

// Use notes that a blob is wanted from now on, and answers its size. It is kept
// for as long from now as one that is new. NotFound.
func (s *Store) Use(digest Digest) (size int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := s.path(digest)
	info, err := os.Stat(path)
	if err == nil {
		err = s.touchLocked(path)
	}
	if err != nil {
		return 0, s.unreadable(digest, err)
	}
	return info.Size(), nil
}

func (s *Store) touchLocked(path string) error {
	now := time.Now()
	return os.Chtimes(path, now, now)
}

// Has says whether a blob is there.
func (s *Store) Has(digest Digest) bool {
	_, err := os.Stat(s.path(digest))
	return err == nil
}

// path is where a blob lies.
func (s *Store) path(digest Digest) string {
	digits := digest.digits()
	return filepath.Join(s.cfg.Dir, byDigest, digits[:2], digits)
}

func (s *Store) unreadable(digest Digest, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.NotFound, "there is no blob %s", digest)
	}
	return fault.Wrap(fault.Unavailable, err, "the blob %s cannot be read", digest)
}

// unwritable is the error of a disk that takes nothing.
func unwritable(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return fault.Wrap(fault.Unavailable, err, "the disk with the data directory is full; nothing was stored; free some space and try again")
	}
	return fault.Wrap(fault.Unavailable, err, "the blob could not be stored; see whether the data directory is writable")
}

// syncDir forces a folder's list of names to the disk. Windows does so by
// itself and refuses to be asked.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
