package streamconn

import (
	"errors"
	"io"
	"net"
	"sync"
)

// copyBuffers are for one frame each.
var copyBuffers = sync.Pool{New: func() any {
	b := make([]byte, MaxFrame)
	return &b
}}

func takeCopyBuffer() *[]byte {
	return copyBuffers.Get().(*[]byte) //nolint:errcheck,forcetypeassert // only such are put there
}

// readFunc reads into a buffer that it takes; nil: it has taken none.
type readFunc func() (buf *[]byte, n int, err error)

// copyLazily copies each chunk as it comes, and holds no memory while none does if
// from is a socket: most connections wait most of the time.
func copyLazily(to io.Writer, from net.Conn) error {
	read := socketReader(from)
	if read == nil {
		read = func() (*[]byte, int, error) {
			buf := takeCopyBuffer()
			n, err := from.Read(*buf)
			return buf, n, err
		}
	}
	for {
		buf, n, err := read()
		if n > 0 {
			if _, writeErr := to.Write((*buf)[:n]); writeErr != nil {
				err = writeErr
			}
		}
		if buf != nil {
			copyBuffers.Put(buf)
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}
