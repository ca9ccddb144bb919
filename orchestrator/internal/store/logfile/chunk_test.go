package logfile

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/orchion/orchion/orchestrator/internal/job"
)

// chunked opens a store whose chunks are small.
func chunked(t *testing.T, dir string) *Store {
	t.Helper()
	s := openIn(t, Config{Dir: dir})
	s.chunkBytes = 200
	return s
}

// many are entries that take some chunks.
func many(n int64) []job.LogEntry {
	var entries []job.LogEntry
	for line := range n {
		entries = append(entries, job.LogEntry{
			Attempt: 1, Stream: job.Stdout, Line: line + 1, Text: fmt.Sprintf("line %d", line+1),
			Time: time.Unix(1_900_000_000+line, 0).UTC(),
		})
	}
	return entries
}

// writeMany appends entries one at a time.
func writeMany(t *testing.T, s *Store, entries []job.LogEntry, complete bool) {
	t.Helper()
	w := mustOpen(t, s)
	defer w.Close()
	for i := range entries {
		if err := w.Append(entries[i : i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if complete {
		if err := w.Complete(); err != nil {
			t.Fatal(err)
		}
	}
}

// files are the names of the files of the test's job.
func files(t *testing.T, s *Store) []string {
	t.Helper()
	found, err := os.ReadDir(s.folder(ref.JobID))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range found {
		names = append(names, f.Name())
	}
	return names
}

func TestFileNames(t *testing.T) {
	for name, want := range map[string]fileName{
		"1.log":        {1, textSuffix, span{}},
		"12.345.log":   {12, textSuffix, span{start: 345}},
		"3.0-7.zst":    {3, chunkSuffix, span{0, 7}},
		"3.70-700.zst": {3, chunkSuffix, span{70, 700}},
		"4.removed":    {4, removedSuffix, span{}},
	} {
		if got, ok := parseFileName(name); !ok || got != want || got.String() != name {
			t.Errorf("%s is %+v, %v, %s", name, got, ok, got)
		}
	}
	for _, name := range []string{"", "x", "0.log", "-1.log", "1.log.zst", "1.zst", "1.5.zst", "1.7-7.zst", "1.9-3.zst", "1.0-7.log", "1.0-7.zst.part", "1.2.removed", "1.-3.log"} {
		if f, ok := parseFileName(name); ok {
			t.Errorf("%q is taken for %+v", name, f)
		}
	}
}

// A chunk can be read by what reads zstd, and takes less room than its records.
func TestChunksAreSmall(t *testing.T) {
	s := openIn(t, Config{Dir: t.TempDir()})
	w := mustOpen(t, s)
	entries := many(40_000)
	for part := range slices.Chunk(entries, 1000) {
		if err := w.Append(part); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Complete(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	var raw, stored int64
	for _, name := range files(t, s) {
		f, ok := parseFileName(name)
		if !ok || f.suffix != chunkSuffix {
			t.Errorf("%s is left of a whole log", name)
		}
		info, err := os.Stat(filepath.Join(s.folder(ref.JobID), name))
		if err != nil {
			t.Fatal(err)
		}
		raw, stored = raw+f.span.length(), stored+info.Size()
	}
	if stored > raw/8 {
		t.Errorf("%d bytes of records take %d", raw, stored)
	}
	position, got := "", []job.LogEntry(nil)
	for {
		found, next, err := s.Read(t.Context(), ref.JobID, 0, position, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(found) == 0 {
			break
		}
		got, position = append(got, found...), next
	}
	if diff := cmp.Diff(entries, got); diff != "" {
		t.Error(diff)
	}
}

// Wherever a crash ends the making of a chunk, the log is whole, and goes on.
func TestCrashWhileAChunkIsMade(t *testing.T) {
	entries := many(40)
	for _, state := range []string{"a part is left", "text and chunk are there", "only the chunk is there"} {
		t.Run(state, func(t *testing.T) {
			dir := t.TempDir()
			s := openIn(t, Config{Dir: dir}) // one text
			writeMany(t, s, entries, false)
			text, err := os.ReadFile(s.textPath(ref, 0))
			if err != nil {
				t.Fatal(err)
			}
			s.Close()
			s = chunked(t, dir)
			w := mustOpen(t, s)
			l := s.logs[ref.JobID][ref.Attempt]
			l.sealAt = 0
			l.sealLocked()
			w.Close()
			s.Close()
			chunks := files(t, s)
			if len(chunks) < 5 || slices.Contains(chunks, "1.log") {
				t.Fatalf("chunks are %v", chunks)
			}
			switch state {
			case "a part is left":
				for _, name := range chunks {
					path := filepath.Join(s.folder(ref.JobID), name)
					if err := os.Rename(path, path+partSuffix); err != nil {
						t.Fatal(err)
					}
				}
				fallthrough
			case "text and chunk are there":
				if err := os.WriteFile(s.textPath(ref, 0), text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s = chunked(t, dir)
			if diff := cmp.Diff(entries, read(t, s)); diff != "" {
				t.Errorf("before it is opened:\n%s", diff)
			}
			w = mustOpen(t, s)
			if stdout, _ := w.Held(); stdout != 40 {
				t.Errorf("%d lines are held", stdout)
			}
			more := many(60)
			if err := w.Append(more); err != nil {
				t.Fatal(err)
			}
			if err := w.Complete(); err != nil {
				t.Fatal(err)
			}
			w.Close()
			if diff := cmp.Diff(more, read(t, s)); diff != "" {
				t.Errorf("gone on with:\n%s", diff)
			}
		})
	}
}

// TestDamagedChunk turns over every byte of a chunk. What is read is as it was
// written or a note, and what was not completed can be sent again.
func TestDamagedChunk(t *testing.T) {
	entries := many(20)
	for _, complete := range []bool{false, true} {
		dir := t.TempDir()
		s := chunked(t, dir)
		writeMany(t, s, entries, complete)
		s.Close()
		names := files(t, s)
		name := names[slices.IndexFunc(names, func(n string) bool { return strings.HasSuffix(n, chunkSuffix) && !strings.HasPrefix(n, "1.0-") })]
		path := filepath.Join(s.folder(ref.JobID), name)
		content := map[string][]byte{}
		for _, n := range names {
			var err error
			if content[n], err = os.ReadFile(filepath.Join(s.folder(ref.JobID), n)); err != nil {
				t.Fatal(err)
			}
		}
		whole := content[name]
		for at := range len(whole) + 1 {
			for n, c := range content {
				if err := os.WriteFile(filepath.Join(s.folder(ref.JobID), n), c, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			damaged := bytes.Clone(whole[:at]) // cut off, or
			if at < len(whole) && at%2 == 0 {
				damaged = bytes.Clone(whole)
				damaged[at] ^= 0x41
			}
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			s := chunked(t, dir)
			if got := read(t, s); !isSubset(got, entries) {
				t.Fatalf("byte %d: made up: %+v", at, got)
			}
			if _, err := s.Tail(t.Context(), ref.JobID, 0, 100); err != nil {
				t.Fatalf("byte %d: %v", at, err)
			}
			w := mustOpen(t, s)
			if w.Completed() != complete {
				t.Fatalf("byte %d: complete %t, want %t", at, w.Completed(), complete)
			}
			if !complete {
				if err := w.Append(entries); err != nil {
					t.Fatal(err)
				}
				if got := read(t, s); !isSubset(got, entries) || got[len(got)-1].Line != 20 {
					t.Fatalf("byte %d: sent again, the log is %+v", at, got)
				}
			}
			w.Close()
			s.Close()
			for _, n := range files(t, s) {
				os.Remove(filepath.Join(s.folder(ref.JobID), n))
			}
		}
	}
}

// A chunk at the end of an unfinished log that cannot be read is sent again.
func TestDamagedLastChunkIsSentAgain(t *testing.T) {
	dir := t.TempDir()
	s := chunked(t, dir)
	entries := many(20)
	writeMany(t, s, entries, false)
	s.Close()
	shape, err := s.layouts(ref.JobID)
	if err != nil {
		t.Fatal(err)
	}
	chunks := shape[1].chunks
	if err := os.WriteFile(s.chunkPath(ref, chunks[len(chunks)-1]), []byte("nothing of the kind"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = chunked(t, dir)
	w := mustOpen(t, s)
	defer w.Close()
	if stdout, _ := w.Held(); stdout == 0 || stdout >= 20 {
		t.Errorf("%d lines are held", stdout)
	}
	if err := w.Append(entries); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(entries, read(t, s)); diff != "" {
		t.Error(diff)
	}
}

func TestResume(t *testing.T) {
	for _, chunkBytes := range []int64{defaultChunkBytes, 200} {
		s := openIn(t, Config{Dir: t.TempDir()})
		s.chunkBytes = chunkBytes
		w := mustOpen(t, s)
		t.Cleanup(func() { w.Close() })
		if r, err := w.Resume(); err != nil || r.First.Line != 0 || r.Last.Line != 0 {
			t.Errorf("an empty log: %+v, %v", r, err)
		}
		entries := many(20)
		for i := range 8 {
			entries[19-i].Time = entries[19].Time
		}
		entries[15].Note, entries[0].Note = true, true
		if err := w.Append(entries); err != nil {
			t.Fatal(err)
		}
		r, err := w.Resume()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(entries[1], r.First); diff != "" {
			t.Errorf("first:\n%s", diff)
		}
		if diff := cmp.Diff(entries[19], r.Last); diff != "" || r.Same != 7 {
			t.Errorf("last, %d of its time, want 7:\n%s", r.Same, diff)
		}
	}
}

func TestSince(t *testing.T) {
	dir := t.TempDir()
	s := chunked(t, dir)
	entries := many(100)
	writeMany(t, s, entries, true)
	for _, n := range []int{0, 1, 50, 98, 99} {
		position, err := s.Since(t.Context(), ref.JobID, 0, entries[n].Time)
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := s.Read(t.Context(), ref.JobID, 0, position, 1000)
		if err != nil || len(got) < 100-n || len(got) > 100-n+8 {
			t.Errorf("since line %d: %d entries, %v", n+1, len(got), err)
		}
	}
	position, err := s.Since(t.Context(), ref.JobID, 0, time.Now().Add(100*365*24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if got, _, err := s.Read(t.Context(), ref.JobID, 0, position, 1000); err != nil || len(got) > 8 {
		t.Errorf("since later: %d entries, %v", len(got), err)
	}
	if position, err := s.Since(t.Context(), "none", 0, time.Now()); position != "" || err != nil {
		t.Errorf("of no log: %q, %v", position, err)
	}
}

// A failure to make a chunk, as on a full disk, keeps nothing from being stored.
func TestChunkCannotBeMade(t *testing.T) {
	dir := t.TempDir()
	s := chunked(t, dir)
	entries := many(20)
	w := mustOpen(t, s)
	defer w.Close()
	if err := w.Append(entries[:2]); err != nil {
		t.Fatal(err)
	}
	s.codec.once.Do(func() { s.codec.err = errors.New("no compressor") })
	for i := range entries {
		if err := w.Append(entries[i : i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Complete(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(entries, read(t, s)); diff != "" {
		t.Error(diff)
	}
}
