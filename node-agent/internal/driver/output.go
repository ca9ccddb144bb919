package driver

import "time"

// Stream names one of a container's two outputs.
type Stream string

// The outputs of a container.
const (
	Stdout Stream = "stdout"
	Stderr Stream = "stderr"
)

// LogEntry is a line of a container's output, or a piece of a long one.
type LogEntry struct {
	// Index counts the entries from 1 at the beginning of what the engine keeps. It is the
	// same each time the log is read, so LogOptions.Skip can go on where a reader left off.
	Index  int64
	Stream Stream
	// Time is when the engine received it: to the nanosecond from Docker, to the second from
	// Podman before 4.4; zero when the engine did not tell.
	Time time.Time
	// Text is what was written, without the newline. It need not be valid UTF-8.
	Text string
	// Partial says that the line goes on in the next entry of the same stream, or ended without
	// a newline.
	Partial bool
}

// LogOptions says which part of a log to read.
type LogOptions struct {
	// Follow goes on with what is written later, until the container ends.
	Follow bool
	// Skip leaves out the first so many entries.
	Skip int64
	// Exact, when not nil, is called before the first entry by a driver that reads what was
	// written itself, and not as an engine tells it: every entry comes once, in order, what was
	// removed before it was read ends the reading with ErrOvertaken, and when a log that is
	// followed has ended all of it was read.
	Exact func()
}

// MaxLogText is the most bytes one LogEntry holds; a longer line comes in pieces.
const MaxLogText = 64 << 10
