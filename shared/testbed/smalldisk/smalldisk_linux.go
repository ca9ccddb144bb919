// Package smalldisk gives tests a disk that is quickly full.
package smalldisk

import (
	"syscall"
	"testing"
)

// Mount answers a folder of the test's own on a file system of that size, as tmpfs takes
// it ("256k"). It skips the test where none can be mounted.
func Mount(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("a small file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}
