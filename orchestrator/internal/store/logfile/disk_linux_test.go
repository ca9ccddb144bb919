package logfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/shared/testbed/smalldisk"
)

// On a full disk appends are refused, all of them or none, reads go on, and once
// there is room it goes on without being opened again, with nothing missing.
func TestFullDisk(t *testing.T) {
	dir := smalldisk.Mount(t, "256k")
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 192<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	s := openIn(t, Config{Dir: filepath.Join(dir, "logs")})
	s.chunkBytes = 8 << 10 // so that chunks cannot be made, either
	w := mustOpen(t, s)
	entries := many(2000)
	for i := range entries {
		entries[i].Text += strings.Repeat(string(rune('a'+i*7%26)), 40+i%60)
	}
	sent, refusals := 0, 0
	for sent < len(entries) {
		next := min(sent+25, len(entries))
		err := w.Append(entries[sent:next])
		if err == nil {
			sent = next
			continue
		}
		refusals++
		if fault.CodeOf(err) != fault.Unavailable || !strings.HasPrefix(err.Error(), "the log could not be stored; see whether the disk with the data directory is full") {
			t.Fatalf("got %v", err)
		}
		if held, _ := w.Held(); held != int64(sent) {
			t.Fatalf("%d lines are held, %d were acknowledged", held, sent)
		}
		got, _, err := s.Read(t.Context(), ref.JobID, 0, "", 10_000)
		if diff := cmp.Diff(entries[:sent], got); diff != "" || err != nil {
			t.Fatalf("read while the disk is full, %v:\n%s", err, diff)
		}
		switch refusals {
		case 1, 2: // it stays full
		default:
			if err := os.Remove(filler); err != nil {
				t.Fatalf("full again with %d lines: %v", sent, err)
			}
		}
	}
	if refusals == 0 {
		t.Error("the disk was never full")
	}
	if err := w.Complete(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	s.Close()
	s = openIn(t, Config{Dir: filepath.Join(dir, "logs")})
	got, _, err := s.Read(t.Context(), ref.JobID, 0, "", 10_000)
	if diff := cmp.Diff(entries, got); diff != "" || err != nil {
		t.Errorf("in the end, %v:\n%s", err, diff)
	}
	s.Close()
}
