package logfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/store"
)

// attemptLog is the log of one attempt while somebody writes it.
type attemptLog struct {
	store *Store
	ref   job.Ref
	// writers counts those that are not closed; guarded by store.mu.
	writers int
	// size is how long the file is without what may have been cut off; -1
	// until it was looked at.
	size atomic.Int64
	// newer is set once a newer attempt of the job has its log open: this one
	// is over. Set with mu held, so that no append is under way then.
	newer atomic.Bool

	mu sync.Mutex // guards what follows, and writing the file
	// current is the only writer that may append.
	current  *writer
	held     held
	limited  bool // a limit record is in the file
	complete bool
	removed  bool // with its job
	unsynced bool // something may not have reached the disk
	// torn is true while something may stand behind size.
	torn bool
}

// held is how many lines of each stream are accounted for.
type held struct{ stdout, stderr int64 }

func (h *held) of(stream job.Stream) *int64 {
	if stream == job.Stderr {
		return &h.stderr
	}
	return &h.stdout
}

func newAttemptLog(s *Store, ref job.Ref) *attemptLog {
	l := &attemptLog{store: s, ref: ref}
	l.size.Store(-1)
	return l
}

// finish says that a newer attempt has begun, after the append under way.
func (l *attemptLog) finish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.newer.Store(true)
}

// remove says that the job's logs are being removed.
func (l *attemptLog) remove() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.removed = true
	l.size.Store(0)
}

// take makes w the one that may append, having looked at the file first.
func (l *attemptLog) take(w *writer) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size.Load() < 0 {
		if err := l.loadLocked(); err != nil {
			return err
		}
	}
	l.current = w
	return nil
}

// loadLocked reads the file from the beginning and cuts off what a crash left
// half written.
func (l *attemptLog) loadLocked() error {
	file, err := l.store.openFile(l.store.path(l.ref), os.O_RDWR)
	if os.IsNotExist(err) {
		l.size.Store(0)
		return nil
	}
	if err != nil {
		return unreadable(err)
	}
	found, err := survey(file)
	if err == nil && found.good < found.length {
		err = file.Truncate(found.good)
	}
	if err := errors.Join(err, l.store.done(file)); err != nil {
		return unreadable(err)
	}
	l.held, l.limited, l.complete = found.held, found.limited, found.complete
	l.unsynced = !found.complete
	l.size.Store(found.good)
	return nil
}

// surveyed is what a file holds.
type surveyed struct {
	length int64 // of the file
	good   int64 // up to where it can be trusted
	held
	limited, complete bool
}

// survey reads a whole file. Everything up to the first line that is not a
// record is good; a complete log is good to its end, for nobody could send the
// rest again, and readers pass over what is damaged.
func survey(file io.Reader) (surveyed, error) {
	var all, trusted surveyed
	damaged := false
	lines := bufio.NewReaderSize(file, maxRecord)
	for {
		line, err := lines.ReadSlice('\n')
		all.length += int64(len(line))
		switch {
		case err == nil:
		case errors.Is(err, bufio.ErrBufferFull): // too long to be a record
			all.complete, damaged = false, true
			continue
		case errors.Is(err, io.EOF):
			if all.complete {
				all.good = all.length - int64(len(line))
				return all, nil
			}
			trusted.length = all.length
			return trusted, nil
		default:
			return surveyed{}, err
		}
		r, ok := parse(line[:len(line)-1])
		all.complete = false // unless it is the last record that says so
		if !ok {
			damaged = true
			continue
		}
		switch r.kind {
		case kindStdout:
			all.stdout = max(all.stdout, r.line)
		case kindStderr:
			all.stderr = max(all.stderr, r.line)
		case kindLimit:
			all.limited = true
		case kindComplete:
			var h held
			if _, err := fmt.Sscanf(r.text, "%d %d", &h.stdout, &h.stderr); err == nil {
				all.held, all.complete = h, true
			}
		}
		if !damaged {
			all.good = all.length
			trusted = all
		}
	}
}

// writer is a store.LogWriter.
type writer struct {
	log  *attemptLog
	once sync.Once
}

// Held answers the last line of each stream that is accounted for.
func (w *writer) Held() (stdoutLines, stderrLines int64) {
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	return w.log.held.stdout, w.log.held.stderr
}

// Completed says whether the log is whole.
func (w *writer) Completed() bool {
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	return w.log.complete
}

// Close releases the writer.
func (w *writer) Close() error {
	w.once.Do(func() {
		w.log.mu.Lock()
		if w.log.current == w {
			w.log.current = nil
		}
		w.log.mu.Unlock()
		w.log.store.release(w.log)
	})
	return nil
}

