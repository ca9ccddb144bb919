package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// A reader that keeps up sees every entry once and in order, over any number of files; one
// that was left behind is told, and never sees a gap without a word.
func TestLogModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "orchion-log-")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		w := &logWriter{dir: dir, limit: int64(rapid.IntRange(64, 512).Draw(t, "limit"))}
		if err := w.next(); err != nil {
			t.Fatal(err)
		}
		defer w.close()
		written := 0
		reader, seen := &logReader{dir: dir}, -1 // the next entry; -1: the first there is
		defer func() { reader.close() }()
		last := time.Time{}
		// read takes up to so many entries.
		read := func(most int) {
			for range most {
				e, err := reader.next()
				switch {
				case errors.Is(err, io.EOF):
					if seen != written && written > 0 {
						t.Fatalf("the log ends after %d entries of %d", seen, written)
					}
					return
				case errors.Is(err, driver.ErrOvertaken):
					reader.close()
					reader, last = &logReader{dir: dir}, time.Time{}
					seen = -1
					continue
				case err != nil:
					t.Fatal(err)
				}
				var number int
				if _, err := fmt.Sscanf(e.Text, "entry %d", &number); err != nil {
					t.Fatalf("read %q: %v", e.Text, err)
				}
				if seen >= 0 && number != seen {
					t.Fatalf("read entry %d, want %d", number, seen)
				}
				if !e.Time.After(last) || (e.Stream == driver.Stderr) != (number%3 == 0) || e.Partial != (number%5 == 0) {
					t.Fatalf("entry %d came as %+v after %v", number, e, last)
				}
				seen, last = number+1, e.Time
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				for range rapid.IntRange(1, 12).Draw(t, "entries") {
					e := driver.LogEntry{Stream: driver.Stdout, Partial: written%5 == 0}
					if written%3 == 0 {
						e.Stream = driver.Stderr
					}
					e.Text = fmt.Sprintf("entry %d %s", written, strings.Repeat("x", rapid.IntRange(0, 60).Draw(t, "length")))
					w.write([]driver.LogEntry{e})
					written++
				}
			},
			"read some": func(t *rapid.T) { read(rapid.IntRange(1, 8).Draw(t, "most")) },
			"read all": func(*rapid.T) {
				read(1 << 20)
				if written > 0 && seen != written {
					t.Fatalf("read up to %d of %d", seen, written)
				}
			},
			"": func(t *rapid.T) {
				if numbers, err := segments(dir); err != nil || len(numbers) > maxSegments {
					t.Fatalf("files %v, %v", numbers, err)
				}
			},
		})
	})
}

// A record that was cut off, as by a supervisor that was killed, ends its file and nothing more.
func TestCutOffRecord(t *testing.T) {
	dir := t.TempDir()
	whole := appendRecord(nil, &driver.LogEntry{Stream: driver.Stdout, Text: "whole", Time: time.Unix(1, 0)})
	cut := appendRecord(nil, &driver.LogEntry{Stream: driver.Stderr, Text: "cut off", Time: time.Unix(2, 0)})
	for n := range cut {
		if err := os.WriteFile(segmentPath(dir, 1), append(whole[:len(whole):len(whole)], cut[:n]...), 0o600); err != nil {
			t.Fatal(err)
		}
		r := &logReader{dir: dir}
		e, err := r.next()
		if err != nil || e.Text != "whole" {
			t.Fatalf("with %d bytes more: %+v, %v", n, e, err)
		}
		if e, err := r.next(); !errors.Is(err, io.EOF) {
			t.Fatalf("with %d bytes more, then: %+v, %v", n, e, err)
		}
		r.close()
	}
}

// What cannot be written is told of once there is room again, and hides nothing after it.
func TestFullDiskIsTold(t *testing.T) {
	dir := t.TempDir()
	w, err := newLogWriter(dir, driver.MinLogBytes)
	if err != nil {
		t.Fatal(err)
	}
	entry := func(text string) []driver.LogEntry { return []driver.LogEntry{{Stream: driver.Stdout, Text: text}} }
	w.write(entry("before"))
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("this system has no /dev/full")
	}
	if err != nil {
		t.Fatal(err)
	}
	good := w.file
	w.file = full
	w.write(entry("lost"))
	if !errors.Is(w.cause, syscall.ENOSPC) {
		t.Errorf("cause = %v", w.cause)
	}
	_ = full.Close() // nothing was written to it
	w.file = good
	w.write(entry("after"))
	w.close()
	r := &logReader{dir: dir}
	defer r.close()
	var lines []string
	for {
		e, err := r.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(e.Stream)+" "+e.Text)
	}
	if len(lines) != 3 || lines[0] != "stdout before" || !strings.HasPrefix(lines[1], "stderr orchion: 4 bytes of output were lost: ") ||
		!strings.Contains(lines[1], "no space left on device") || lines[2] != "stdout after" {
		t.Errorf("the log is %q", lines)
	}
}
