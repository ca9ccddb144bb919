package logfile

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/store"
	"github.com/orchion/orchion/orchestrator/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ref = job.Ref{JobID: "abc", Attempt: 1}

func openIn(t *testing.T, cfg Config) *Store {
	t.Helper()
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return s
}

func TestConformance(t *testing.T) {
	for name, chunkBytes := range map[string]int64{"texts": defaultChunkBytes, "chunks": 300} {
		t.Run(name, func(t *testing.T) {
			dirs := map[store.LogStore]string{}
			open := func(t *testing.T, dir string) store.LogStore {
				// Few files, so that waiting for one is part of the test.
				s := openIn(t, Config{Dir: dir, MaxOpenFiles: 2})
				s.chunkBytes = chunkBytes
				dirs[s] = dir
				return s
			}
			storetest.RunLogs(t, storetest.LogImplementation{
				Open: func(t *testing.T) store.LogStore { return open(t, t.TempDir()) },
				Reopen: func(t *testing.T, s store.LogStore) store.LogStore {
					if err := s.Close(); err != nil {
						t.Fatal(err)
					}
					return open(t, dirs[s])
				},
			})
		})
	}
}

// sample are entries of both streams, with texts that are hard on the format.
func sample() []job.LogEntry {
	var entries []job.LogEntry
	for n := range int64(6) {
		entries = append(entries,
			job.LogEntry{Attempt: 1, Stream: job.Stdout, Line: n + 1, Time: time.Unix(0, 1_900_000_000_000_000_000+n).UTC(), Text: strings.Repeat("o\n", int(n))},
			job.LogEntry{Attempt: 1, Stream: job.Stderr, Line: n + 1, Text: fmt.Sprintf(`e %d \ 0123abcd o 1 1 x`, n)})
	}
	return entries
}