// Append stores entries that are not held yet.
func (w *writer) Append(entries []job.LogEntry) error {
	for i, e := range entries {
		switch {
		case e.Stream != job.Stdout && e.Stream != job.Stderr:
			return fault.BadField(fmt.Sprintf("entries[%d].stream", i), "%s is not a stream; allowed are stdout and stderr", e.Stream)
		case e.Line < 1:
			return fault.BadField(fmt.Sprintf("entries[%d].line", i), "is %d; lines count from 1", e.Line)
		case len(e.Text) > store.MaxLogText:
			return fault.BadField(fmt.Sprintf("entries[%d].text", i), "has %d bytes; allowed are %d, longer lines are cut into several entries", len(e.Text), store.MaxLogText)
		}
	}
	return w.do(func(l *attemptLog) error { return l.appendLocked(entries) })
}

// Complete marks the log as whole and forces it to the disk.
func (w *writer) Complete() error {
	return w.do(func(l *attemptLog) error {
		if l.complete {
			return nil
		}
		// The log of an attempt that said nothing needs no file: there is
		// nothing to be whole, and nothing to lose.
		if size := l.size.Load(); size > 0 {
			mark := record{kind: kindComplete, nanos: time.Now().UnixNano(), text: fmt.Sprintf("%d %d", l.held.stdout, l.held.stderr)}
			if err := l.writeLocked(mark.append(nil)); err != nil {
				return err
			}
			if err := l.syncLocked(); err != nil {
				// Not whole for sure, so not marked: the node keeps its copy.
				l.size.Store(size)
				l.torn = true
				return err
			}
		}
		l.complete = true
		return nil
	})
}

// do runs f as the current writer and wakes up readers.
func (w *writer) do(f func(*attemptLog) error) error {
	l := w.log
	if err := l.store.begin(); err != nil {
		return err
	}
	defer l.store.end()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current != w {
		return fault.New(fault.Superseded, "the log of %s was taken over by a newer connection", l.ref)
	}
	switch {
	case l.removed:
		return fault.New(fault.Precondition, "the log of %s was removed with its job", l.ref)
	case l.newer.Load() && !l.complete:
		return fault.New(fault.Precondition, "the log of %s is over: a newer attempt of the job has begun", l.ref)
	}
	if err := f(l); err != nil {
		return err
	}
	l.store.wake(l.ref.JobID)
	return nil
}

func (l *attemptLog) appendLocked(entries []job.LogEntry) error {
	after, limited := l.held, l.limited
	var buffer []byte
	for _, e := range entries {
		line := after.of(e.Stream)
		if e.Line <= *line {
			continue
		}
		if l.complete {
			return fault.New(fault.Precondition, "the log of %s is complete; nothing can be appended", l.ref)
		}
		*line = e.Line
		if limited {
			continue
		}
		before := len(buffer)
		buffer = entryRecord(e).append(buffer)
		if l.size.Load()+int64(len(buffer)) > l.store.maxBytes {
			note := record{kind: kindLimit, nanos: time.Now().UnixNano(), text: fmt.Sprintf("the log is over its limit of %d bytes; the rest is left out", l.store.maxBytes)}
			buffer = note.append(buffer[:before])
			limited = true
		}
	}
	if len(buffer) > 0 {
		if err := l.writeLocked(buffer); err != nil {
			return err
		}
	}
	l.held, l.limited = after, limited
	return nil
}

// writeLocked puts records behind what is there, all of them or none.
func (l *attemptLog) writeLocked(records []byte) (err error) {
	path, size := l.store.path(l.ref), l.size.Load()
	file, err := l.store.openFile(path, os.O_RDWR|os.O_CREATE)
	if os.IsNotExist(err) {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return unwritable(err)
		}
		file, err = l.store.openFile(path, os.O_RDWR|os.O_CREATE)
	}
	if err != nil {
		return unwritable(err)
	}
	defer func() {
		if closeErr := l.store.done(file); err == nil && closeErr != nil {
			l.torn = true
			err = unwritable(closeErr)
		}
		if err == nil {
			l.size.Store(size + int64(len(records)))
			l.unsynced = true
		}
	}()
	if l.torn {
		// What a write that failed left behind must not be taken for records.
		if err := file.Truncate(size); err != nil {
			return unwritable(err)
		}
		l.torn = false
	}
	if _, err := file.WriteAt(records, size); err != nil {
		l.torn = file.Truncate(size) != nil
		return unwritable(err)
	}
	return nil
}

// sync forces the log to the disk.
func (l *attemptLog) sync() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.syncLocked()
}

func (l *attemptLog) syncLocked() error {
	if !l.unsynced || l.size.Load() <= 0 {
		return nil
	}
	path := l.store.path(l.ref)
	file, err := l.store.openFile(path, os.O_RDWR)
	if err != nil {
		return unwritable(err)
	}
	if err := errors.Join(file.Sync(), l.store.done(file)); err != nil {
		return unwritable(err)
	}
	// The file's name, its folder's, and the name of that one's folder.
	for dir, n := filepath.Dir(path), 0; n < 3; dir, n = filepath.Dir(dir), n+1 {
		if err := syncDir(dir); err != nil {
			return unwritable(err)
		}
	}
	l.unsynced = false
	return nil
}

// syncDir forces a folder's list of names to the disk. Windows does so by
// itself and cannot be asked to.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
