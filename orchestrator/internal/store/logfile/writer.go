package logfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/store"
)

const (
	// defaultChunkBytes is how long a text gets before it is made into a chunk:
	// what is read, decompressed, to see any of it.
	defaultChunkBytes = 1 << 20
	// sealAtEnd is how long the text of a whole log is at least for a chunk to
	// be made of it: less is one or two blocks of a disk either way.
	sealAtEnd = 16 << 10
	// keptAtBeginning is which part of the limit goes to the beginning of a log
	// over it; the rest goes to the end.
	keptAtBeginning = 4
)

// attemptLog is the log of one attempt while somebody writes it.
type attemptLog struct {
	store *Store
	ref   job.Ref
	// writers counts those that are not closed; guarded by store.mu.
	writers int
	// shape is which files there are, without what may have been cut off; nil
	// until it was looked at.
	shape atomic.Pointer[layout]

	mu sync.Mutex // guards what follows, and writing the files
	// current is the only writer that may append.
	current    *writer
	held       held
	textBefore held  // what is held without the text
	sealAt     int64 // the offset at which the text is made into chunks
	complete   bool
	over       bool // a newer attempt has begun
	removed    bool // with its job, or by retention
	unsynced   bool // something may not have reached the disk
	// torn is true while something may stand behind the text's end.
	torn bool
}

// finish says that a newer attempt has begun, after the append under way.
func (l *attemptLog) finish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
}

// remove says that the log is being removed, after the append under way, and
// what readers see of it from now on.
func (l *attemptLog) remove(left *layout) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.removed = true
	l.shape.Store(left)
}

// take makes w the one that may append, having looked at the files first.
func (l *attemptLog) take(w *writer) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shape.Load() == nil {
		if err := l.loadLocked(); err != nil {
			return err
		}
	}
	l.current = w
	return nil
}

// loadLocked looks at the files and cuts off what a crash left half written.
func (l *attemptLog) loadLocked() error {
	logs, err := l.store.layouts(l.ref.JobID)
	if err != nil {
		return err
	}
	shape := &layout{}
	for attempt, other := range logs {
		if attempt == l.ref.Attempt {
			shape = other
		}
		l.over = l.over || attempt > l.ref.Attempt
	}
	if !shape.removedAt.IsZero() {
		l.removed = true
		l.shape.Store(shape)
		return nil
	}
	shape, err = l.loadTextLocked(shape)
	if err != nil {
		return err
	}
	if !l.complete {
		if shape, err = l.loadChunksLocked(shape); err != nil {
			return err
		}
	}
	l.unsynced = !l.complete
	l.sealAt = shape.text.start + l.store.chunkBytes
	l.shape.Store(shape)
	return nil
}

// loadTextLocked reads the text and cuts it off behind what can be trusted.
func (l *attemptLog) loadTextLocked(shape *layout) (*layout, error) {
	if shape.text.length() == 0 {
		return shape, nil
	}
	file, err := l.store.openFile(l.store.textPath(l.ref, shape.text.start), os.O_RDWR)
	if err != nil {
		return nil, unreadable(err)
	}
	found, err := survey(file)
	if err == nil && found.good < found.length {
		err = file.Truncate(found.good)
	}
	if err := errors.Join(err, l.store.done(file)); err != nil {
		return nil, unreadable(err)
	}
	l.held, l.complete = found.held, found.complete
	return shape.grown(shape.text.start + found.good), nil
}

// loadChunksLocked counts in what the chunks hold. Behind one that is damaged
// nothing counts: the node sends it again.
func (l *attemptLog) loadChunksLocked(shape *layout) (*layout, error) {
	s := l.store
	for n := len(shape.chunks); n > 0; n-- {
		last := shape.chunks[n-1]
		header, err := s.chunkHeader(l.ref, last)
		switch {
		case err == nil:
			l.textBefore = header.After
			l.held = held{max(l.held.Stdout, header.After.Stdout), max(l.held.Stderr, header.After.Stderr)}
			l.complete = header.Complete
			return shape, nil
		case !errors.Is(err, errDamaged):
			return nil, unreadable(err)
		}
		// The text may only be there when nothing is missing before it.
		err = errors.Join(ignoreMissing(os.Remove(s.textPath(l.ref, shape.text.start))), os.Remove(s.chunkPath(l.ref, last)))
		if err != nil {
			return nil, unreadable(err)
		}
		l.held = held{}
		shape = &layout{chunks: shape.chunks[:n-1], text: span{last.start, last.start}}
	}
	return shape, nil
}