// writeSample answers the bytes of the sample's file.
func writeSample(t *testing.T, complete bool) []byte {
	t.Helper()
	dir := t.TempDir()
	s := openIn(t, Config{Dir: dir})
	w := mustOpen(t, s)
	if err := w.Append(sample()); err != nil {
		t.Fatal(err)
	}
	if complete {
		if err := w.Complete(); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	content, err := os.ReadFile(filepath.Join(dir, "ab", "abc", "1.log"))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func mustOpen(t *testing.T, s *Store) store.LogWriter {
	t.Helper()
	w, err := s.Open(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// withFile opens a store in which the attempt's file has some content.
func withFile(t *testing.T, dir string, content []byte) *Store {
	t.Helper()
	s := openIn(t, Config{Dir: dir})
	if err := os.MkdirAll(filepath.Join(dir, "ab", "abc"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.textPath(ref, 0), content, 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

func read(t *testing.T, s *Store) []job.LogEntry {
	t.Helper()
	entries, _, err := s.Read(t.Context(), ref.JobID, 0, "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// TestCutOffAnywhere cuts a log off at every byte, as a crash may, and goes on
// with it as a node does: it sends what is not held.
func TestCutOffAnywhere(t *testing.T) {
	content, want := writeSample(t, false), sample()
	dir := t.TempDir()
	for cut := range len(content) + 1 {
		s := withFile(t, dir, content[:cut])
		whole := bytes.Count(content[:cut], []byte{'\n'})
		if diff := cmp.Diff(want[:whole], append([]job.LogEntry{}, read(t, s)...)); diff != "" {
			t.Fatalf("cut at %d, read before it is opened:\n%s", cut, diff)
		}
		w := mustOpen(t, s)
		// What is cut off is gone for good: a shorter write over it would let
		// its end show again.
		rest := int64(bytes.LastIndexByte(content[:cut], '\n') + 1)
		if info, err := os.Stat(s.textPath(ref, 0)); err != nil || info.Size() != rest {
			t.Fatalf("cut at %d: %v; the file has %d bytes once it is opened, want %d", cut, err, info.Size(), rest)
		}
		stdout, stderr := w.Held()
		if int(stdout+stderr) != whole {
			t.Fatalf("cut at %d: %d and %d lines are held, want %d together", cut, stdout, stderr, whole)
		}
		if err := w.Append(want); err != nil {
			t.Fatal(err)
		}
		if err := w.Complete(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, read(t, s)); diff != "" {
			t.Fatalf("cut at %d and sent again:\n%s", cut, diff)
		}
		w.Close()
		s.Close()
	}
}

// TestDamagedAnywhere turns over every byte of a log in turn. What is read are
// entries as they were written, notes that something is missing, and nothing
// else; what was not completed can be sent again.
func TestDamagedAnywhere(t *testing.T) {
	want := sample()
	for _, complete := range []bool{false, true} {
		content := writeSample(t, complete)
		dir := t.TempDir()
		for at := range content {
			damaged := bytes.Clone(content)
			damaged[at] ^= 0x41
			s := withFile(t, dir, damaged)
			if got := read(t, s); !isSubset(got, want) {
				t.Fatalf("byte %d: made up: %+v", at, got)
			}
			w := mustOpen(t, s)
			wasComplete := w.Completed()
			if !wasComplete {
				if err := w.Append(want); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, read(t, s)); diff != "" {
					t.Fatalf("byte %d, complete %t: sent again:\n%s", at, complete, diff)
				}
			} else {
				if stdout, stderr := w.Held(); stdout != 6 || stderr != 6 {
					t.Fatalf("byte %d: a complete log holds %d and %d lines", at, stdout, stderr)
				}
				if got := read(t, s); len(got) < len(want)-1 || !isSubset(got, want) {
					t.Fatalf("byte %d: of a complete log only %d entries are left", at, len(got))
				}
			}
			w.Close()
			s.Close()
		}
	}
}

// isSubset says whether got, without notes, is made of entries of want in their
// order.
func isSubset(got, want []job.LogEntry) bool {
	for _, e := range got {
		if e.Line == 0 && e.Text == "here the stored log is damaged; something is missing" {
			continue
		}
		for len(want) > 0 && !cmp.Equal(e, want[0]) {
			want = want[1:]
		}
		if len(want) == 0 {
			return false
		}
	}
	return true
}

func TestGarbage(t *testing.T) {
	for name, content := range map[string][]byte{
		"zeros":            make([]byte, 5000),
		"a long line":      bytes.Repeat([]byte{'x'}, 3*maxRecord),
		"a long line, end": append(bytes.Repeat([]byte{'x'}, 3*maxRecord), '\n'),
		"newlines":         bytes.Repeat([]byte{'\n'}, 100),
	} {
		s := withFile(t, t.TempDir(), content)
		if got := read(t, s); !isSubset(got, nil) {
			t.Errorf("%s: made up: %+v", name, got)
		}
		if _, err := s.Tail(t.Context(), ref.JobID, 0, 10); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		w := mustOpen(t, s)
		if err := w.Append(sample()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(sample(), read(t, s)); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
		w.Close()
	}
}

// fill appends lines of twenty characters, one at a time.
func fill(t *testing.T, w store.LogWriter, lines int64) {
	t.Helper()
	held, _ := w.Held()
	for n := held + 1; n <= held+lines; n++ {
		entry := job.LogEntry{Attempt: 1, Stream: job.Stdout, Line: n, Text: fmt.Sprintf("twenty characters %02d", n%100)}
		if err := w.Append([]job.LogEntry{entry}); err != nil {
			t.Fatal(err)
		}
	}
}

// Over its limit a log keeps its beginning and its end, and says how many lines
// it does not.
func TestLimit(t *testing.T) {
	dir := t.TempDir()
	cfg := Config{Dir: dir, MaxBytes: 4000}
	check := func(s *Store) {
		t.Helper()
		got := read(t, s)
		expected := int64(1)
		notes := 0
		for i, e := range got {
			if e.Note {
				next := got[i+1].Line
				if want := fmt.Sprintf("%d lines dropped here: the log is over its limit, and only its beginning and its end are kept", next-expected); e.Text != want || e.Line != 0 {
					t.Errorf("note %+v, want %s", e, want)
				}
				notes++
				expected = next
				continue
			}
			if e.Line != expected {
				t.Fatalf("line %d where %d should be", e.Line, expected)
			}
			expected++
		}
		if notes != 1 || expected != 1001 || len(got) < 50 || len(got) > 120 {
			t.Errorf("%d entries, %d notes, the last line is %d", len(got), notes, expected-1)
		}
		// From the end, over the gap.
		for _, n := range []int{1, 10, 60, len(got) - 2, len(got)} {
			position, err := s.Tail(t.Context(), ref.JobID, 0, n)
			if err != nil {
				t.Fatal(err)
			}
			entries, _, err := s.Read(t.Context(), ref.JobID, 0, position, 1000)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got[max(0, len(got)-n):], entries); diff != "" {
				t.Errorf("the last %d:\n%s", n, diff)
			}
		}
	}
	s := openIn(t, cfg)
	w := mustOpen(t, s)
	fill(t, w, 600)
	// A follower whose place is dropped meanwhile goes on behind it.
	_, place, err := s.Read(t.Context(), ref.JobID, 0, "", 30)
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	s.Close()
	s = openIn(t, cfg)
	w = mustOpen(t, s)
	if stdout, _ := w.Held(); stdout != 600 {
		t.Fatalf("after a crash %d lines are accounted for, want 600", stdout)
	}
	fill(t, w, 400)
	check(s)
	entries, _, err := s.Read(t.Context(), ref.JobID, 0, place, 1000)
	if err != nil || len(entries) == 0 || entries[len(entries)-1].Line != 1000 {
		t.Errorf("from %s on: %d entries, %v", place, len(entries), err)
	}
	if err := w.Complete(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	s.Close()

	s = openIn(t, cfg)
	check(s)
	w = mustOpen(t, s)
	if stdout, _ := w.Held(); stdout != 1000 || !w.Completed() {
		t.Errorf("after reopening: %d lines, complete %t", stdout, w.Completed())
	}
	w.Close()
}

// When the disk refuses, the caller hears it, nothing half is read, and it goes
// on once the disk takes it.
func TestUnwritable(t *testing.T) {
	dir := t.TempDir()
	s := openIn(t, Config{Dir: dir})
	w := mustOpen(t, s)
	defer w.Close()
	// A file where a folder should be refuses even the superuser.
	if err := os.WriteFile(filepath.Join(dir, "ab"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := w.Append(sample())
	if fault.CodeOf(err) != fault.Unavailable || !strings.HasPrefix(err.Error(), "the log could not be stored; see whether the disk with the data directory is full") {
		t.Errorf("got %v", err)
	}
	if stdout, stderr := w.Held(); stdout != 0 || stderr != 0 {
		t.Errorf("%d and %d lines are held though none could be stored", stdout, stderr)
	}
	if err := os.Remove(filepath.Join(dir, "ab")); err != nil {
		t.Fatal(err)
	}
	if err := w.Append(sample()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample(), read(t, s)); diff != "" {
		t.Error(diff)
	}
}

func TestManyWaiters(t *testing.T) {
	s := openIn(t, Config{Dir: t.TempDir()})
	first := s.Changed("first")
	for n := range maxWaited {
		s.Changed(fmt.Sprint("job-", n))
	}
	select {
	case <-first:
	default:
		t.Error("the first is still waited for")
	}
	if len(s.waited) > maxWaited {
		t.Errorf("%d are waited for, at most %d are allowed", len(s.waited), maxWaited)
	}
}

func TestClosedWritersLeaveNothing(t *testing.T) {
	s := openIn(t, Config{Dir: t.TempDir()})
	for range 3 {
		a, b := mustOpen(t, s), mustOpen(t, s)
		a.Close()
		a.Close()
		b.Close()
	}
	if len(s.logs) != 0 {
		t.Errorf("%d logs are held open", len(s.logs))
	}
}
