//go:build unix

package upstream

import (
	"errors"
	"net"
	"syscall"
)

// socketStaleness asks the system without waiting: an unused connection has nothing
// to read. nil when it is not a socket.
func socketStaleness(netConn net.Conn) func() bool {
	socket, ok := netConn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil
	}
	var n int
	var readErr error
	var one [1]byte
	look := func(fd uintptr) bool {
		n, readErr = syscall.Read(int(fd), one[:])
		return true
	}
	return func() bool {
		if err := raw.Read(look); err != nil {
			return true
		}
		return n >= 0 || (!errors.Is(readErr, syscall.EAGAIN) && !errors.Is(readErr, syscall.EINTR))
	}
}
