package driver

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// File is a file to be put into a container.
type File struct {
	Path    string // absolute and clean
	Content []byte
	// Open gives a content of Size bytes instead, which is read when it is put there.
	Open func() (io.ReadCloser, error)
	Size int64
	Mode fs.FileMode // permissions only
	// UID and GID own it, by the container's own numbers.
	UID, GID int
}

// Reader gives the content and its size.
func (f *File) Reader() (io.ReadCloser, int64, error) {
	if f.Open == nil {
		return io.NopCloser(bytes.NewReader(f.Content)), int64(len(f.Content)), nil
	}
	content, err := f.Open()
	return content, f.Size, err
}

// Limits on the files of one call.
const (
	maxFiles     = 1024
	maxFileBytes = 64 << 20 // of all Content together
)

// ValidateFiles returns an error that names the first file that is wrong.
func ValidateFiles(files []File) error {
	if len(files) > maxFiles {
		return fmt.Errorf("files: %d are too many, at most %d", len(files), maxFiles)
	}
	total := 0
	for _, f := range files {
		switch {
		case !path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path || f.Path == "/" || strings.ContainsRune(f.Path, 0):
			return fmt.Errorf("files: %q must be an absolute path without '.', '..' and doubled slashes", f.Path)
		case f.Mode&^fs.ModePerm != 0:
			return fmt.Errorf("files: %q: mode %s must be permissions only", f.Path, f.Mode)
		case f.Open != nil && (len(f.Content) > 0 || f.Size < 0):
			return fmt.Errorf("files: %q: has content beside what is opened, or a size of %d", f.Path, f.Size)
		case f.UID < 0 || f.GID < 0:
			return fmt.Errorf("files: %q: owner %d:%d must not be negative", f.Path, f.UID, f.GID)
		}
		total += len(f.Content)
	}
	if total > maxFileBytes {
		return fmt.Errorf("files: %d bytes together are too many, at most %d", total, maxFileBytes)
	}
	return nil
}
