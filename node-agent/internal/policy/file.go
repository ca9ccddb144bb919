package policy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"
)

const (
	// maxFile bounds a policy file.
	maxFile = 1 << 20
	// lookPeriod is how often it is looked whether the file has changed.
	lookPeriod = 2 * time.Second
)

// Load reads a policy file. One that is not there allows nothing, unless it is required.
// One that others could have written is refused.
func Load(path string, required bool) (*Policy, error) {
	data, err := read(path)
	if errors.Is(err, fs.ErrNotExist) && !required {
		return &Policy{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the policy file %s: %w", path, err)
	}
	p, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("the policy file %s: %w", path, err)
	}
	return p, nil
}

// read reads a file that only its owner, who is this user or root, can have written.
func read(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		if wrapped := (*fs.PathError)(nil); errors.As(err, &wrapped) {
			return nil, wrapped.Err
		}
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("is no file")
	case info.Size() > maxFile:
		return nil, fmt.Errorf("has %d bytes; at most %d are allowed", info.Size(), maxFile)
	}
	if err := trusted(info); err != nil {
		return nil, err
	}
	data := make([]byte, info.Size())
	n, err := file.ReadAt(data, 0)
	if err != nil && n < len(data) {
		return nil, err
	}
	return data, nil
}

// Executable says whether a program may be run: it is there, and nobody but its owner, who
// is this user or root, can put another in its place.
func Executable(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s, which this node's policy allows, is not there", path)
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s, which this node's policy allows, is no file", path)
	}
	if err := trusted(info); err != nil {
		return fmt.Errorf("%s, which this node's policy allows, %w", path, err)
	}
	return nil
}

// File is a policy file that is followed as it changes.
type File struct {
	path     string
	required bool
	logger   *slog.Logger

	mu      sync.Mutex // guards what follows
	current *Policy
	seen    stamp
}

// stamp tells two states of a file apart.
type stamp struct {
	size    int64
	changed time.Time
	mode    fs.FileMode
	there   bool
}

func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{info.Size(), info.ModTime(), info.Mode(), true}
}

// Open reads a policy file and makes it one to be followed.
func Open(path string, required bool, logger *slog.Logger) (*File, error) {
	seen := stampOf(path)
	p, err := Load(path, required)
	if err != nil {
		return nil, err
	}
	return &File{path: path, required: required, logger: logger, current: p, seen: seen}, nil
}

// Policy is what is allowed now.
func (f *File) Policy() *Policy {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.current
}

// Follow reads the file again whenever it changes, until ctx ends, and calls changed when
// other programs are allowed than before. While the file is wrong nothing is allowed: a
// mistake must not leave open what was to be closed.
func (f *File) Follow(ctx context.Context, changed func()) {
	ticker := time.NewTicker(lookPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if f.look() {
			changed()
		}
	}
}

// look reads the file again if it has changed, and says whether other programs are allowed.
func (f *File) look() bool {
	seen := stampOf(f.path)
	f.mu.Lock()
	same := seen == f.seen
	f.mu.Unlock()
	if same {
		return false
	}
	p, err := Load(f.path, f.required)
	if err != nil {
		f.logger.Error("nothing is allowed by the policy until this is put right", "error", err)
		p = &Policy{}
	} else {
		f.logger.Info("the policy has changed", "file", f.path, "processes", len(p.Processes))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.current
	f.current, f.seen = p, seen
	return !slices.EqualFunc(before.Processes, p.Processes, func(a, b Process) bool { return a.Name == b.Name && a.Path == b.Path })
}
