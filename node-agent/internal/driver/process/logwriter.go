package process

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// logWriter writes a log for both streams. A disk that is full stops no program: what
// cannot be written is left out, and a line of stderr says so once there is room again.
type logWriter struct {
	dir   string
	limit int64 // of one file

	mu      sync.Mutex // guards what follows
	file    *os.File
	number  int
	size    int64
	last    time.Time
	dropped int64
	cause   error
}

func newLogWriter(dir string, bytes int64) (*logWriter, error) {
	w := &logWriter{dir: dir, limit: max(bytes/maxSegments, driver.MaxLogText)}
	return w, w.next()
}

// next begins a new file and removes the oldest.
func (w *logWriter) next() error {
	file, err := os.OpenFile(segmentPath(w.dir, w.number+1), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if w.file != nil {
		_ = w.file.Close() // each write was answered
	}
	w.file, w.size = file, 0
	w.number++
	if w.number > maxSegments {
		_ = os.Remove(segmentPath(w.dir, w.number-maxSegments)) // one file more until the next time
	}
	return nil
}

func (w *logWriter) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.file.Close() // each write was answered
}

// pump copies a stream of the program into the log until it ends.
func (w *logWriter) pump(from io.Reader, stream driver.Stream) {
	reader := bufio.NewReaderSize(from, driver.MaxLogText)
	var batch []driver.LogEntry
	var texts int
	for {
		line, err := reader.ReadSlice('\n')
		whole := err == nil
		if whole {
			line = line[:len(line)-1]
		}
		if whole || len(line) > 0 {
			batch = append(batch, driver.LogEntry{Stream: stream, Text: string(line), Partial: !whole})
			texts += len(line)
		}
		over := err != nil && !errors.Is(err, bufio.ErrBufferFull)
		// As much at once as is there, and no later than it is there.
		if over || reader.Buffered() == 0 || texts > driver.MaxLogText || len(batch) > 1024 {
			w.write(batch)
			batch, texts = batch[:0], 0
		}
		if over {
			return
		}
	}
}

// write writes entries of one stream, each with a time of its own.
func (w *logWriter) write(entries []driver.LogEntry) {
	if len(entries) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var data []byte
	if w.dropped > 0 {
		note := driver.LogEntry{Stream: driver.Stderr, Text: fmt.Sprintf("orchion: %d bytes of output were lost: %v", w.dropped, w.cause)}
		data = w.stamp(data, &note)
	}
	text := int64(0)
	for i := range entries {
		data = w.stamp(data, &entries[i])
		text += int64(len(entries[i].Text))
	}
	if err := w.put(data); err != nil {
		w.dropped, w.cause = w.dropped+text, err
		return
	}
	w.dropped = 0
}

// stamp gives an entry the time and appends its record. No two have the same time, so that
// each is known again by it.
func (w *logWriter) stamp(to []byte, e *driver.LogEntry) []byte {
	e.Time = time.Now()
	if !e.Time.After(w.last) {
		e.Time = w.last.Add(1)
	}
	w.last = e.Time
	return appendRecord(to, e)
}

func (w *logWriter) put(data []byte) error {
	if w.size > 0 && w.size+int64(len(data)) > w.limit {
		if err := w.next(); err != nil {
			return err
		}
	}
	n, err := w.file.Write(data)
	if err == nil {
		w.size += int64(n)
		return nil
	}
	// Half a record would hide what comes after it.
	return errors.Join(err, w.file.Truncate(w.size), seek(w.file, w.size))
}

func seek(file *os.File, to int64) error {
	_, err := file.Seek(to, io.SeekStart)
	return err
}
