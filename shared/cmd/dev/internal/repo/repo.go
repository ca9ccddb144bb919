// Package repo finds the checkout that the development tasks work on.
package repo

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const module = "module github.com/orchion/orchion"

// Repo is a checkout of Orchion.
type Repo struct {
	// Root is the absolute path of the folder that holds go.mod.
	Root string
}

// Find looks for the checkout in dir and the folders above it. The error says
// where it looked.
func Find(dir string) (Repo, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return Repo{}, fmt.Errorf("resolve %s: %w", dir, err)
	}
	for at := abs; ; at = filepath.Dir(at) {
		mod, err := os.ReadFile(filepath.Join(at, "go.mod"))
		switch {
		case err == nil && isOurs(string(mod)):
			return Repo{Root: at}, nil
		case err != nil && !errors.Is(err, os.ErrNotExist):
			return Repo{}, fmt.Errorf("look for the checkout: %w", err)
		}
		if at == filepath.Dir(at) {
			return Repo{}, fmt.Errorf("no checkout of Orchion in %s or above it: change into one", abs)
		}
	}
}

func isOurs(mod string) bool {
	for line := range strings.Lines(mod) {
		if strings.TrimSpace(line) == module {
			return true
		}
	}
	return false
}

// Path joins parts, written with slashes, to the root.
func (r Repo) Path(parts ...string) string {
	return filepath.Join(append([]string{r.Root}, parts...)...)
}

// Has tells whether the checkout holds this file or folder.
func (r Repo) Has(parts ...string) bool {
	_, err := os.Stat(r.Path(parts...))
	return err == nil
}

// Rel shortens a path below the root for messages.
func (r Repo) Rel(path string) string {
	rel, err := filepath.Rel(r.Root, path)
	if err != nil || strings.HasPrefix(rel, "..") {
		return path
	}
	return filepath.ToSlash(rel)
}
