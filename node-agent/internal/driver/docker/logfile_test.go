package docker

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/daemon/logger/jsonfilelog/jsonlog"
	"pgregory.net/rapid"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// appendJSON writes a record as Docker does.
func appendJSON(t rapid.TB, to []byte, r jsonRecord) []byte {
	text := r.text
	if r.whole {
		text = append(bytes.Clone(text), '\n')
	}
	var buf bytes.Buffer
	err := (&jsonlog.JSONLogs{Log: text, Stream: string(r.stream), Created: r.at}).MarshalJSONBuf(&buf)
	if err != nil {
		t.Fatal(err)
	}
	return append(append(to, buf.Bytes()...), '\n')
}

func TestJSONRecord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := jsonRecord{
			stream: rapid.SampledFrom([]driver.Stream{driver.Stdout, driver.Stderr}).Draw(t, "stream"),
			at:     time.Unix(rapid.Int64Range(1, 1<<33).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanoseconds")).UTC(),
			whole:  rapid.Bool().Draw(t, "whole"),
		}
		text := rapid.OneOf(
			rapid.String(),
			rapid.StringMatching(`(a|\\|"|<|&|\t|\r|\x00|\x1b|\\n|\\u00e9|\x{2028}|\x{1F600}|é)*`),
			rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
		).Draw(t, "text")
		text = strings.ReplaceAll(text, "\n", "")
		want.text = []byte(text)
		got := parseJSONRecord(bytes.TrimSuffix(appendJSON(t, nil, want), []byte("\n")))
		// Docker replaces each byte that is no UTF-8.
		replaced := string([]rune(text))
		if got.stream != want.stream || !got.at.Equal(want.at) || got.whole != want.whole || string(got.text) != replaced {
			t.Fatalf("%+q came back as %+q: %+v", replaced, got.text, got)
		}
	})
}

func TestOddJSONRecords(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	const stamp = `"time":"2026-01-02T03:04:05.000000006Z"`
	for in, want := range map[string]jsonRecord{
		`{"log":"a\n","stream":"stderr","attrs":{"tag":"x"},` + stamp + `}`: {driver.Stderr, at, []byte("a"), true},
		`{"stream":"stdout",` + stamp + `}`:                                 {driver.Stdout, at, nil, false},
		`{"log":"\ud83d\ude00","stream":"stdout",` + stamp + `}`:            {driver.Stdout, at, []byte("😀"), false},
		`{"log":"\ud83d.","stream":"stdout",` + stamp + `}`:                 {driver.Stdout, at, []byte("\uFFFD."), false},
		`{"log":"a{"log":"b\n","stream":"stdout",` + stamp + `}`:            {stream: driver.Stdout, whole: true},
		`{"log":"\x","stream":"stdout",` + stamp + `}`:                      {stream: driver.Stdout, whole: true},
		`{"log":"a\n","stream":"stdout","time":"today"}`:                    {stream: driver.Stdout, whole: true},
		`{"log":"\u12`: {stream: driver.Stdout, whole: true},
		``:             {stream: driver.Stdout, whole: true},
	} {
		if want.at.IsZero() {
			want.text = []byte(in) // as it is
		}
		got := parseJSONRecord([]byte(in))
		if got.stream != want.stream || !got.at.Equal(want.at) || got.whole != want.whole || string(got.text) != string(want.text) {
			t.Errorf("%s: %+v, text %q; want %+v, text %q", in, got, got.text, want, want.text)
		}
	}
}

const testID = "0123456789abcdef"

// rotating writes a log as Docker's driver json-file does (daemon/logger/loggerutils in moby).
type rotating struct {
	path    string
	limit   int
	size    int
	file    *os.File
	written int
}

func newRotating(t rapid.TB, dir string, limit int) *rotating {
	w := &rotating{path: filepath.Join(dir, testID+"-json.log"), limit: limit}
	w.open(t)
	return w
}

const rotatedFiles = 4

func (w *rotating) config() container.LogConfig {
	return container.LogConfig{Type: "json-file", Config: map[string]string{"max-file": strconv.Itoa(rotatedFiles)}}
}

func (w *rotating) open(t rapid.TB) {
	var err error
	if w.file, err = os.OpenFile(w.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
		t.Fatal(err)
	}
	w.size = 0
}

func (w *rotating) write(t rapid.TB, padding int) {
	if w.size >= w.limit {
		_ = w.file.Close()
		_ = os.Remove(fmt.Sprint(w.path, ".", rotatedFiles-1))
		for n := rotatedFiles - 1; n > 1; n-- {
			_ = os.Rename(fmt.Sprint(w.path, ".", n-1), fmt.Sprint(w.path, ".", n))
		}
		if err := os.Rename(w.path, w.path+".1"); err != nil {
			t.Fatal(err)
		}
		w.open(t)
	}
	record := appendJSON(t, nil, jsonRecord{driver.Stdout, time.Unix(1, 0), fmt.Appendf(nil, "entry %d %s", w.written, strings.Repeat("x", padding)), true})
	if _, err := w.file.Write(record); err != nil {
		t.Fatal(err)
	}
	w.size += len(record)
	w.written++
}

// seeing reads a rotating log and checks that no record is missing without a word.
type seeing struct {
	w     *rotating
	files *logFiles
	next  int // -1: the first there is
}

