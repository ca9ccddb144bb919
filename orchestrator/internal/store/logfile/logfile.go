// Package logfile keeps the logs of attempts in files beside the database:
// logs/<first two of the job's id>/<job's id>/<attempt>.log and what layout.go
// says. A text grows; once it is long enough it is compressed into a chunk and
// a new text begins. So a log is read from any position, and from its end,
// without decompressing more than a chunk.
//
// What was appended outlives the process that appended it; it is forced to the
// disk when the log is completed, for until then the node holds a copy and
// sends again what is not here. A record that was cut off by a crash is removed
// when the log is next opened. A text is removed after what was compressed of
// it is on the disk.
package logfile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/store"
)

// Config says where logs are kept.
type Config struct {
	// Dir is the folder of the logs; it is made if need be. Required.
	Dir string
	// MaxBytes bounds the log of one attempt, counted before it is compressed.
	// Over it the middle is dropped, and the log says there how many lines that
	// were: a quarter of the limit is for its beginning. Default: 256 MiB.
	MaxBytes int64
	// Retention says which logs are removed by themselves. Default: none.
	Retention Retention
	// MaxOpenFiles bounds how many files are open at a time; more callers
	// wait. Default: 128.
	MaxOpenFiles int
}

// DefaultMaxBytes is the default of Config.MaxBytes.
const DefaultMaxBytes = 256 << 20

const (
	defaultMaxBytes     = DefaultMaxBytes
	defaultMaxOpenFiles = 128
	// maxWaited bounds how many jobs' changes are waited for by name. Past it
	// everyone is woken up and asks anew.
	maxWaited = 10_000
)

// Store is a store.LogStore. Make one with Open.
type Store struct {
	dir        string
	maxBytes   int64
	chunkBytes int64
	codec      codec
	chunks     *cache[chunkKey, []byte]
	pages      *cache[pageKey, page]
	// shape is held to look at which files there are, and locked to replace
	// some by others.
	shape     sync.RWMutex
	retention Retention
	// stopRetaining ends what removes old logs; nil when nothing does.
	stopRetaining context.CancelFunc
	retaining     sync.WaitGroup
	// kept is how many bytes are on the disk, about; see Sweep.
	kept atomic.Int64
	// files has room for as many tokens as files may be open.
	files chan struct{}
	shut  func() error // close, once

	mu     sync.Mutex // guards what follows
	closed bool
	// logs are those with a writer, by job and attempt.
	logs map[string]map[int]*attemptLog
	// waited are the channels to close when a job's log changes.
	waited map[string]chan struct{}
	calls  sync.WaitGroup // under way; none begins once closed is set
}

var _ store.LogStore = (*Store)(nil)

// Open makes the folder ready.
func Open(cfg Config) (*Store, error) {
	if cfg.Dir == "" {
		return nil, fault.BadField("dir", "is empty; logs need a folder")
	}
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = defaultMaxBytes
	}
	if cfg.MaxOpenFiles <= 0 {
		cfg.MaxOpenFiles = defaultMaxOpenFiles
	}
	if limits := cfg.Retention; limits.State == nil && (limits.Age > 0 || limits.MaxBytes > 0) {
		return nil, fault.BadField("retention.state", "is missing; without it the logs of what still runs would be removed")
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of the logs: %w", err)
	}
	s := &Store{
		dir:        cfg.Dir,
		maxBytes:   cfg.MaxBytes,
		chunkBytes: min(defaultChunkBytes, max(cfg.MaxBytes/16, 1)),
		chunks:     newCache[chunkKey](maxCachedChunks, func(records []byte) int { return len(records) }),
		pages:      newCache[pageKey](maxCachedPages, pageSize),
		files:      make(chan struct{}, cfg.MaxOpenFiles),
		logs:       map[string]map[int]*attemptLog{},
		waited:     map[string]chan struct{}{},
	}
	s.shut = sync.OnceValue(s.close)
	s.startRetaining(cfg.Retention)
	return s, nil
}

// startRetaining begins to remove old logs, if any are to be removed.
func (s *Store) startRetaining(r Retention) {
	if r.Every <= 0 {
		r.Every = defaultRetentionPeriod
	}
	if r.Logger == nil {
		r.Logger = slog.New(slog.DiscardHandler)
	}
	s.retention = r
	if r.State == nil || r.Age <= 0 && r.MaxBytes <= 0 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.stopRetaining = cancel
	s.retaining.Go(func() { s.retain(ctx) })
}

// begin counts a call in; end must follow when there is no error.
func (s *Store) begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return store.Closed()
	}
	s.calls.Add(1)
	return nil
}

func (s *Store) end() { s.calls.Done() }

// Close waits for calls under way, forces the logs that are being written to
// the disk and wakes up everyone who waits. It may be called twice.
func (s *Store) Close() error { return s.shut() }

// close does the work of Close, once.
func (s *Store) close() error {
	if s.stopRetaining != nil {
		s.stopRetaining()
	}
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.retaining.Wait()
	s.calls.Wait()
	s.mu.Lock()
	s.wakeAllLocked()
	logs := s.logs
	s.logs = nil
	s.mu.Unlock()
	var errs []error
	for _, attempts := range logs {
		for _, l := range attempts {
			errs = append(errs, l.sync())
		}
	}
	s.codec.close()
	return errors.Join(errs...)
}

