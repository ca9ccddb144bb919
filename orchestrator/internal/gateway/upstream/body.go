package upstream

import (
	"bytes"
	"errors"
	"io"
)

// How a body ends.
type framing byte

const (
	ofLength framing = iota
	inChunks
	untilClose
)

// Where a body in chunks is.
type chunkState byte

const (
	atSize chunkState = iota
	inData
	afterData
	inTrailer
)

const (
	// maxChunkLine bounds the line before a chunk, extensions included.
	maxChunkLine = 256
	// maxTrailer bounds what follows the last chunk.
	maxTrailer = 8 << 10
)

// Body is the body of an answer. It is read by one goroutine.
type Body struct {
	conn     *conn
	in       *reader
	stop     func() bool // takes the end with the context back; false: it came
	writing  *write      // of a request's body, which may go on; nil: none does
	reusable bool

	kind     framing
	left     int64 // of the body, or of the chunk
	state    chunkState
	trailers int
	ended    bool  // the body was read to its end
	err      error // what Next goes on to answer
	piece    []byte
	closed   bool
}

// Ended says that the body was read to its end: Next would answer io.EOF.
func (b *Body) Ended() bool { return b.ended || (b.kind == ofLength && b.left == 0) }

// Next gives the next piece of the body, as it came, valid until the next call and
// until Close. It waits only when nothing is there. io.EOF comes after the whole of
// it; io.ErrUnexpectedEOF when it was cut.
func (b *Body) Next() ([]byte, error) {
	if b.err != nil {
		return nil, b.err
	}
	var piece []byte
	var err error
	if b.kind == inChunks {
		piece, err = b.nextOfChunks()
	} else {
		piece, err = b.nextPlain()
	}
	if err != nil {
		if !errors.Is(err, io.EOF) {
			err = b.explain(err)
		}
		b.err = err
	}
	return piece, err
}

func (b *Body) explain(err error) error {
	if b.conn != nil && b.conn.timedOut.Load() {
		return errTimeout
	}
	return err
}

// Read makes it an io.Reader.
func (b *Body) Read(p []byte) (int, error) {
	if len(b.piece) == 0 {
		var err error
		if b.piece, err = b.Next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.piece)
	b.piece = b.piece[n:]
	return n, nil
}

// Unread gives back what Read has read, so that Read, and not Next, gives it again.
func (b *Body) Unread(p []byte) { b.piece = append(p[:len(p):len(p)], b.piece...) }

func (b *Body) nextPlain() ([]byte, error) {
	if b.kind == ofLength && b.left == 0 {
		b.ended = true
		return nil, io.EOF
	}
	if len(b.in.buffered()) == 0 {
		b.in.widen()
		if err := b.in.fill(); err != nil {
			if !errors.Is(err, io.EOF) {
				return nil, err
			}
			if b.kind == ofLength {
				return nil, io.ErrUnexpectedEOF
			}
			b.ended = true
			return nil, io.EOF
		}
	}
	piece := b.in.buffered()
	if b.kind == ofLength {
		piece = piece[:min(int64(len(piece)), b.left)]
		b.left -= int64(len(piece))
	}
	b.in.start += len(piece)
	return piece, nil
}

// nextOfChunks gives the data of all chunks that are buffered, moved together.
func (b *Body) nextOfChunks() ([]byte, error) {
	var piece []byte // in the reader's buffer, before what is not taken yet
	for {
		progress, err := b.chunkStep(&piece)
		switch {
		case err == nil && progress:
		case len(piece) > 0:
			return piece, nil // what is wrong behind it is found again
		case err != nil:
			return nil, err
		default:
			if len(b.in.buffered()) == 0 {
				b.in.widen()
			}
			if err := b.in.fill(); err != nil {
				if errors.Is(err, io.EOF) {
					err = io.ErrUnexpectedEOF
				}
				return nil, err
			}
		}
	}
}

// chunkStep goes one step on in what is buffered; without progress more is needed.
func (b *Body) chunkStep(piece *[]byte) (progress bool, err error) {
	data := b.in.buffered()
	switch b.state {
	case atSize:
		line, err := takeLine(data, maxChunkLine)
		if line == nil || err != nil {
			return false, err
		}
		size, err := chunkSize(line)
		if err != nil {
			return false, err
		}
		b.in.start += len(line) + 2
		b.left, b.state = size, inData
		if size == 0 {
			b.state = inTrailer
		}
	case inData:
		n := int(min(int64(len(data)), b.left))
		if n == 0 {
			return false, nil
		}
		if len(*piece) == 0 {
			*piece = data[:n]
		} else {
			*piece = append(*piece, data[:n]...) // the line before it leaves the room
		}
		b.in.start += n
		if b.left -= int64(n); b.left == 0 {
			b.state = afterData
		}
	case afterData:
		if len(data) < 2 {
			return false, nil
		}
		if data[0] != '\r' || data[1] != '\n' {
			return false, malformed("a chunk is longer than it says")
		}
		b.in.start += 2
		b.state = atSize
	case inTrailer:
		if b.ended {
			return false, io.EOF
		}
		line, err := takeLine(data, maxTrailer-b.trailers)
		if line == nil || err != nil {
			return false, err
		}
		name, value, found := bytes.Cut(line, []byte{':'})
		if len(line) > 0 && (!found || !isName(string(name)) || !isValue(string(value))) {
			return false, malformed("a trailer is %q", clip(string(line)))
		}
		b.trailers += len(line) + 2
		b.in.start += len(line) + 2
		b.ended = len(line) == 0
	}
	return true, nil
}

// takeLine gives the line that data begins with, without its end, and nil when it
// is not whole yet.
func takeLine(data []byte, most int) ([]byte, error) {
	end := bytes.IndexByte(data, '\n')
	if end < 0 {
		if len(data) > most {
			return nil, malformed("a line between chunks is longer than %d bytes", most)
		}
		return nil, nil
	}
	if end == 0 || data[end-1] != '\r' || end > most {
		return nil, malformed("a line between chunks is %q", clip(string(data[:end])))
	}
	return data[: end-1 : end-1], nil
}

// chunkSize reads the line before a chunk. What follows the size says nothing that
// is known to us.
func chunkSize(line []byte) (int64, error) {
	digits, extension, _ := bytes.Cut(line, []byte{';'})
	digits = bytes.TrimRight(digits, " \t")
	if len(digits) == 0 || len(digits) > 15 || !isValue(string(extension)) {
		return 0, malformed("the size of a chunk is %q", clip(string(line)))
	}
	var size int64
	for _, c := range digits {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, malformed("the size of a chunk is %q", clip(string(line)))
		}
		size = size<<4 | int64(c)
	}
	return size, nil
}

// widen takes a large buffer when the small one was full the last time.
func (r *reader) widen() {
	if r.buf != nil && r.end == len(*r.buf) {
		r.grow()
	}
}

// Close gives the connection back if the answer was read to its end and was all
// that came, and ends it otherwise. It may be called twice.
func (b *Body) Close() error {
	if b.closed {
		return nil
	}
	b.closed = true
	if b.err == nil {
		b.err = errClosed
	}
	c := b.conn
	keep := b.stop() && b.Ended() && b.reusable && len(b.in.buffered()) == 0
	if b.writing != nil {
		select {
		case <-b.writing.done:
			keep = keep && b.writing.err == nil
		default:
			keep = false
		}
	}
	if !keep {
		c.abort()
		if b.writing != nil {
			<-b.writing.done // it reads what is the caller's
		}
	}
	c.in.release()
	if keep {
		c.client.keep(c)
	}
	return nil
}

var errClosed = errors.New("the body is closed")