// read takes up to so many records, and says whether there are more.
func (s *seeing) read(t rapid.TB, most int) bool {
	for range most {
		if s.files == nil {
			if s.files, s.next = openLogFiles(s.w.path, testID, s.w.config()), -1; s.files == nil {
				t.Fatal("the log cannot be opened")
			}
		}
		r, err := s.files.next()
		switch {
		case errors.Is(err, io.EOF):
			return false
		case errors.Is(err, driver.ErrOvertaken):
			s.close()
			continue
		case err != nil:
			t.Fatal(err)
		}
		var number int
		if _, err := fmt.Sscanf(string(r.text), "entry %d", &number); err != nil {
			t.Fatalf("read %q: %v", r.text, err)
		}
		if s.next >= 0 && number != s.next {
			t.Fatalf("read entry %d, want %d", number, s.next)
		}
		s.next = number + 1
	}
	return true
}

func (s *seeing) close() {
	if s.files != nil {
		s.files.close()
		s.files = nil
	}
}

// A reader sees every record once and in order, over any number of files, or is told that
// some are gone.
func TestLogFilesModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "orchion-log-")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		w := newRotating(t, dir, rapid.IntRange(100, 1000).Draw(t, "limit"))
		defer func() { _ = w.file.Close() }()
		s := &seeing{w: w}
		defer s.close()
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				for range rapid.IntRange(1, 12).Draw(t, "records") {
					w.write(t, rapid.IntRange(0, 60).Draw(t, "padding"))
				}
			},
			"read some": func(t *rapid.T) { s.read(t, rapid.IntRange(1, 8).Draw(t, "most")) },
			"read all": func(t *rapid.T) {
				if s.read(t, 1<<20) || w.written > 0 && s.next != w.written {
					t.Fatalf("read up to %d of %d", s.next, w.written)
				}
			},
		})
	})
}

// The files are renamed while they are looked for.
func TestLogFilesWhileTheyAreRenamed(t *testing.T) {
	w := newRotating(t, t.TempDir(), 2000)
	s := &seeing{w: w}
	defer s.close()
	written := make(chan struct{})
	go func() {
		defer close(written)
		for range 20_000 {
			w.write(t, 50)
		}
	}()
	for over := false; ; {
		if s.read(t, 1000) {
			continue
		}
		if over {
			break
		}
		select {
		case <-written:
			over = true
		default:
		}
	}
	_ = w.file.Close()
	if s.next != w.written {
		t.Errorf("read up to %d of %d", s.next, w.written)
	}
}

// A log that somebody empties begins anew.
func TestEmptiedLogFile(t *testing.T) {
	w := newRotating(t, t.TempDir(), 1<<20)
	defer func() { _ = w.file.Close() }()
	w.write(t, 50)
	s := &seeing{w: w}
	defer s.close()
	s.read(t, 10)
	if err := os.Truncate(w.path, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := s.files.next(); !errors.Is(err, driver.ErrOvertaken) {
		t.Errorf("next = %v, want %v", err, driver.ErrOvertaken)
	}
}

// Half a record, as an engine leaves it that is killed, is given as it is.
func TestHalfRecord(t *testing.T) {
	w := newRotating(t, t.TempDir(), 1)
	defer func() { _ = w.file.Close() }()
	w.write(t, 0)
	half := `{"log":"entry`
	if _, err := w.file.WriteString(half); err != nil {
		t.Fatal(err)
	}
	w.write(t, 0) // in the next file
	files := openLogFiles(w.path, testID, w.config())
	defer files.close()
	for _, want := range []string{"entry 0 ", half, "entry 1 "} {
		if r, err := files.next(); err != nil || string(r.text) != want || !r.whole {
			t.Fatalf("next = %q, %v; want %q", r.text, err, want)
		}
	}
	if _, err := files.next(); !errors.Is(err, io.EOF) {
		t.Errorf("next = %v, want %v", err, io.EOF)
	}
}

// What cannot be read, or may be another's, is asked for.
func TestLogsThatAreAskedFor(t *testing.T) {
	w := newRotating(t, t.TempDir(), 1000)
	defer func() { _ = w.file.Close() }()
	compressed := w.config()
	compressed.Config["compress"] = "true"
	journald := w.config()
	journald.Type = "journald"
	for name, l := range map[string]*logFiles{
		"another engine's": openLogFiles(filepath.Join(t.TempDir(), filepath.Base(w.path)), testID, w.config()),
		"another one's":    openLogFiles(w.path, "fedcba", w.config()),
		"no container's":   openLogFiles(w.path, "", w.config()),
		"no path":          openLogFiles("", testID, w.config()),
		"compressed":       openLogFiles(w.path, testID, compressed),
		"journald":         openLogFiles(w.path, testID, journald),
	} {
		if l != nil {
			t.Errorf("%s: the files are read", name)
		}
	}
}

func BenchmarkLogFiles(b *testing.B) {
	var file []byte
	for n := range 10_000 {
		file = appendJSON(b, file, jsonRecord{driver.Stdout, time.Unix(1_900_000_000, int64(n)), bytes.Repeat([]byte("x"), 99), true})
	}
	path := filepath.Join(b.TempDir(), testID+"-json.log")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(10_000 * 100)
	for b.Loop() {
		files := openLogFiles(path, testID, container.LogConfig{Type: "json-file"})
		count := 0
		lines := logLines{handle: func(driver.LogEntry) error { count++; return nil }}
		for {
			r, err := files.next()
			if err != nil {
				break
			}
			if err := lines.add(r.stream, r.at, r.text, r.whole); err != nil {
				b.Fatal(err)
			}
		}
		files.close()
		if count != 10_000 {
			b.Fatal(count)
		}
	}
}
