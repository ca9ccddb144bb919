package sqlite

import (
	"errors"

	moderncsqlite "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/orchion/orchion/orchestrator/internal/fault"
)

// primary is SQLite's primary result code of an error, or 0.
func primary(err error) int {
	var e *moderncsqlite.Error
	if !errors.As(err, &e) {
		return 0
	}
	return e.Code() & 0xff // the rest is the extended code
}

// readable gives SQLite's errors that a person can do something about a code
// and a message; others stay as they are.
func readable(err error) error {
	switch primary(err) {
	case sqlite3.SQLITE_FULL:
		return fault.Wrap(fault.Unavailable, err, "the disk with the data directory is full; nothing was changed; free some space and try again")
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN:
		return fault.Wrap(fault.Unavailable, err, "the data directory cannot be read or written; nothing was changed")
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
		return fault.Wrap(fault.Unavailable, err, "the data directory is not writable; nothing was changed")
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return fault.Wrap(fault.Unavailable, err, "the database is in use by another program; nothing was changed; try again")
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return fault.Wrap(fault.Internal, err, "the database is damaged; restore the data directory from a copy")
	}
	return err
}

// spoils says whether an error may have cost the whole transaction: SQLite
// rolls back by itself on some of these, and on none of them can a statement
// that comes later be expected to do better.
func spoils(err error) bool {
	switch primary(err) {
	case 0, sqlite3.SQLITE_CONSTRAINT:
		return false
	}
	return true
}
