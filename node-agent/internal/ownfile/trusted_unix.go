//go:build unix

package ownfile

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// Trusted refuses a file that somebody else than this user and root can have written.
func Trusted(info fs.FileInfo) error {
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return fmt.Errorf("can be written by others than its owner (mode %04o): chmod go-w it", mode)
	}
	return Owned(info)
}

// TrustedFolder refuses a folder in which somebody else than this user and root can put
// another file in the place of one that is theirs. Where the sticky bit is set, as in /tmp,
// nobody can.
func TrustedFolder(info fs.FileInfo) error {
	if info.Mode()&fs.ModeSticky != 0 {
		return Owned(info)
	}
	return Trusted(info)
}

// Owned refuses a file of somebody else than this user and root.
func Owned(info fs.FileInfo) error {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Uid != 0 && int(stat.Uid) != os.Getuid() {
		return fmt.Errorf("belongs to the user with the number %d; it must be this user's (%d) or root's", stat.Uid, os.Getuid())
	}
	return nil
}

// secret refuses a file that others than its owner can read.
func secret(info fs.FileInfo) error {
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("holds secrets and can be read by others than its owner (mode %04o): chmod 0600 it", mode)
	}
	return Trusted(info)
}
