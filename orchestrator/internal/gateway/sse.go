package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// maxEvent bounds one event of a stream that is translated.
const maxEvent = 8 << 20

// errEventTooLarge says that an engine's event is larger than maxEvent.
var errEventTooLarge = errors.New("an event of the engine's stream is too large")

// eventReader takes the events of a stream of Server-Sent Events apart. Only
// their data matters here; names, ids and comments are passed over.
type eventReader struct {
	source io.Reader
	buf    []byte // what was read and not given out
	from   int    // where in buf the next line begins
	data   []byte // of the event that is being read
	some   bool   // whether it has a data line
	err    error  // of source, told when buf has no whole line any more
}

func newEventReader(source io.Reader) *eventReader {
	return &eventReader{source: source, buf: make([]byte, 0, 8<<10)}
}

// next gives the data of the next event, valid until the call after it. io.EOF
// comes only after a whole event; io.ErrUnexpectedEOF says that one was cut.
func (r *eventReader) next() ([]byte, error) {
	r.data, r.some = r.data[:0], false
	for {
		line, ok := r.line()
		if !ok {
			if r.err != nil {
				return nil, r.ended()
			}
			if err := r.fill(); err != nil {
				return nil, err
			}
			continue
		}
		if len(line) == 0 {
			if r.some {
				return r.data, nil
			}
			continue
		}
		value, isData := bytes.CutPrefix(line, []byte("data:"))
		if !isData {
			continue
		}
		if r.some {
			r.data = append(r.data, '\n')
		}
		r.some = true
		r.data = append(r.data, bytes.TrimPrefix(value, []byte(" "))...)
		if len(r.data) > maxEvent {
			return nil, errEventTooLarge
		}
	}
}

// buffered says whether a whole line waits already, so that more can be written
// before it is flushed.
func (r *eventReader) buffered() bool { return bytes.IndexByte(r.buf[r.from:], '\n') >= 0 }

// line gives the next whole line without its end.
func (r *eventReader) line() ([]byte, bool) {
	rest := r.buf[r.from:]
	end := bytes.IndexByte(rest, '\n')
	if end < 0 {
		return nil, false
	}
	r.from += end + 1
	return bytes.TrimSuffix(rest[:end], []byte("\r")), true
}

// fill reads more behind what is left.
func (r *eventReader) fill() error {
	r.buf = r.buf[:copy(r.buf, r.buf[r.from:])]
	r.from = 0
	if len(r.buf) > maxEvent {
		return errEventTooLarge
	}
	if len(r.buf) == cap(r.buf) {
		r.buf = append(r.buf, 0)[:len(r.buf)]
	}
	n, err := r.source.Read(r.buf[len(r.buf):cap(r.buf)])
	r.buf = r.buf[:len(r.buf)+n]
	r.err = err
	return nil
}

// ended says how the stream ended.
func (r *eventReader) ended() error {
	switch {
	case !errors.Is(r.err, io.EOF):
		return fmt.Errorf("read from the engine: %w", r.err)
	case r.some || len(bytes.TrimSpace(r.buf[r.from:])) > 0:
		return io.ErrUnexpectedEOF
	}
	return io.EOF
}
