package logfile

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/store"
)

// Retention says which logs are removed by themselves. Only logs of attempts
// that have ended are.
type Retention struct {
	// Age is how long a log is kept after it last grew. 0: for ever.
	Age time.Duration
	// MaxBytes is how much of the disk all logs together may take, about; over
	// it the oldest go first. 0: no limit.
	MaxBytes int64
	// Every is how often it is looked for logs to remove; over MaxBytes sooner.
	// Default: 10 minutes.
	Every time.Duration
	// State says how an attempt stands. Required when there is a limit.
	State func(ctx context.Context, ref job.Ref) (AttemptState, error)
	// Logger gets what was removed. Default: nowhere.
	Logger *slog.Logger
}

// AttemptState is what retention has to know of an attempt.
type AttemptState int

// The states of an attempt, to retention. The zero value is not a state.
const (
	// Live: it may still be written.
	Live AttemptState = iota + 1
	// Ended: its log can go, and readers are told.
	Ended
	// Unknown: there is no such job. What is left of its logs can go without a
	// word.
	Unknown
)

const (
	defaultRetentionPeriod = 10 * time.Minute
	// minRetentionPeriod is between two looks for want of room.
	minRetentionPeriod = 10 * time.Second
	// maxCandidates bounds how many logs are remembered to be removed for want
	// of room in one look.
	maxCandidates = 4096
	// folderBatch is how many names are read from a folder at once.
	folderBatch = 1024
)

// Swept says what a Sweep has removed and what it has left.
type Swept struct {
	Logs  int
	Bytes int64
	Kept  int64
}

// retain removes old logs until ctx is done.
func (s *Store) retain(ctx context.Context) {
	timer := time.NewTimer(minRetentionPeriod)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		swept, err := s.Sweep(ctx, time.Now())
		if err != nil && ctx.Err() == nil {
			s.retention.Logger.Error("old logs could not be removed", "error", err)
		}
		if swept.Logs > 0 {
			s.retention.Logger.Info("removed old logs", "logs", swept.Logs, "bytes", swept.Bytes, "kept_bytes", swept.Kept)
		}
		timer.Reset(s.nextSweep())
	}
}

// nextSweep is soon when there is too much, which may be too much of what has
// not ended.
func (s *Store) nextSweep() time.Duration {
	if s.retention.MaxBytes > 0 && s.kept.Load() > s.retention.MaxBytes {
		return minRetentionPeriod
	}
	return s.retention.Every
}

// Sweep removes the logs that are to go by the store's Retention.
func (s *Store) Sweep(ctx context.Context, now time.Time) (Swept, error) {
	if err := s.begin(); err != nil {
		return Swept{}, err
	}
	defer s.end()
	before := s.kept.Load()
	w := sweep{store: s, now: now}
	err := w.walk(ctx)
	if err == nil {
		err = w.makeRoom(ctx)
	}
	if err == nil {
		// What was written meanwhile may be counted twice; the next look counts
		// anew.
		s.kept.Add(w.swept.Kept - before)
	}
	return w.swept, err
}

// sweep is one look at all logs.
type sweep struct {
	store *Store
	now   time.Time
	swept Swept
	// oldest are the logs to remove for want of room, the newest on top.
	oldest candidates
}

// candidate is a log of the disk.
type candidate struct {
	ref      job.Ref
	bytes    int64
	modified time.Time
}

func (w *sweep) walk(ctx context.Context) error {
	return eachName(ctx, w.store.dir, func(prefix string) error {
		return eachName(ctx, filepath.Join(w.store.dir, prefix), func(jobID string) error {
			if !job.ValidID(jobID) || w.store.folder(jobID) != filepath.Join(w.store.dir, prefix, jobID) {
				return nil
			}
			return w.job(ctx, jobID)
		})
	})
}

// job looks at the logs of one job.
func (w *sweep) job(ctx context.Context, jobID string) error {
	files, err := os.ReadDir(w.store.folder(jobID))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return unreadable(err)
	}
	logs := map[int]*candidate{}
	for _, file := range files {
		name := file.Name()
		f, ours := parseFileName(strings.TrimSuffix(name, partSuffix))
		info, err := file.Info()
		if !ours || err != nil || f.suffix == removedSuffix {
			continue
		}
		if strings.HasSuffix(name, partSuffix) && w.now.Sub(info.ModTime()) > time.Hour {
			_ = os.Remove(filepath.Join(w.store.folder(jobID), name)) // a crash left it; the next look tries again
			continue
		}
		c := logs[f.attempt]
		if c == nil {
			c = &candidate{ref: job.Ref{JobID: jobID, Attempt: f.attempt}}
			logs[f.attempt] = c
		}
		c.bytes += info.Size()
		if info.ModTime().After(c.modified) {
			c.modified = info.ModTime()
		}
	}
	for _, c := range logs {
		w.swept.Kept += c.bytes
		if age := w.store.retention.Age; age > 0 && w.now.Sub(c.modified) > age {
			if err := w.remove(ctx, c); err != nil {
				return err
			}
			continue
		}
		if w.store.retention.MaxBytes > 0 {
			w.oldest.add(*c)
		}
	}
	return nil
}

