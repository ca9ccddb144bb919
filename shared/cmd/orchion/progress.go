package main

import (
	"fmt"
	"io"
	"strings"
)

// progress shows one line that changes: on a terminal in place, elsewhere one
// line for each change that is more than a number.
type progress struct {
	w        io.Writer
	terminal bool
	last     string
	shown    bool
}

func newProgress(w io.Writer) *progress { return &progress{w: w, terminal: isTerminal(w)} }

// show replaces the line. Errors are let go: it is only progress.
func (p *progress) show(line string) {
	line = printable(line)
	if p.terminal {
		_, _ = fmt.Fprintf(p.w, "\r\x1b[K%s", line)
		p.shown = true
		return
	}
	kind := strings.Map(func(r rune) rune {
		if (r >= '0' && r <= '9') || r == '#' || r == '.' {
			return -1
		}
		return r
	}, line)
	if kind != p.last {
		_, _ = fmt.Fprintln(p.w, line)
		p.last = kind
	}
}

// end removes the line from a terminal. It may be called twice.
func (p *progress) end() {
	if p.terminal && p.shown {
		_, _ = fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}

// bar draws a percentage in twenty characters.
func bar(percent float64) string {
	const width = 20
	full := int(min(max(percent, 0), 100) / 100 * width)
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", width-full) + "]"
}
