// Package logfile keeps the logs of attempts in files, one for each attempt:
// logs/<first two of the job's id>/<job's id>/<attempt>.log.
//
// A file only grows. What was appended outlives the process that appended it;
// it is forced to the disk when the log is completed, for until then the node
// holds a copy and sends again what is not here. A record that was cut off by a
// crash is removed when the log is next opened.
package logfile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/store"
)

// Config says where logs are kept.
type Config struct {
	// Dir is the folder of the logs; it is made if need be. Required.
	Dir string
	// MaxBytes bounds the file of one attempt; what comes after is dropped and
	// the log says so. Default: 256 MiB.
	MaxBytes int64
	// MaxOpenFiles bounds how many files are open at a time; more callers
	// wait. Default: 128.
	MaxOpenFiles int
}

const (
	defaultMaxBytes     = 256 << 20
	defaultMaxOpenFiles = 128
	// maxWaited bounds how many jobs' changes are waited for by name. Past it
	// everyone is woken up and asks anew.
	maxWaited = 10_000
)

// Store is a store.LogStore. Make one with Open.
type Store struct {
	dir      string
	maxBytes int64
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
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of the logs: %w", err)
	}
	s := &Store{
		dir:      cfg.Dir,
		maxBytes: cfg.MaxBytes,
		files:    make(chan struct{}, cfg.MaxOpenFiles),
		logs:     map[string]map[int]*attemptLog{},
		waited:   map[string]chan struct{}{},
	}
	s.shut = sync.OnceValue(s.close)
	return s, nil
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
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
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
		l = newAttemptLog(s, ref)
		attempts[ref.Attempt] = l
	}
	l.writers++
	var earlier []*attemptLog
	for number, other := range attempts {
		if number < ref.Attempt {
			earlier = append(earlier, other)
		}
		if number > ref.Attempt {
			l.newer.Store(true)
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
	s.mu.Lock()
	open := slices.Collect(maps.Values(s.logs[jobID]))
	s.mu.Unlock()
	for _, l := range open {
		l.remove()
	}
	if err := os.RemoveAll(s.folder(jobID)); err != nil {
		return fault.Wrap(fault.Unavailable, err, "the logs of job %s could not be removed", jobID)
	}
	s.wake(jobID)
	return nil
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

// written is how far an attempt's file may be read: to the end of what was
// appended for sure when it is being written, else to its end.
func (s *Store) written(ref job.Ref) (size int64, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l, ok := s.logs[ref.JobID][ref.Attempt]; ok {
		size = l.size.Load()
		return size, size >= 0
	}
	return 0, false
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

func (s *Store) path(ref job.Ref) string {
	return filepath.Join(s.folder(ref.JobID), strconv.Itoa(ref.Attempt)+".log")
}

// attempts are the attempts of a job that have a file, in their order.
func (s *Store) attempts(jobID string) ([]int, error) {
	files, err := os.ReadDir(s.folder(jobID))
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, unreadable(err)
	}
	var numbers []int
	for _, f := range files {
		base, isLog := strings.CutSuffix(f.Name(), ".log")
		if n, err := strconv.Atoi(base); isLog && err == nil && n > 0 {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// unreadable is for what the file system refuses.
func unreadable(err error) error {
	return fault.Wrap(fault.Unavailable, err, "the log cannot be read")
}

// unwritable is for what the file system refuses, most likely for want of room.
func unwritable(err error) error {
	return fault.Wrap(fault.Unavailable, err, "the log could not be stored; see whether the disk with the data directory is full")
}
