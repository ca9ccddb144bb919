package docker

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// Logs implements driver.Containers.
func (d *Driver) Logs(ctx context.Context, id string, opts driver.LogOptions, handle func(driver.LogEntry) error) error {
	const op = "read log of container"
	if err := d.checkID(op, id); err != nil {
		return err
	}
	if file := d.logFile(ctx, id); file != nil {
		if opts.Exact != nil {
			opts.Exact()
		}
		return d.readFile(ctx, file, opts, handle)
	}
	return d.readStream(ctx, id, opts, handle)
}

// readStream reads a log as the engine tells it.
func (d *Driver) readStream(ctx context.Context, id string, opts driver.LogOptions, handle func(driver.LogEntry) error) error {
	const op = "read log of container"
	// A reader that stops early must end the request, too.
	reading, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(nil)
	var moved atomic.Int64
	if opts.Follow {
		wg.Go(func() {
			d.watchEnd(reading, id, &moved, func(driver.Exit) { cancel(errEnded) })
		})
	}
	body, err := d.cli.ContainerLogs(reading, id, container.LogsOptions{
		ShowStdout: true, ShowStderr: true, Follow: opts.Follow, Timestamps: true,
	})
	if err != nil {
		if errors.Is(context.Cause(reading), errEnded) {
			return nil
		}
		return d.fail(ctx, op, id, err)
	}
	defer body.Close()

	lines := logLines{skip: opts.Skip, handle: handle}
	for frames := newFrameReader(body); ; {
		p, err := frames.next()
		if errors.Is(err, io.EOF) {
			return lines.end()
		}
		if err != nil {
			if errors.Is(context.Cause(reading), errEnded) {
				return nil
			}
			return d.fail(ctx, op, id, err)
		}
		moved.Add(1)
		if err := lines.piece(p); err != nil {
			return err
		}
	}
}

// logLines makes entries out of what an engine keeps. Both engines keep each line, or piece
// of a long one, by itself; only the last piece ends in a newline. Podman also cuts short
// lines, wherever a read of its monitor happened to end, so the pieces are put together again
// up to driver.MaxLogText.
type logLines struct {
	skip   int64
	handle func(driver.LogEntry) error
	index  int64
	stdout lineBuffer
	stderr lineBuffer
}

// lineBuffer holds the line begun on one stream.
type lineBuffer struct {
	at   time.Time
	text []byte
}

func (l *logLines) buffer(stream driver.Stream) *lineBuffer {
	if stream == driver.Stderr {
		return &l.stderr
	}
	return &l.stdout
}

// piece takes in a piece of a frame, which begins with the time.
func (l *logLines) piece(p piece) error {
	text, whole := p.data, false
	var at time.Time
	if p.first {
		at, text = cutTime(text)
	}
	if p.last {
		text, whole = bytes.CutSuffix(text, []byte("\n"))
	}
	return l.add(p.stream, at, text, whole)
}

// add takes in a piece of a line, which its last one makes whole. What it is given is not
// kept.
func (l *logLines) add(stream driver.Stream, at time.Time, text []byte, whole bool) error {
	b := l.buffer(stream)
	if whole && len(b.text) == 0 && len(text) <= driver.MaxLogText {
		return l.give(driver.LogEntry{Stream: stream, Time: at, Text: string(text)})
	}
	if len(b.text) == 0 {
		b.at = at
	}
	b.text = append(b.text, text...)
	for len(b.text) > driver.MaxLogText {
		if err := l.give(b.take(stream, driver.MaxLogText, true)); err != nil {
			return err
		}
	}
	if whole {
		return l.give(b.take(stream, len(b.text), false))
	}
	return nil
}

// end gives the lines that were begun.
func (l *logLines) end() error {
	for _, stream := range []driver.Stream{driver.Stdout, driver.Stderr} {
		if b := l.buffer(stream); len(b.text) > 0 {
			if err := l.give(b.take(stream, len(b.text), true)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *logLines) give(e driver.LogEntry) error {
	l.index++
	e.Index = l.index
	if e.Index <= l.skip {
		return nil
	}
	return l.handle(e)
}

// take cuts an entry off the front.
func (b *lineBuffer) take(stream driver.Stream, n int, partial bool) driver.LogEntry {
	entry := driver.LogEntry{Stream: stream, Time: b.at, Text: string(b.text[:n]), Partial: partial}
	b.text = append(b.text[:0], b.text[n:]...)
	return entry
}

// cutTime splits a line at the timestamp before it; a line without one is left as it is.
func cutTime(line []byte) (time.Time, []byte) {
	stamp, rest, found := bytes.Cut(line, []byte(" "))
	if !found {
		// An empty line may have lost its blank.
		stamp, rest = bytes.TrimSuffix(line, []byte("\n")), []byte("\n")
	}
	at, err := time.Parse(time.RFC3339Nano, string(stamp))
	if err != nil {
		return time.Time{}, line
	}
	return at, rest
}
