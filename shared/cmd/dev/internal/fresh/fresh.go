// Package fresh tells whether something made from files is still up to date,
// by a hash of the contents of those files. Contents, not times: a checkout
// touches files without changing them, and a build cache restored from
// elsewhere has other times.
package fresh

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Inputs are the files something is made from.
type Inputs struct {
	// Root is the folder that Paths are relative to.
	Root string
	// Paths are files, or folders that count with all they hold. One that does
	// not exist counts as absent, so that creating it is a change.
	Paths []string
	// Skip names folders that never count, such as node_modules.
	Skip []string
	// Extra is anything else the result depends on, such as a tool's version.
	Extra []string
}

// Hash is the same for the same names and contents.
func (in Inputs) Hash() (string, error) {
	sum := sha256.New()
	for _, extra := range in.Extra {
		fmt.Fprintf(sum, "extra %q\n", extra)
	}
	for _, path := range in.Paths {
		if err := in.add(sum, path); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func (in Inputs) add(sum io.Writer, path string) error {
	top := filepath.Join(in.Root, path)
	err := filepath.WalkDir(top, func(at string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains(in.Skip, entry.Name()):
			return filepath.SkipDir
		case !entry.Type().IsRegular():
			return nil
		}
		rel, err := filepath.Rel(in.Root, at)
		if err != nil {
			return err
		}
		content, err := hashFile(at)
		if err != nil {
			return err
		}
		fmt.Fprintf(sum, "file %q %s\n", filepath.ToSlash(rel), content)
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintf(sum, "absent %q\n", path)
		return nil
	}
	if err != nil {
		return fmt.Errorf("hash %s: %w", path, err)
	}
	return nil
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// Stamp is a file that remembers the hash something was last made from. Keep it
// inside what was made, so that deleting the one forgets the other.
type Stamp string

// Current tells whether the stamp holds hash.
func (s Stamp) Current(hash string) bool {
	kept, err := os.ReadFile(string(s))
	return err == nil && string(kept) == hash
}

// Write remembers hash.
func (s Stamp) Write(hash string) error {
	if err := os.MkdirAll(filepath.Dir(string(s)), 0o755); err != nil {
		return fmt.Errorf("write stamp: %w", err)
	}
	if err := os.WriteFile(string(s), []byte(hash), 0o644); err != nil {
		return fmt.Errorf("write stamp: %w", err)
	}
	return nil
}

// Unless builds something unless the stamp says that it was already made from
// these inputs; it tells whether it had to. A failed build leaves the stamp as
// it was, so that the next call tries again.
func Unless(stamp Stamp, in Inputs, build func() error) (made bool, err error) {
	hash, err := in.Hash()
	if err != nil {
		return false, err
	}
	if stamp.Current(hash) {
		return false, nil
	}
	if err := build(); err != nil {
		return true, err
	}
	return true, stamp.Write(hash)
}
