package supervise

import (
	"bytes"
	"fmt"
	"io"
	"sync"
)

// maxLine bounds how much of an unfinished line is kept, in bytes. A program
// that never ends its line is printed in pieces of this size.
const maxLine = 64 << 10

// colours are ANSI foreground colours that read well on light and on dark.
var colours = [...]string{"36", "33", "35", "32", "34", "31"}

// Mux merges the output of several programs, line by line, each line behind the
// name of its program.
type Mux struct {
	colour bool
	width  int

	mu   sync.Mutex // guards out and next
	out  io.Writer
	next int
}

// NewMux returns a Mux that writes to out. Names are padded to width
// characters; colour sets them in ANSI colours.
func NewMux(out io.Writer, width int, colour bool) *Mux {
	return &Mux{out: out, width: width, colour: colour}
}

// Writer returns the place for the output of the program of this name.
func (m *Mux) Writer(name string) *LineWriter {
	m.mu.Lock()
	defer m.mu.Unlock()
	prefix := fmt.Sprintf("%-*s | ", m.width, name)
	if m.colour {
		prefix = fmt.Sprintf("\x1b[%sm%-*s |\x1b[0m ", colours[m.next%len(colours)], m.width, name)
	}
	m.next++
	return &LineWriter{mux: m, prefix: prefix}
}

func (m *Mux) writeLine(prefix string, line []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	// One Write per line, so that nothing gets between prefix and text. When our
	// own output is gone there is nobody left to tell.
	_, _ = m.out.Write(append(append([]byte(prefix), bytes.TrimSuffix(line, []byte("\r"))...), '\n'))
}

// LineWriter passes on whole lines. It may be shared by a program's two output
// streams.
type LineWriter struct {
	mux    *Mux
	prefix string

	mu      sync.Mutex // guards the rest
	partial []byte
	last    string
}

// Write never fails: a program must not die because nobody reads it.
func (w *LineWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(p)
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			w.partial = append(w.partial, p...)
			if len(w.partial) >= maxLine {
				w.flushLocked()
			}
			break
		}
		w.partial = append(w.partial, p[:end]...)
		w.flushLocked()
		p = p[end+1:]
	}
	return n, nil
}

// Flush passes on an unfinished line.
func (w *LineWriter) Flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.partial) > 0 {
		w.flushLocked()
	}
}

// Last returns the last line that was not empty.
func (w *LineWriter) Last() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

func (w *LineWriter) flushLocked() {
	w.mux.writeLine(w.prefix, w.partial)
	if line := bytes.TrimSpace(w.partial); len(line) > 0 {
		w.last = string(line)
	}
	w.partial = w.partial[:0]
}
