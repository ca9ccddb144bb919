// Package dirlock keeps a second process off a data directory.
package dirlock

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/orchion/orchion/orchestrator/internal/fault"
)

// name is the file in the directory that is locked. It stays when the lock is
// released: removing it would let two processes lock two files of one name.
const name = "orchestrator.lock"

// errHeld is what the platform's lock answers when another process has it.
var errHeld = errors.New("held by another process")

// Lock is held until Release or the end of the process, whichever way it ends.
type Lock struct {
	release func() error
}

// Acquire makes the directory if need be (mode 0700) and locks it. When another
// process holds it the error is a fault.Unavailable that names the directory
// and, where it can be known, the process.
func Acquire(dir string) (*Lock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	path := filepath.Join(dir, name)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock of the data directory: %w", err)
	}
	if err := lock(file); err != nil {
		holder := holderOf(file)
		file.Close()
		if errors.Is(err, errHeld) {
			return nil, fault.New(fault.Unavailable,
				"the data directory %s is in use by another orchestrator%s; stop that one, or give this one a directory of its own with --data-dir", dir, holder)
		}
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	// Who holds it is only for the message above, so a failure here is none.
	if file.Truncate(0) == nil {
		_, _ = file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return &Lock{release: sync.OnceValue(file.Close)}, nil
}

// holderOf is " (process 123)" as the holder wrote it, or nothing.
func holderOf(file *os.File) string {
	buffer := make([]byte, 32)
	n, _ := file.ReadAt(buffer, 0)
	pid, err := strconv.Atoi(strings.TrimSpace(string(buffer[:n])))
	if err != nil || pid <= 0 {
		return ""
	}
	return fmt.Sprintf(" (process %d)", pid)
}

// Release gives the directory free. It may be called twice.
func (l *Lock) Release() error { return l.release() }
