//go:build unix

package streamconn

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// socketReader reads from a connection of TCP into a buffer that is taken when
// there is something to read. nil: it is another connection.
func socketReader(conn net.Conn) readFunc {
	socket, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil
	}
	var buf *[]byte
	var n int
	var readErr error
	attempt := func(fd uintptr) (ready bool) {
		buf = takeCopyBuffer()
		for {
			if n, readErr = syscall.Read(int(fd), *buf); !errors.Is(readErr, syscall.EINTR) {
				break
			}
		}
		if errors.Is(readErr, syscall.EAGAIN) {
			copyBuffers.Put(buf)
			buf = nil
			return false
		}
		return true
	}
	return func() (*[]byte, int, error) {
		buf, n, readErr = nil, 0, nil
		switch err := raw.Read(attempt); {
		case err != nil:
			return buf, 0, err
		case readErr != nil:
			return buf, 0, os.NewSyscallError("read", readErr)
		case n == 0:
			return buf, 0, io.EOF
		}
		return buf, n, nil
	}
}
