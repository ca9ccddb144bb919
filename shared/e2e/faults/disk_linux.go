package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// diskSize is that of the orchestrator's own disk: enough for a run.
const diskSize = "size=192m"

// ownDisk gives the orchestrator's data directory a disk of its own, where we
// may mount one, so that it can be filled. The answer takes it away.
func ownDisk(dir string) (release func(), err error) {
	if os.Geteuid() != 0 {
		return func() {}, nil
	}
	path := filepath.Join(dir, "orchestrator")
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	if err := syscall.Mount("faults", path, "tmpfs", 0, diskSize); err != nil {
		return func() {}, nil //nolint:nilerr // not everywhere, and then that fault is left out
	}
	return func() {
		if err := syscall.Unmount(path, syscall.MNT_DETACH); err != nil {
			fmt.Fprintf(os.Stderr, "faults: unmount %s: %v\n", path, err)
		}
	}, nil
}

// ownDisk says whether the data directory is a disk of its own.
func (c *cluster) ownDisk() bool {
	var here, above syscall.Stat_t
	return syscall.Stat(c.dataDir(), &here) == nil && syscall.Stat(c.dir, &above) == nil && here.Dev != above.Dev
}
