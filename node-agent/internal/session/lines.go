package session

import (
	"time"
	"unicode/utf8"
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
	// Again is no line: it says that the log is read from its beginning once more.
	Again bool
	// Anew is no line: the engine has begun the log anew while it was read, and may have
	// thrown away lines that nobody read.
	Anew bool
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
