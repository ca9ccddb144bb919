package logfile

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/store"
)

// maxReadBytes bounds how much of a file one Read takes in, beside its limit.
const maxReadBytes = 4 << 20

// place is a position: behind so many bytes of an attempt's file.
type place struct {
	attempt int
	offset  int64
}

func (p place) String() string { return fmt.Sprintf("%d:%d", p.attempt, p.offset) }

// parsePlace reads a position that came from outside.
func parsePlace(position string) (place, error) {
	if position == "" {
		return place{}, nil
	}
	attempt, offset, ok := strings.Cut(position, ":")
	n, err := strconv.Atoi(attempt)
	o, offsetErr := strconv.ParseInt(offset, 10, 64)
	if !ok || err != nil || offsetErr != nil || n < 1 || o < 0 {
		return place{}, notAPosition(position)
	}
	return place{n, o}, nil
}

func notAPosition(position string) error {
	return fault.BadField("position", "%q is not a position in this log; leave it empty to begin at the beginning", position)
}

// reads checks what both kinds of reading are asked and answers the attempts
// to read, in their order.
func (s *Store) reads(ctx context.Context, jobID string, attempt, limit int, limitName string) ([]int, error) {
	if err := checkJobID(jobID); err != nil {
		return nil, err
	}
	if attempt < 0 {
		return nil, fault.BadField("attempt", "is %d; attempts count from 1, and 0 means all", attempt)
	}
	if limit < 1 || limit > store.MaxLogRead {
		return nil, fault.BadField(limitName, "is %d; allowed are 1 to %d", limit, store.MaxLogRead)
	}
	if err := ctx.Err(); err != nil {
		return nil, store.Abandoned(err)
	}
	if attempt > 0 {
		return []int{attempt}, nil
	}
	return s.attempts(jobID)
}

// Read answers entries of a job from a position on. Once a newer attempt has a
// log, and everything of the older one was read, it is the newer one's turn.
// That the newer one is there is seen before the older one is read: by then the
// older one is over (see Open), so nothing of it can come late.
func (s *Store) Read(ctx context.Context, jobID string, attempt int, position string, limit int) (entries []job.LogEntry, next string, err error) {
	if err := s.begin(); err != nil {
		return nil, "", err
	}
	defer s.end()
	at, err := parsePlace(position)
	if err != nil {
		return nil, "", err
	}
	if attempt > 0 && at.attempt > 0 && at.attempt != attempt {
		return nil, "", notAPosition(position)
	}
	numbers, err := s.reads(ctx, jobID, attempt, limit, "limit")
	if err != nil {
		return nil, "", err
	}
	for _, n := range numbers {
		if n < at.attempt {
			continue
		}
		from := int64(0)
		if n == at.attempt {
			from = at.offset
		}
		found, offset, err := s.readFile(job.Ref{JobID: jobID, Attempt: n}, from, limit)
		if err != nil {
			return nil, "", err
		}
		if len(found) > 0 {
			return found, place{n, offset}.String(), nil
		}
	}
	return nil, position, nil
}

// readable opens an attempt's file and answers how far it may be read; nil when
// there is none.
func (s *Store) readable(ref job.Ref) (*os.File, int64, error) {
	// Before the file is opened: it may only get longer in between.
	size, known := s.written(ref)
	file, err := s.openFile(s.path(ref), os.O_RDONLY)
	if os.IsNotExist(err) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, unreadable(err)
	}
	if !known {
		info, err := file.Stat()
		if err != nil {
			return nil, 0, unreadable(errors.Join(err, s.done(file)))
		}
		size = info.Size()
	}
	return file, size, nil
}

// readFile answers entries of one attempt and the offset behind the last.
func (s *Store) readFile(ref job.Ref, offset int64, limit int) (entries []job.LogEntry, next int64, err error) {
	file, size, err := s.readable(ref)
	if err != nil || file == nil {
		return nil, offset, err
	}
	defer s.doneReading(file)
	if offset > 0 {
		// Positions come from outside: only the end of a record is one.
		var before [1]byte
		if offset > size {
			return nil, 0, notAPosition(place{ref.Attempt, offset}.String())
		}
		if _, err := file.ReadAt(before[:], offset-1); err != nil {
			return nil, 0, unreadable(err)
		}
		if before[0] != '\n' {
			return nil, 0, notAPosition(place{ref.Attempt, offset}.String())
		}
	}
	next = offset
	lines := bufio.NewReaderSize(io.NewSectionReader(file, offset, size-offset), maxRecord)
	for len(entries) < limit && next-offset < maxReadBytes {
		line, err := lines.ReadSlice('\n')
		for errors.Is(err, bufio.ErrBufferFull) { // too long to be a record
			next += int64(len(line))
			line, err = lines.ReadSlice('\n')
		}
		if errors.Is(err, io.EOF) {
			break // without a newline it is not a record, yet
		}
		if err != nil {
			return nil, 0, unreadable(err)
		}
		next += int64(len(line))
		r, ok := parse(line[:len(line)-1])
		if !ok {
			r = record{kind: kindStderr, text: "here the stored log is damaged; something is missing"}
		}
		if e, ok := r.entry(ref.Attempt); ok {
			entries = append(entries, e)
		}
	}
	return entries, next, nil
}

// Tail answers the position before the last n entries.
func (s *Store) Tail(ctx context.Context, jobID string, attempt, n int) (position string, err error) {
	if err := s.begin(); err != nil {
		return "", err
	}
	defer s.end()
	numbers, err := s.reads(ctx, jobID, attempt, n, "tail")
	if err != nil {
		return "", err
	}
	for i := len(numbers) - 1; i >= 0; i-- {
		offset, found, err := s.tailFile(job.Ref{JobID: jobID, Attempt: numbers[i]}, n)
		if err != nil {
			return "", err
		}
		if found == n {
			return place{numbers[i], offset}.String(), nil
		}
		n -= found
	}
	return "", nil
}

// tailFile finds where the last n entries of a file begin, reading it
// backwards, and answers how many of them it found.
func (s *Store) tailFile(ref job.Ref, n int) (offset int64, found int, err error) {
	file, size, err := s.readable(ref)
	if err != nil || file == nil {
		return 0, 0, err
	}
	defer s.doneReading(file)
	const block = 64 << 10
	var part []byte
	buffer := make([]byte, block+kindOffset+1)
	// Behind the last newline there is no record, or one that was cut off.
	finished := false
	for begin, end := int64(0), size; end > 0; end = begin {
		begin = max(0, end-block)
		// A little more than the block, for the kind of a record that begins
		// at the block's end.
		part = buffer[:min(size, end+kindOffset+1)-begin]
		if _, err := file.ReadAt(part, begin); err != nil {
			return 0, 0, unreadable(err)
		}
		for k := bytes.LastIndexByte(part[:end-begin], '\n'); k >= 0; k = bytes.LastIndexByte(part[:k], '\n') {
			if !finished {
				finished = true
				continue
			}
			if entryAt(part, k+1) {
				found++
			}
			if found == n {
				return begin + int64(k) + 1, found, nil
			}
		}
	}
	if finished && entryAt(part, 0) {
		found++
	}
	return 0, found, nil
}

// entryAt says whether readers see something of the record that begins at
// start: all but that a log is complete.
func entryAt(part []byte, start int) bool {
	at := start + kindOffset
	return at >= len(part) || kind(part[at]) != kindComplete
}
