package policy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/orchion/orchion/node-agent/internal/ownfile"
)

// maxLinks bounds how many links a path may lead through.
const maxLinks = 40

// Executable gives the file that is to be run for a path: the one behind all links, so that
// none can be put in its way later. Nobody but its owner, who is this user or root, can write
// it, or put another in its place in any folder that leads to it.
func Executable(path string) (string, error) {
	links := 0
	at, info, err := resolve(path, &links)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("%s, which this node's policy allows, is not there", path)
	case err != nil:
		return "", fmt.Errorf("%s, which this node's policy allows, cannot be trusted: %w", path, err)
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s, which this node's policy allows, is no file", path)
	}
	if err := ownfile.Trusted(info); err != nil {
		return "", fmt.Errorf("%s, which this node's policy allows, %w", path, err)
	}
	return at, nil
}

// resolve follows the links in a path, and checks each folder and link on the way.
func resolve(path string, links *int) (string, fs.FileInfo, error) {
	folder := filepath.Dir(path)
	if folder == path {
		info, err := os.Lstat(path)
		return path, info, err
	}
	folder, info, err := resolve(folder, links)
	if err != nil {
		return "", nil, err
	}
	if err := ownfile.TrustedFolder(info); err != nil {
		return "", nil, fmt.Errorf("the folder %s %w", folder, err)
	}
	at := filepath.Join(folder, filepath.Base(path))
	if info, err = os.Lstat(at); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return at, info, err
	}
	if err := ownfile.Owned(info); err != nil {
		return "", nil, fmt.Errorf("the link %s %w", at, err)
	}
	if *links++; *links > maxLinks {
		return "", nil, fmt.Errorf("it leads through more than %d links", maxLinks)
	}
	target, err := os.Readlink(at)
	if err != nil {
		return "", nil, err
	}
	if !filepath.IsAbs(target) {
		target = filepath.Join(folder, target)
	}
	return resolve(filepath.Clean(target), links)
}
