package driver

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"
)

// CopiedKind says what was found in a container.
type CopiedKind int

// The kinds.
const (
	CopiedFile CopiedKind = iota + 1
	// CopiedSame is another name of a file that came before: a hard link.
	CopiedSame
	CopiedFolder
	// CopiedOther is what has no content: a symbolic link, a device, a pipe, a socket.
	CopiedOther
)

// Copied is something that was found in a container.
type Copied struct {
	Path    string // absolute and clean
	Kind    CopiedKind
	Size    int64       // of a file
	Mode    fs.FileMode // permissions only
	ModTime time.Time
	// SameAs is the Path of the file that has the content of one that is CopiedSame.
	SameAs string
	// Content is a file's. What is left of it when the next thing comes is passed over.
	Content io.Reader
}

// ValidateCopied returns an error when a path is none that can be copied.
func ValidateCopied(name string) error {
	if !path.IsAbs(name) || path.Clean(name) != name || name == "/" || strings.ContainsRune(name, 0) {
		return fmt.Errorf("path: %q must be an absolute path without '.', '..' and doubled slashes, below /", name)
	}
	return nil
}
