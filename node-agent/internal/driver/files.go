package driver

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// File is a file to be put into a container.
type File struct {
	Path    string // absolute and clean
	Content []byte
	Mode    fs.FileMode // permissions only
	// UID and GID own it, by the container's own numbers.
	UID, GID int
}

// Limits on the files of one call.
const (
	maxFiles     = 1024
	maxFileBytes = 64 << 20 // of all contents together
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
