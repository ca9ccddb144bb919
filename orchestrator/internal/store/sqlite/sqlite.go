// Package sqlite is the store that needs nothing beside it: one SQLite database
// in the data directory, in WAL mode with synchronous=FULL.
//
// All changes go through one goroutine (writer.go), which puts those that wait
// into one transaction and answers them after its COMMIT: the price of reaching
// the disk is shared by everyone who waits for it. Reads have connections of
// their own, see a consistent snapshot each, and wait for nobody.
package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/pressly/goose/v3"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/store"
	"github.com/orchion/orchion/orchestrator/internal/store/dirlock"

	_ "modernc.org/sqlite" // registers the driver
)

//go:embed migrations/*.sql
var migrations embed.FS

// fileName is the database in the data directory.
const fileName = "orchion.db"

// Config says where the store is.
type Config struct {
	// Dir is the data directory; it is made if need be and locked against a
	// second process. Required.
	Dir string
	// Logger gets what no caller can be told. Default: nowhere.
	Logger *slog.Logger
}

// Store is a store.Store. Make one with Open.
type Store struct {
	log    *slog.Logger
	lock   *dirlock.Lock
	write  *sql.DB // one connection, held by the writer
	read   *sql.DB
	byID   *sql.Stmt // of read
	writer *writer

	// closing guards closed, and that no read begins once it is set.
	closing sync.RWMutex
	closed  bool
	reads   sync.WaitGroup
	closeDB func() error // once
}

var _ store.Store = (*Store)(nil)

// Open opens the store in a data directory, brings its schema up to date and
// starts the writer. The error says what to do when the directory is in use
// (fault.Unavailable) or was written by a newer version (fault.Precondition).
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Dir == "" {
		return nil, fault.BadField("dataDir", "is empty; the store needs a directory")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	lock, err := dirlock.Acquire(cfg.Dir)
	if err != nil {
		return nil, err
	}
	s := &Store{log: cfg.Logger, lock: lock}
	if err := s.open(ctx, filepath.Join(cfg.Dir, fileName)); err != nil {
		return nil, errors.Join(err, s.shut())
	}
	s.closeDB = sync.OnceValue(s.shut)
	return s, nil
}

func (s *Store) open(ctx context.Context, path string) error {
	// Made before SQLite would, so that the database and what stands beside it
	// (which takes over its mode) is for its owner: jobs carry secrets.
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("opening the database: %w", err)
	}
	file.Close()

	s.write, err = sql.Open("sqlite", dsn(path,
		"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "temp_store(MEMORY)",
		// A checkpoint syncs the database; every 16 MiB of WAL is often enough. The
		// cache, of which the allocator takes twice as much, has room for what a full
		// batch changes; more of it makes no change sooner.
		"wal_autocheckpoint(4096)", "journal_size_limit(67108864)", "cache_size(-8192)"))
	if err != nil {
		return fmt.Errorf("opening the database: %w", err)
	}
	s.write.SetMaxOpenConns(1)
	if err := migrate(ctx, s.write, path); err != nil {
		return err
	}

	s.read, err = sql.Open("sqlite", dsn(path,
		"busy_timeout(10000)", "query_only(1)", "temp_store(MEMORY)", "cache_size(-8192)"))
	if err != nil {
		return fmt.Errorf("opening the database for reading: %w", err)
	}
	readers := max(4, runtime.GOMAXPROCS(0))
	s.read.SetMaxOpenConns(readers)
	s.read.SetMaxIdleConns(readers)
	s.byID, err = s.read.PrepareContext(ctx, "SELECT "+jobColumns+" FROM jobs WHERE id = ?")
	if err != nil {
		return fmt.Errorf("opening the database for reading: %w", err)
	}

	conn, err := s.write.Conn(ctx)
	if err != nil {
		return fmt.Errorf("opening the database for writing: %w", err)
	}
	s.writer = startWriter(conn)
	return nil
}

// dsn names the database for the driver, with pragmas for each connection.
func dsn(path string, pragmas ...string) string {
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") && filepath.VolumeName(path) != "" {
		path = "/" + path // C:/dir as file:///C:/dir
	}
	query := url.Values{"_pragma": pragmas}
	// A relative path must stay one, so not through url.URL, which would make
	// its first part a host.
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + query.Encode()
}

// migrate brings the schema up to date.
func migrate(ctx context.Context, db *sql.DB, path string) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("reading the migrations: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, files)
	if err != nil {
		return fmt.Errorf("preparing the database %s: %w", path, readable(err))
	}
	current, target, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("reading the version of the database %s: %w", path, readable(err))
	}
	if current > target {
		return fault.New(fault.Precondition,
			"the database %s was written by a newer version of the orchestrator (schema %d; this one knows %d): use that version, or another --data-dir", path, current, target)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("bringing the database %s up to date: %w", path, readable(err))
	}
	return nil
}

// Close lets the changes that wait go through, ends the writer and releases the
// data directory. It waits for reads that are under way and may be called
// twice.
func (s *Store) Close() error {
	s.closing.Lock()
	s.closed = true
	s.closing.Unlock()
	return s.closeDB()
}

// shut releases what open has made so far.
func (s *Store) shut() error {
	s.reads.Wait()
	var errs []error
	if s.writer != nil {
		errs = append(errs, s.writer.stop())
	}
	if s.byID != nil {
		errs = append(errs, s.byID.Close())
	}
	if s.read != nil {
		errs = append(errs, s.read.Close())
	}
	if s.write != nil {
		// The last connection to close folds the WAL into the database.
		errs = append(errs, s.write.Close())
	}
	return errors.Join(append(errs, s.lock.Release())...)
}

// change has the writer run one operation.
func (s *Store) change(ctx context.Context, atomic atomicity, run func(*tx) error) error {
	return s.writer.do(ctx, atomic, run)
}

// reading runs f beside the writer, unless the store is closed.
func (s *Store) reading(ctx context.Context, f func() error) error {
	if err := ctx.Err(); err != nil {
		return store.Abandoned(err)
	}
	s.closing.RLock()
	if s.closed {
		s.closing.RUnlock()
		return store.Closed()
	}
	s.reads.Add(1)
	s.closing.RUnlock()
	defer s.reads.Done()
	err := f()
	if ctxErr := ctx.Err(); err != nil && ctxErr != nil {
		return store.Abandoned(ctxErr)
	}
	return readable(err)
}

// Stats counts what the writer did since Open.
func (s *Store) Stats() Stats { return s.writer.stats() }
