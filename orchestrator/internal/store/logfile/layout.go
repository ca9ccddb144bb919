package logfile

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/job"
)

// The files of an attempt, in the folder of its job. Offsets count the bytes of
// records as they are before they are compressed, from the log's beginning, so
// that a position stays what it is when records move from the one kind of file
// to the other.
//
//	3.log              the records from the beginning on: the only file of a small log
//	3.0-1048601.zst    records that were compressed: a chunk
//	3.1048601.log      what grows, from that offset on
//	3.removed          retention has removed the log
//
// There is at most one text file, behind all chunks. While a text is made into
// chunks both are there, and the text is what counts.
const (
	textSuffix    = ".log"
	chunkSuffix   = ".zst"
	removedSuffix = ".removed"
	// partSuffix is of a chunk that is being written; a crash may leave it.
	partSuffix = ".part"
)

// span is a part of a log: from an offset to the one behind its last byte.
type span struct{ start, end int64 }

func (s span) length() int64 { return s.end - s.start }

// layout says which files hold an attempt's log. It is not changed, but
// replaced.
type layout struct {
	// chunks are in their order. Where one does not begin at the end of the
	// other, something was dropped in between.
	chunks []span
	// text ends with what was appended for sure. Without a length there need
	// not be a file.
	text span
	// removedAt is when retention removed the log; zero: it did not.
	removedAt time.Time
}

// end is the offset behind the log.
func (l *layout) end() int64 { return l.text.end }

// bytes is how much is kept.
func (l *layout) bytes() int64 {
	sum := l.text.length()
	for _, c := range l.chunks {
		sum += c.length()
	}
	return sum
}

// grown is the layout with a longer or shorter text.
func (l *layout) grown(end int64) *layout {
	return &layout{chunks: l.chunks, text: span{l.text.start, end}}
}

// fileName is what the name of a file says.
type fileName struct {
	attempt int
	suffix  string
	span    span // of a text only the start
}

func (f fileName) String() string {
	attempt := strconv.Itoa(f.attempt)
	switch {
	case f.suffix == chunkSuffix:
		return fmt.Sprintf("%s.%d-%d%s", attempt, f.span.start, f.span.end, chunkSuffix)
	case f.suffix == textSuffix && f.span.start > 0:
		return fmt.Sprintf("%s.%d%s", attempt, f.span.start, textSuffix)
	default:
		return attempt + f.suffix
	}
}

// parseFileName reads the name of a file; false when it is none of ours.
func parseFileName(name string) (fileName, bool) {
	var f fileName
	f.suffix = filepath.Ext(name)
	base := strings.TrimSuffix(name, f.suffix)
	attempt, offsets, hasOffsets := strings.Cut(base, ".")
	var err error
	if f.attempt, err = strconv.Atoi(attempt); err != nil || f.attempt < 1 {
		return f, false
	}
	start, end, isSpan := strings.Cut(offsets, "-")
	if hasOffsets {
		if f.span.start, err = strconv.ParseInt(start, 10, 64); err != nil || f.span.start < 0 {
			return f, false
		}
	}
	if isSpan {
		if f.span.end, err = strconv.ParseInt(end, 10, 64); err != nil || f.span.end <= f.span.start {
			return f, false
		}
	}
	switch f.suffix {
	case textSuffix:
		return f, !isSpan
	case chunkSuffix:
		return f, isSpan
	case removedSuffix:
		return f, !hasOffsets
	}
	return f, false
}

func (s *Store) textPath(ref job.Ref, start int64) string {
	return filepath.Join(s.folder(ref.JobID), fileName{ref.Attempt, textSuffix, span{start: start}}.String())
}

func (s *Store) chunkPath(ref job.Ref, c span) string {
	return filepath.Join(s.folder(ref.JobID), fileName{ref.Attempt, chunkSuffix, c}.String())
}

func (s *Store) removedPath(ref job.Ref) string {
	return filepath.Join(s.folder(ref.JobID), fileName{attempt: ref.Attempt, suffix: removedSuffix}.String())
}

// layouts finds the logs of a job on the disk, by attempt. Whoever writes one
// knows better: see Store.written.
func (s *Store) layouts(jobID string) (map[int]*layout, error) {
	// No text becomes chunks meanwhile: reading a folder is not atomic.
	s.shape.RLock()
	defer s.shape.RUnlock()
	files, err := os.ReadDir(s.folder(jobID))
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, unreadable(err)
	}
	found := map[int]*layout{}
	texts := map[int]bool{}
	for _, file := range files {
		f, ok := parseFileName(file.Name())
		if !ok {
			continue
		}
		l := found[f.attempt]
		if l == nil {
			l = &layout{}
			found[f.attempt] = l
		}
		if f.suffix == chunkSuffix {
			l.chunks = append(l.chunks, f.span)
			continue
		}
		info, err := file.Info()
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return nil, unreadable(err)
		}
		if f.suffix == removedSuffix {
			l.removedAt = info.ModTime()
			continue
		}
		// Of two, which only a half-done cleaning up can leave, the later one
		// is the one that grows.
		if !texts[f.attempt] || f.span.start > l.text.start {
			l.text = span{f.span.start, f.span.start + info.Size()}
			texts[f.attempt] = true
		}
	}
	for attempt, l := range found {
		if !l.removedAt.IsZero() {
			*l = layout{removedAt: l.removedAt}
			continue
		}
		slices.SortFunc(l.chunks, func(a, b span) int { return int(min(max(a.start-b.start, -1), 1)) })
		if texts[attempt] {
			l.chunks = slices.DeleteFunc(l.chunks, func(c span) bool { return c.start >= l.text.start })
		} else if n := len(l.chunks); n > 0 {
			l.text = span{l.chunks[n-1].end, l.chunks[n-1].end}
		}
	}
	return found, nil
}
