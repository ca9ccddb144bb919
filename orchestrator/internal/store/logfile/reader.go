package logfile

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/store"
)

const (
	// maxReadBytes bounds how much of a log one Read takes in, beside its limit.
	maxReadBytes = 1 << 20
	// maxLooks is how often a reader looks for files that another replaces.
	maxLooks = 10

	noteDamaged = "here the stored log is damaged; something is missing"
	noteRemoved = "the log was removed by retention"
)

// place is a position: behind so many bytes of an attempt's records.
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

// reads checks what all kinds of reading are asked and answers the attempts
// that have a log, in their order.
func (s *Store) reads(ctx context.Context, jobID string, attempt int) ([]int, error) {
	if err := checkJobID(jobID); err != nil {
		return nil, err
	}
	if attempt < 0 {
		return nil, fault.BadField("attempt", "is %d; attempts count from 1, and 0 means all", attempt)
	}
	if err := ctx.Err(); err != nil {
		return nil, store.Abandoned(err)
	}
	if attempt > 0 {
		return []int{attempt}, nil
	}
	stored, err := s.layouts(jobID)
	if err != nil {
		return nil, err
	}
	var numbers []int
	for n := range stored {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	return numbers, nil
}

func checkLimit(name string, n int) error {
	if n < 1 || n > store.MaxLogRead {
		return fault.BadField(name, "is %d; allowed are 1 to %d", n, store.MaxLogRead)
	}
	return nil
}

// look calls f with the layout of an attempt's log, which grows while somebody
// writes it, again when f finds files
// replaced by others meanwhile. Not at all when there is no log.
func (s *Store) look(ref job.Ref, f func(shape *layout, growing bool) error) error {
	var err error
	for range maxLooks {
		// Whoever writes is asked first: once it is done the disk tells.
		shape := s.written(ref)
		growing := shape != nil
		if !growing {
			stored, err := s.layouts(ref.JobID)
			if err != nil {
				return err
			}
			if shape = stored[ref.Attempt]; shape == nil {
				return nil
			}
		}
		if err = f(shape, growing); !errors.Is(err, os.ErrNotExist) {
			break
		}
	}
	var known *fault.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	return unreadable(err)
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
	if err := checkLimit("limit", limit); err != nil {
		return nil, "", err
	}
	numbers, err := s.reads(ctx, jobID, attempt)
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
		found, err := s.readAttempt(job.Ref{JobID: jobID, Attempt: n}, from, limit)
		if err != nil {
			return nil, "", err
		}
		if len(found.entries) > 0 {
			return found.entries, place{n, found.next}.String(), nil
		}
	}
	return nil, position, nil
}

// readAttempt answers entries of one attempt. Readers who follow a log ask the
// same thing at the same time; it is read once for all of them.
func (s *Store) readAttempt(ref job.Ref, from int64, limit int) (found page, err error) {
	err = s.look(ref, func(shape *layout, growing bool) error {
		if !shape.removedAt.IsZero() {
			if found = (page{next: 1}); from == 0 {
				found.entries = []job.LogEntry{noteEntry(ref.Attempt, shape.removedAt, noteRemoved)}
			}
			return nil
		}
		if from >= shape.end() {
			if from > shape.end() {
				return notAPosition(place{ref.Attempt, from}.String())
			}
			return nil
		}
		load := func() (page, error) {
			p := pageReader{store: s, ref: ref, limit: limit, next: from}
			err := p.read(shape)
			return page{p.entries, p.next}, err
		}
		var err error
		if growing {
			found, err = s.pages.get(pageKey{ref, from, shape.end(), limit}, load)
		} else {
			found, err = load()
		}
		return err
	})
	return found, err
}

// noteEntry is a note of the store.
func noteEntry(attempt int, at time.Time, text string) job.LogEntry {
	return job.LogEntry{Attempt: attempt, Stream: job.Stderr, Time: at, Text: text, Note: true}
}

// pageReader gathers entries of one attempt.
type pageReader struct {
	store   *Store
	ref     job.Ref
	limit   int
	next    int64 // behind what was read
	taken   int64 // bytes
	entries []job.LogEntry
}

func (p *pageReader) full() bool { return len(p.entries) >= p.limit || p.taken >= maxReadBytes }

func (p *pageReader) note(text string) {
	p.entries = append(p.entries, noteEntry(p.ref.Attempt, time.Time{}, text))
}

// read takes in what the files hold from next on, until the page is full.
func (p *pageReader) read(shape *layout) error {
	for i, c := range shape.chunks {
		if p.full() {
			return nil
		}
		if c.end <= p.next {
			continue
		}
		if p.next < c.start {
			if err := p.gap(shape, i); err != nil {
				return err
			}
			continue
		}
		if err := p.chunk(c); err != nil {
			return err
		}
	}
	if p.full() || p.next >= shape.text.end {
		return nil
	}
	if p.next < shape.text.start {
		p.note(droppedNote(0))
		p.next = shape.text.start
	}
	return p.text(shape.text)
}

// gap says what is missing before a chunk, and then reads the chunk.
func (p *pageReader) gap(shape *layout, n int) error {
	c := shape.chunks[n]
	lines := int64(0)
	if n > 0 {
		before, err := p.store.chunkHeader(p.ref, shape.chunks[n-1])
		after, afterErr := p.store.chunkHeader(p.ref, c)
		err = errors.Join(err, afterErr)
		switch {
		case err == nil:
			lines = after.Before.Stdout - before.After.Stdout + after.Before.Stderr - before.After.Stderr
		case !errors.Is(err, errDamaged):
			return err
		}
	}
	p.note(droppedNote(lines))
	p.next = c.start
	if p.full() {
		return nil
	}
	return p.chunk(c)
}

// droppedNote says that lines are missing; 0: it is not known how many.
func droppedNote(lines int64) string {
	const why = "dropped here: the log is over its limit, and only its beginning and its end are kept"
	switch {
	case lines <= 0:
		return "lines " + why
	case lines == 1:
		return "1 line " + why
	default:
		return fmt.Sprintf("%d lines %s", lines, why)
	}
}

func (p *pageReader) chunk(c span) error {
	records, err := p.store.chunk(p.ref, c)
	if errors.Is(err, errDamaged) {
		p.note(noteDamaged)
		p.next = c.end
		return nil
	}
	if err != nil {
		return err
	}
	return p.records(bytes.NewReader(records), c)
}

func (p *pageReader) text(text span) error {
	file, err := p.store.openFile(p.store.textPath(p.ref, text.start), os.O_RDONLY)
	if err != nil {
		return err
	}
	defer p.store.doneReading(file)
	return p.records(file, text)
}

// records takes in records of a file from next on.
func (p *pageReader) records(file io.ReaderAt, s span) error {
	offset := p.next - s.start
	if offset > 0 {
		// Positions come from outside: only the end of a record is one.
		var before [1]byte
		if _, err := file.ReadAt(before[:], offset-1); err != nil {
			return err
		}
		if before[0] != '\n' {
			return notAPosition(place{p.ref.Attempt, p.next}.String())
		}
	}
	lines := bufio.NewReaderSize(io.NewSectionReader(file, offset, s.length()-offset), maxRecord)
	for !p.full() {
		line, err := lines.ReadSlice('\n')
		length := int64(len(line))
		for errors.Is(err, bufio.ErrBufferFull) { // too long to be a record
			line, err = lines.ReadSlice('\n')
			length += int64(len(line))
		}
		if errors.Is(err, io.EOF) {
			return nil // without a newline it is not a record, yet
		}
		if err != nil {
			return err
		}
		p.next += length
		p.taken += length
		r, ok := parse(line[:len(line)-1])
		switch {
		case !ok:
			p.note(noteDamaged)
		case r.visible():
			p.entries = append(p.entries, r.entry(p.ref.Attempt))
		}
	}
	return nil
}

// Tail answers the position before the last n entries.
func (s *Store) Tail(ctx context.Context, jobID string, attempt, n int) (position string, err error) {
	if err := s.begin(); err != nil {
		return "", err
	}
	defer s.end()
	if err := checkLimit("tail", n); err != nil {
		return "", err
	}
	numbers, err := s.reads(ctx, jobID, attempt)
	if err != nil {
		return "", err
	}
	for _, number := range slices.Backward(numbers) {
		offset, found, err := s.tailAttempt(job.Ref{JobID: jobID, Attempt: number}, n)
		if err != nil {
			return "", err
		}
		if found == n {
			return place{number, offset}.String(), nil
		}
		n -= found
	}
	return "", nil
}

// tailAttempt finds where the last n entries of an attempt begin and answers
// how many of them it found.
func (s *Store) tailAttempt(ref job.Ref, n int) (offset int64, found int, err error) {
	err = s.look(ref, func(shape *layout, _ bool) error {
		offset, found = 0, 0
		if !shape.removedAt.IsZero() {
			found = 1
			return nil
		}
		if offset, found, err = s.tailText(ref, shape.text, n); err != nil {
			return err
		}
		behind := shape.text.start
		for _, c := range slices.Backward(shape.chunks) {
			if found < n && c.end < behind {
				found++ // the note that something is missing
				offset = c.end
			}
			if found == n {
				return nil
			}
			more, err := s.tailChunk(ref, c, n-found, &offset)
			if err != nil {
				return err
			}
			found += more
			behind = c.start
		}
		if found < n && behind > 0 {
			found++
			offset = 0
		}
		return nil
	})
	return offset, found, err
}

// tailText is tailRecords for a text.
func (s *Store) tailText(ref job.Ref, text span, n int) (offset int64, found int, err error) {
	if text.length() == 0 {
		return text.start, 0, nil
	}
	file, err := s.openFile(s.textPath(ref, text.start), os.O_RDONLY)
	if err != nil {
		return 0, 0, err
	}
	defer s.doneReading(file)
	offset, found, err = tailRecords(file, text.length(), n)
	return text.start + offset, found, err
}

// tailChunk is tailRecords for a chunk, which is only decompressed when the
// last n entries begin in it.
func (s *Store) tailChunk(ref job.Ref, c span, n int, offset *int64) (found int, err error) {
	header, err := s.chunkHeader(ref, c)
	if err == nil && header.Entries < int64(n) {
		*offset = c.start
		return int(header.Entries), nil
	}
	if err != nil && !errors.Is(err, errDamaged) {
		return 0, err
	}
	records, err := s.chunk(ref, c)
	if errors.Is(err, errDamaged) {
		*offset = c.start
		return 1, nil // the note that says so
	}
	if err != nil {
		return 0, err
	}
	at, found, err := tailRecords(bytes.NewReader(records), c.length(), n)
	*offset = c.start + at
	return found, err
}

// tailRecords finds where the last n entries of a file begin, reading it
// backwards, and answers how many of them it found.
func tailRecords(file io.ReaderAt, size int64, n int) (offset int64, found int, err error) {
	const block = 64 << 10
	var part []byte
	buffer := make([]byte, min(block, size)+kindOffset+1)
	// Behind the last newline there is no record, or one that was cut off.
	finished := false
	for begin, end := int64(0), size; end > 0; end = begin {
		begin = max(0, end-block)
		// A little more than the block, for the kind of a record that begins
		// at the block's end.
		part = buffer[:min(size, end+kindOffset+1)-begin]
		if _, err := file.ReadAt(part, begin); err != nil {
			return 0, 0, err
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

// Since answers a position before the first entry that is not earlier than at,
// by the clocks of the nodes, and not far before it.
func (s *Store) Since(ctx context.Context, jobID string, attempt int, at time.Time) (position string, err error) {
	if err := s.begin(); err != nil {
		return "", err
	}
	defer s.end()
	numbers, err := s.reads(ctx, jobID, attempt)
	if err != nil {
		return "", err
	}
	for i, number := range numbers {
		ref := job.Ref{JobID: jobID, Attempt: number}
		var offset int64
		err := s.look(ref, func(shape *layout, _ bool) error {
			offset = shape.text.start
			for _, c := range shape.chunks {
				header, err := s.chunkHeader(ref, c)
				damaged := errors.Is(err, errDamaged)
				if err != nil && !damaged {
					return err
				}
				if damaged || header.Last >= at.UnixNano() {
					offset = c.start
					break
				}
			}
			if offset == shape.text.end && i < len(numbers)-1 {
				offset = -1 // all of it is earlier
			}
			return nil
		})
		if err != nil {
			return "", err
		}
		if offset >= 0 {
			return place{number, offset}.String(), nil
		}
	}
	return "", nil
}
