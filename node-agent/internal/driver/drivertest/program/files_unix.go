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

// noSpace says whether an error is that of a full disk, or of a quota.
func noSpace(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }
