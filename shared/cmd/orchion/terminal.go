package main

import (
	"strings"
	"unicode/utf8"
)

// withoutControls keeps text, tabs and colours (ESC [ ... m) and leaves out
// every other control sequence, so that what a job prints cannot move the
// cursor, rename the window or type into the terminal.
func withoutControls(s string) string {
	if !strings.ContainsFunc(s, isControl) {
		return s
	}
	var kept strings.Builder
	for i := 0; i < len(s); {
		if n := colourLength(s[i:]); n > 0 {
			kept.WriteString(s[i : i+n])
			i += n
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if !isControl(r) {
			kept.WriteString(s[i : i+size])
		}
		i += size
	}
	return kept.String()
}

func isControl(r rune) bool {
	return (r < ' ' && r != '\t') || r == 0x7f || (r >= 0x80 && r < 0xa0)
}

// colourLength answers the length of the colour sequence that s begins with;
// 0 when it begins with none.
func colourLength(s string) int {
	if !strings.HasPrefix(s, "\x1b[") {
		return 0
	}
	for i := 2; i < len(s) && i < 32; i++ {
		switch c := s[i]; {
		case c == 'm':
			return i + 1
		case c != ';' && (c < '0' || c > '9'):
			return 0
		}
	}
	return 0
}
