package blob

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/shared/testbed/smalldisk"
)

// On a full disk nothing half-written stays, reads go on, and once there is room
// it goes on without being opened again.
func TestFullDisk(t *testing.T) {
	dir := smalldisk.Mount(t, "256k")
	s := open(t, Config{Dir: filepath.Join(dir, "blobs")})
	small := put(t, s, "small")
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 128<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	large := strings.Repeat("large", 32<<10)
	_, err := s.Put(t.Context(), digestOf([]byte(large)), strings.NewReader(large))
	wantFault(t, err, fault.Unavailable, "the disk with the data directory is full; nothing was stored; free some space and try again")
	if n := files(t, filepath.Join(dir, "blobs")); n != 1 || s.Bytes() != 5+perBlob {
		t.Errorf("%d files and %d bytes are left", n, s.Bytes())
	}
	if got := read(t, s, small); got != "small" {
		t.Errorf("read %q", got)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if got := read(t, s, put(t, s, large)); got != large {
		t.Error("what was stored in the end differs")
	}
}