// Changed answers a channel that is closed when a log of the job changes.
func (s *Store) Changed(jobID string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.waited[jobID]; ok {
		return c
	}
	if len(s.waited) >= maxWaited {
		s.wakeAllLocked()
	}
	c := make(chan struct{})
	if s.closed {
		close(c)
		return c
	}
	s.waited[jobID] = c
	return c
}

// wake tells who waits for a job.
func (s *Store) wake(jobID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.waited[jobID]; ok {
		close(c)
		delete(s.waited, jobID)
	}
}

func (s *Store) wakeAllLocked() {
	for _, c := range s.waited {
		close(c)
	}
	clear(s.waited)
}

// Open prepares an attempt's log for appending.
func (s *Store) Open(ctx context.Context, ref job.Ref) (store.LogWriter, error) {
	if err := checkJobID(ref.JobID); err != nil {
		return nil, err
	}
	if ref.Attempt < 1 {
		return nil, fault.BadField("ref.attempt", "is %d; attempts count from 1", ref.Attempt)
	}
	if err := ctx.Err(); err != nil {
		return nil, store.Abandoned(err)
	}
	if err := s.begin(); err != nil {
		return nil, err
	}
	defer s.end()

	s.mu.Lock()
	attempts := s.logs[ref.JobID]
	if attempts == nil {
		attempts = map[int]*attemptLog{}
		s.logs[ref.JobID] = attempts
	}
	l, ok := attempts[ref.Attempt]
	if !ok {
		l = &attemptLog{store: s, ref: ref}
		attempts[ref.Attempt] = l
	}
	l.writers++
	var earlier []*attemptLog
	for number, other := range attempts {
		if number < ref.Attempt {
			earlier = append(earlier, other)
		}
		if number > ref.Attempt {
			earlier = append(earlier, l)
		}
	}
	s.mu.Unlock()

	for _, other := range earlier {
		other.finish()
	}
	w := &writer{log: l}
	if err := l.take(w); err != nil {
		s.release(l)
		return nil, err
	}
	return w, nil
}

// DeleteJob removes the logs of a job.
func (s *Store) DeleteJob(ctx context.Context, jobID string) error {
	if err := checkJobID(jobID); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return store.Abandoned(err)
	}
	if err := s.begin(); err != nil {
		return err
	}
	defer s.end()
	// Whoever writes has finished its append before its files go.
	s.mu.Lock()
	open := slices.Collect(maps.Values(s.logs[jobID]))
	s.mu.Unlock()
	for _, l := range open {
		l.remove(&layout{})
	}
	s.shape.Lock()
	err := os.RemoveAll(s.folder(jobID))
	s.shape.Unlock()
	s.forget(func(ref job.Ref) bool { return ref.JobID == jobID })
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "the logs of job %s could not be removed", jobID)
	}
	s.wake(jobID)
	return nil
}

// forget drops what is kept in memory of logs.
func (s *Store) forget(f func(job.Ref) bool) {
	s.chunks.forget(func(k chunkKey) bool { return f(k.ref) })
	s.pages.forget(func(k pageKey) bool { return f(k.ref) })
}

// release counts a writer out.
func (s *Store) release(l *attemptLog) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.writers--
	attempts := s.logs[l.ref.JobID]
	if l.writers > 0 || attempts[l.ref.Attempt] != l {
		return
	}
	delete(attempts, l.ref.Attempt)
	if len(attempts) == 0 {
		delete(s.logs, l.ref.JobID)
	}
}

// written is the layout of a log that is being written, as far as it may be
// read; nil when nobody writes it.
func (s *Store) written(ref job.Ref) *layout {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l, ok := s.logs[ref.JobID][ref.Attempt]; ok {
		return l.shape.Load()
	}
	return nil
}

// openFile waits until another file may be open and opens one; done must be
// called with what it answers.
func (s *Store) openFile(path string, flag int) (*os.File, error) {
	s.files <- struct{}{}
	file, err := os.OpenFile(path, flag, 0o600)
	if err != nil {
		<-s.files
		return nil, err
	}
	return file, nil
}

// done closes a file of openFile.
func (s *Store) done(file *os.File) error {
	err := file.Close()
	<-s.files
	return err
}

// doneReading closes a file that was only read.
func (s *Store) doneReading(file *os.File) {
	_ = s.done(file) // nothing was written that could be lost
}

// checkJobID keeps everything that is not an id out of paths.
func checkJobID(id string) error {
	if !job.ValidID(id) {
		return fault.BadField("jobId", "%q is not the id of a job", id)
	}
	return nil
}

// folder is where the logs of a job are. The id must have been checked.
func (s *Store) folder(jobID string) string {
	return filepath.Join(s.dir, jobID[:min(2, len(jobID))], jobID)
}

// unreadable is for what the file system refuses.
func unreadable(err error) error {
	return fault.Wrap(fault.Unavailable, err, "the log cannot be read")
}

// unwritable is for what the file system refuses, most likely for want of room.
func unwritable(err error) error {
	return fault.Wrap(fault.Unavailable, err, "the log could not be stored; see whether the disk with the data directory is full")
}
