package session

import (
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// maxEntryText is the most text one entry of a log carries; longer lines are cut.
const maxEntryText = 16 << 10

// Line is a line of an attempt's output, or a piece of a long one.
type Line struct {
	Stderr bool
	Time   time.Time // by this node's clock; zero: not known
	Text   string    // without the newline; need not be valid UTF-8
	// Partial says that the line goes on in the next one of the same stream.
	Partial bool
}

// numbering makes the entries of one attempt's log out of its lines and counts them. It
// does so the same way each time the log is read from its start: that is how a log goes on
// where it stopped after the connection broke or a program was killed.
type numbering struct {
	attempt        int32
	stdout, stderr streamNumbering
}

type streamNumbering struct {
	count int64  // entries so far
	held  int64  // entries that the orchestrator has
	rest  string // the beginning of a character that the last piece was cut in
}

// entries gives the entries of a line that the orchestrator does not hold yet.
func (n *numbering) entries(l Line) []*orchionv1.LogEntry {
	s, name := &n.stdout, "stdout"
	if l.Stderr {
		s, name = &n.stderr, "stderr"
	}
	text := s.rest + l.Text
	s.rest = ""
	if l.Partial {
		text, s.rest = splitIncomplete(text)
	}
	return n.count(s, name, text, l.Time)
}

// finish gives the entries of characters that were begun and never ended.
func (n *numbering) finish() []*orchionv1.LogEntry {
	var entries []*orchionv1.LogEntry
	if n.stdout.rest != "" {
		entries = n.count(&n.stdout, "stdout", n.stdout.rest, time.Time{})
	}
	if n.stderr.rest != "" {
		entries = append(entries, n.count(&n.stderr, "stderr", n.stderr.rest, time.Time{})...)
	}
	return entries
}

func (n *numbering) count(s *streamNumbering, name, text string, at time.Time) []*orchionv1.LogEntry {
	var entries []*orchionv1.LogEntry
	for _, piece := range cut(strings.ToValidUTF8(text, "\uFFFD")) {
		s.count++
		if s.count <= s.held {
			continue
		}
		e := &orchionv1.LogEntry{Stream: name, Attempt: n.attempt, Text: piece, Line: s.count}
		if !at.IsZero() {
			e.Time = timestamppb.New(at)
		}
		entries = append(entries, e)
	}
	return entries
}

// splitIncomplete takes the beginning of a character off the end of text.
func splitIncomplete(text string) (whole, rest string) {
	for back := 1; back < utf8.UTFMax && back <= len(text); back++ {
		at := len(text) - back
		if !utf8.RuneStart(text[at]) {
			continue
		}
		if !utf8.FullRuneInString(text[at:]) {
			return text[:at], text[at:]
		}
		break
	}
	return text, ""
}

// cut gives text in pieces of at most maxEntryText bytes, whole characters each; an empty
// text is one empty piece.
func cut(text string) []string {
	var pieces []string
	for len(text) > maxEntryText {
		at := maxEntryText
		for !utf8.RuneStart(text[at]) {
			at--
		}
		pieces = append(pieces, text[:at])
		text = text[at:]
	}
	return append(pieces, text)
}