// makeRoom removes the oldest logs while there is too much, and a little more,
// so that the next byte does not have everything looked at again.
func (w *sweep) makeRoom(ctx context.Context) error {
	limit := w.store.retention.MaxBytes
	if limit <= 0 || w.swept.Kept <= limit {
		return nil
	}
	newestFirst := make([]candidate, 0, len(w.oldest))
	for len(w.oldest) > 0 {
		c, _ := heap.Pop(&w.oldest).(candidate) // nothing else is in it
		newestFirst = append(newestFirst, c)
	}
	for n := len(newestFirst) - 1; n >= 0 && w.swept.Kept > limit-limit/20; n-- {
		if err := w.remove(ctx, &newestFirst[n]); err != nil {
			return err
		}
	}
	return nil
}

// remove removes a log unless its attempt is live.
func (w *sweep) remove(ctx context.Context, c *candidate) error {
	state, err := w.store.retention.State(ctx, c.ref)
	if err != nil {
		return fmt.Errorf("asking how %s stands: %w", c.ref, err)
	}
	switch state {
	case Unknown:
		err = w.store.DeleteJob(ctx, c.ref.JobID)
	case Ended:
		err = w.store.removeLog(c.ref, w.now)
	default:
		return nil
	}
	if err != nil {
		return err
	}
	w.swept.Logs++
	w.swept.Bytes += c.bytes
	w.swept.Kept -= c.bytes
	return nil
}

// removeLog removes the log of an attempt and leaves a word that it did.
func (s *Store) removeLog(ref job.Ref, now time.Time) error {
	s.mu.Lock()
	l := s.logs[ref.JobID][ref.Attempt]
	s.mu.Unlock()
	if l != nil {
		l.remove(&layout{removedAt: now})
	}
	s.shape.Lock()
	defer s.shape.Unlock()
	mark, err := s.openFile(s.removedPath(ref), os.O_WRONLY|os.O_CREATE)
	if err != nil {
		return unremovable(err, ref)
	}
	if err := errors.Join(s.done(mark), os.Chtimes(s.removedPath(ref), now, now)); err != nil {
		return unremovable(err, ref)
	}
	files, err := os.ReadDir(s.folder(ref.JobID))
	if err != nil {
		return unremovable(err, ref)
	}
	for _, file := range files {
		f, ours := parseFileName(strings.TrimSuffix(file.Name(), partSuffix))
		if !ours || f.attempt != ref.Attempt || f.suffix == removedSuffix {
			continue
		}
		if err := ignoreMissing(os.Remove(filepath.Join(s.folder(ref.JobID), file.Name()))); err != nil {
			return unremovable(err, ref)
		}
	}
	s.forget(func(other job.Ref) bool { return other == ref })
	s.wake(ref.JobID)
	return nil
}

func unremovable(err error, ref job.Ref) error {
	return fault.Wrap(fault.Unavailable, err, "the log of %s could not be removed", ref)
}

// eachName calls f with the names in a folder, which may be very many.
func eachName(ctx context.Context, folder string, f func(name string) error) error {
	dir, err := os.Open(folder)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return unreadable(err)
	}
	defer dir.Close()
	for {
		if err := ctx.Err(); err != nil {
			return store.Abandoned(err)
		}
		entries, err := dir.ReadDir(folderBatch)
		for _, entry := range entries {
			if !entry.IsDir() {
				continue
			}
			if err := f(entry.Name()); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return unreadable(err)
		}
	}
}

// candidates is a heap of the oldest logs, the newest of them on top.
type candidates []candidate

func (c candidates) Len() int           { return len(c) }
func (c candidates) Less(i, j int) bool { return c[i].modified.After(c[j].modified) }
func (c candidates) Swap(i, j int)      { c[i], c[j] = c[j], c[i] }

// Push implements heap.Interface.
func (c *candidates) Push(x any) {
	if one, ok := x.(candidate); ok {
		*c = append(*c, one)
	}
}

// Pop implements heap.Interface.
func (c *candidates) Pop() any {
	last := (*c)[len(*c)-1]
	*c = (*c)[:len(*c)-1]
	return last
}

// add takes a log in and puts the newest out when there are too many.
func (c *candidates) add(one candidate) {
	heap.Push(c, one)
	if len(*c) > maxCandidates {
		heap.Pop(c)
	}
}