func ignoreMissing(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

// surveyed is what a text holds.
type surveyed struct {
	length int64 // of the file
	good   int64 // up to where it can be trusted
	held
	complete bool
}

// survey reads a whole text. Everything up to the first line that is not a
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
		if r.visible() {
			all.reach(r.head)
		} else if whole, ok := completed([]byte(r.text)); ok {
			all.held, all.complete = whole, true
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
	return w.log.held.Stdout, w.log.held.Stderr
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
		if shape := l.shape.Load(); shape.end() > 0 {
			mark := record{head{kind: kindComplete, nanos: time.Now().UnixNano()}, fmt.Sprintf("%d %d", l.held.Stdout, l.held.Stderr)}
			if err := l.writeLocked(mark.append(nil)); err != nil {
				return err
			}
			if err := l.syncLocked(); err != nil {
				// Not whole for sure, so not marked: the node keeps its copy.
				l.shape.Store(shape)
				l.torn = true
				return err
			}
			// Whatever is worth it is compressed now.
			if l.shape.Load().text.length() >= min(sealAtEnd, l.store.chunkBytes) {
				l.sealAt = 0
				l.sealLocked()
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
		return fault.New(fault.Precondition, "the log of %s was removed", l.ref)
	case l.over && !l.complete:
		return fault.New(fault.Precondition, "the log of %s is over: a newer attempt of the job has begun", l.ref)
	}
	if err := f(l); err != nil {
		return err
	}
	l.store.wake(l.ref.JobID)
	return nil
}

func (l *attemptLog) appendLocked(entries []job.LogEntry) error {
	after := l.held
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
		buffer = entryRecord(e).append(buffer)
	}
	if len(buffer) == 0 {
		return nil
	}
	if err := l.writeLocked(buffer); err != nil {
		return err
	}
	l.held = after
	l.sealLocked()
	l.limitLocked()
	return nil
}

// limitLocked drops chunks while the log is over its limit: the oldest, but for
// those at its beginning. How a job began and how it ended is what people look
// for.
func (l *attemptLog) limitLocked() {
	s := l.store
	for shape := l.shape.Load(); shape.bytes() > s.maxBytes; shape = l.shape.Load() {
		n := slices.IndexFunc(shape.chunks, func(c span) bool { return c.start >= s.maxBytes/keptAtBeginning })
		if n < 0 {
			return
		}
		dropped := shape.chunks[n]
		next := *shape
		next.chunks = slices.Delete(slices.Clone(shape.chunks), n, n+1)
		s.shape.Lock()
		err := ignoreMissing(os.Remove(s.chunkPath(l.ref, dropped)))
		l.shape.Store(&next)
		s.shape.Unlock()
		if err != nil {
			return // it is there again when the log is next opened, and is dropped then
		}
	}
}

// writeLocked puts records behind what is there, all of them or none.
func (l *attemptLog) writeLocked(records []byte) (err error) {
	s, shape := l.store, l.shape.Load()
	path, size := s.textPath(l.ref, shape.text.start), shape.text.length()
	file, err := s.openFile(path, os.O_RDWR|os.O_CREATE)
	if os.IsNotExist(err) {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return unwritable(err)
		}
		file, err = s.openFile(path, os.O_RDWR|os.O_CREATE)
	}
	if err != nil {
		return unwritable(err)
	}
	defer func() {
		if closeErr := s.done(file); err == nil && closeErr != nil {
			l.torn = true
			err = unwritable(closeErr)
		}
		if err == nil {
			l.shape.Store(shape.grown(shape.text.end + int64(len(records))))
			l.unsynced = true
			s.kept.Add(int64(len(records)))
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

// syncLocked forces the text to the disk; chunks are there already.
func (l *attemptLog) syncLocked() error {
	shape := l.shape.Load()
	if !l.unsynced || l.removed || shape == nil || shape.text.length() == 0 {
		return nil
	}
	path := l.store.textPath(l.ref, shape.text.start)
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
