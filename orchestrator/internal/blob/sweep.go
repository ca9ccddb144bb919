package blob

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// sweepBatch is how many blobs are asked after at once.
const sweepBatch = 256

// InUse answers which of some blobs are used.
type InUse func(ctx context.Context, digests []Digest) (map[Digest]bool, error)

// Sweep removes the blobs that were last wanted before a time and that nobody
// uses. One that is wanted meanwhile is kept: whoever comes to use a blob calls
// [Store.Use] before, and is seen by inUse after.
func (s *Store) Sweep(ctx context.Context, before time.Time, inUse InUse) (removed int, err error) {
	var old []Digest
	flush := func() error {
		if len(old) == 0 {
			return nil
		}
		used, err := inUse(ctx, old)
		if err != nil {
			return err
		}
		for _, digest := range old {
			if used[digest] {
				continue
			}
			gone, err := s.remove(digest, before)
			if err != nil {
				return err
			}
			if gone {
				removed++
			}
		}
		old = old[:0]
		return nil
	}
	err = s.each(func(digest Digest, info fs.FileInfo) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !info.ModTime().Before(before) {
			return nil
		}
		if old = append(old, digest); len(old) == sweepBatch {
			return flush()
		}
		return nil
	})
	return removed, errors.Join(err, flush())
}

// remove removes a blob that was last wanted before a time.
func (s *Store) remove(digest Digest, before time.Time) (gone bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := s.path(digest)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil || !info.ModTime().Before(before) {
		return false, err
	}
	if err := os.Remove(path); err != nil {
		return false, err
	}
	s.bytes.Add(-info.Size() - perBlob)
	return true, nil
}

// each calls f with every blob, folder by folder.
func (s *Store) each(f func(Digest, fs.FileInfo) error) error {
	root := filepath.Join(s.cfg.Dir, byDigest)
	folders, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	for _, folder := range folders {
		files, err := os.ReadDir(filepath.Join(root, folder.Name()))
		if err != nil {
			return err
		}
		for _, file := range files {
			digest, ok := ParseDigest(algorithm + file.Name())
			info, err := file.Info()
			if !ok || errors.Is(err, fs.ErrNotExist) {
				continue // not ours, or removed meanwhile
			}
			if err != nil {
				return err
			}
			if err := f(digest, info); err != nil {
				return err
			}
		}
	}
	return nil
}
