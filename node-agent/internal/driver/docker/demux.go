package docker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// frameReader splits the engines' multiplexed output. Each frame is a header of 8 bytes,
// whose first names the stream and whose last four are the length of what follows (the
// "Stream format" of /containers/{id}/attach in the Docker API's reference).
type frameReader struct {
	r    io.Reader
	left uint32 // of the current frame
	buf  []byte
	cur  driver.Stream
}

// piece is a part of a frame, at most driver.MaxLogText long.
type piece struct {
	stream driver.Stream
	data   []byte // valid until the next call
	first  bool   // begins its frame
	last   bool   // ends its frame
}

func newFrameReader(r io.Reader) *frameReader {
	return &frameReader{r: r, buf: make([]byte, driver.MaxLogText)}
}

// next gives the next piece; io.EOF at the end of the output.
func (f *frameReader) next() (piece, error) {
	first := f.left == 0
	for f.left == 0 {
		var header [8]byte
		if _, err := io.ReadFull(f.r, header[:]); err != nil {
			return piece{}, err // io.EOF only between frames
		}
		switch header[0] {
		case 0, 1: // 0 is stdin, which Docker writes on stdout
			f.cur = driver.Stdout
		case 2:
			f.cur = driver.Stderr
		case 3: // the daemon's own error, in the middle of the output
			return piece{}, f.systemError(binary.BigEndian.Uint32(header[4:]))
		default:
			return piece{}, fmt.Errorf("output: %d does not name a stream", header[0])
		}
		f.left = binary.BigEndian.Uint32(header[4:])
	}
	n := min(f.left, uint32(len(f.buf)))
	if _, err := io.ReadFull(f.r, f.buf[:n]); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return piece{}, err
	}
	f.left -= n
	return piece{stream: f.cur, data: f.buf[:n], first: first, last: f.left == 0}, nil
}

func (f *frameReader) systemError(length uint32) error {
	text, err := io.ReadAll(io.LimitReader(f.r, int64(min(length, 4096))))
	if err != nil {
		return err
	}
	return fmt.Errorf("the engine failed while reading the output: %s", text)
}
