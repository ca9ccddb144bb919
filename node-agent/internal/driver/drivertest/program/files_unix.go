//go:build unix

package program

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// owner gives a file's owner as "UID:GID".
func owner(info fs.FileInfo) string {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "?"
	}
	return fmt.Sprintf("%d:%d", s.Uid, s.Gid)
}

// special leaves a pipe and a socket.
func special(pipe, socket string) error {
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		return err
	}
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	return syscall.Bind(fd, &syscall.SockaddrUnix{Name: socket})
}

// noSpace says whether an error is that of a full disk, or of a quota.
func noSpace(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }
