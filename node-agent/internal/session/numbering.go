package session

import (
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// noteDropped stands in a log where lines are missing.
const noteDropped = "lines dropped here: the job printed faster than its log was read, and there was no room to keep it"

// noteAnew stands behind the place where lines may be missing.
const noteAnew = "lines may have been dropped before this: the job filled what the container engine keeps of its log, and it began the log anew"

// numbering makes the entries of one attempt's log out of its lines and counts them, so
// that a log goes on where it stopped after the connection broke or a program was killed.
//
// A log that begins as it did is counted from its beginning: that is exact whatever the
// lines are. A container engine that rotates a log away leaves one that begins later; there
// the place is found by the last entry that is held, and when that one is gone, too, a note
// says so.
type numbering struct {
	attempt        int32
	stdout, stderr streamNumbering

	mode  numberingMode
	first mark // of the whole log; what is not known is never met
	last  mark // the last entry that is accounted for
	same  int  // entries up to the last one that carry its time
	met   int  // of them, in this reading
	anew  bool // the log was begun anew while it was read
}

type numberingMode int

const (
	// counting: every entry is the next one.
	counting numberingMode = iota
	// comparing: the next entry is the first of a reading.
	comparing
	// searching: the beginning is gone, and the last entry that is held was not met yet.
	searching
)

type streamNumbering struct {
	name  string
	count int64  // entries so far
	held  int64  // entries that the orchestrator has
	rest  string // the beginning of a character that the last piece was cut in
}

// mark is by what an entry is known again.
type mark struct {
	known  bool
	stream string
	at     time.Time
	text   string
}

func markOf(e *orchionv1.LogEntry) mark {
	if e.GetLine() < 1 || e.GetTime() == nil {
		return mark{}
	}
	return mark{true, e.GetStream(), e.GetTime().AsTime(), e.GetText()}
}

func (m mark) is(stream string, at time.Time, text string) bool {
	return m.known && m.stream == stream && m.at.Equal(at) && m.text == text
}

// newNumbering begins behind what the orchestrator holds.
func newNumbering(attempt int32, held *orchionv1.PushLogsResponse) *numbering {
	n := &numbering{
		attempt: attempt, first: markOf(held.GetFirst()), last: markOf(held.GetLast()), same: int(held.GetLastSameTime()),
		stdout: streamNumbering{name: "stdout", held: held.GetStdoutLines()},
		stderr: streamNumbering{name: "stderr", held: held.GetStderrLines()},
	}
	n.again()
	return n
}

// again says that the log is read from its beginning once more.
func (n *numbering) again() {
	for _, s := range []*streamNumbering{&n.stdout, &n.stderr} {
		s.held = max(s.held, s.count)
		s.count, s.rest = 0, ""
	}
	n.mode, n.met, n.anew = counting, 0, false
	if n.first.known && n.last.known {
		n.mode = comparing
	}
}

// entries gives the entries of a line that the orchestrator does not hold yet.
func (n *numbering) entries(l Line) []*orchionv1.LogEntry {
	if l.Again {
		n.again()
		return nil
	}
	if l.Anew {
		n.anew = true
		return nil
	}
	s := &n.stdout
	if l.Stderr {
		s = &n.stderr
	}
	text := s.rest + l.Text
	s.rest = ""
	if l.Partial {
		text, s.rest = splitIncomplete(text)
	}
	return n.number(s, text, l.Time)
}

// finish gives what is left at the end of the log: characters that were begun and never
// ended, and that the last entry that is held was not met again.
func (n *numbering) finish() []*orchionv1.LogEntry {
	var entries []*orchionv1.LogEntry
	if n.mode == searching {
		n.found()
		entries = append(entries, n.note(&n.stdout, noteDropped, time.Time{}))
	}
	for _, s := range []*streamNumbering{&n.stdout, &n.stderr} {
		if s.rest != "" {
			entries = append(entries, n.number(s, s.rest, time.Time{})...)
		}
	}
	return entries
}

func (n *numbering) number(s *streamNumbering, text string, at time.Time) []*orchionv1.LogEntry {
	var entries []*orchionv1.LogEntry
	for _, piece := range cut(strings.ToValidUTF8(text, "\uFFFD")) {
		held, lost := n.place(s, piece, at)
		switch {
		case lost:
			entries = append(entries, n.note(s, noteDropped, at))
		case held && n.mode == counting && n.anew:
			// What was lost was lost before the last entry that is held.
			entries = append(entries, n.note(s, noteAnew, at))
		}
		if held {
			continue
		}
		if n.count(s, piece, at) {
			entries = append(entries, n.entry(s, piece, at))
		}
	}
	return entries
}

// note makes a note that takes the place of a line.
func (n *numbering) note(s *streamNumbering, text string, at time.Time) *orchionv1.LogEntry {
	s.count++
	n.anew = false
	e := n.entry(s, text, at)
	e.Note = true
	return e
}

func (n *numbering) entry(s *streamNumbering, text string, at time.Time) *orchionv1.LogEntry {
	e := &orchionv1.LogEntry{Stream: s.name, Attempt: n.attempt, Text: text, Line: s.count}
	if !at.IsZero() {
		e.Time = timestamppb.New(at)
	}
	return e
}

// count counts an entry in and says whether it is new.
func (n *numbering) count(s *streamNumbering, text string, at time.Time) bool {
	if !n.first.known {
		n.first = mark{true, s.name, at, text}
	}
	s.count++
	if s.count <= s.held {
		return false
	}
	if n.last.known && n.last.at.Equal(at) {
		n.same++
	} else {
		n.same = 1
	}
	n.last = mark{true, s.name, at, text}
	return true
}

// place says whether an entry is passed over because it is held, or that what was before
// it is lost.
func (n *numbering) place(s *streamNumbering, text string, at time.Time) (held, lost bool) {
	if n.mode == comparing {
		n.mode = searching
		if n.first.is(s.name, at, text) {
			n.mode = counting
		}
	}
	if n.mode != searching || at.Before(n.last.at) {
		return n.mode == searching, false
	}
	if at.Equal(n.last.at) {
		n.met++
		held = n.last.is(s.name, at, text)
		// An engine that tells times in seconds has so many entries of one time that some
		// of them may be gone: there the text alone has to do.
		inSeconds := at.Nanosecond() == 0
		if !held && (inSeconds || n.met < n.same) || held && !inSeconds && n.met < n.same {
			return true, false
		}
	}
	n.found()
	return held, !held
}

// found says that what comes now is new.
func (n *numbering) found() {
	n.mode = counting
	n.stdout.count, n.stderr.count = n.stdout.held, n.stderr.held
}
