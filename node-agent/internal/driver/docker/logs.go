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

	lines := logLines{frames: newFrameReader(body)}
	for {
		entry, err := lines.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			if errors.Is(context.Cause(reading), errEnded) {
				return nil
			}
			return d.fail(ctx, op, id, err)
		}
		moved.Add(1)
		if entry.Index <= opts.Skip {
			continue
		}
		if err := handle(entry); err != nil {
			return err
		}
	}
}

// logLines makes entries out of frames. Both engines put each line, or piece of a long
// one, into a frame of its own, after a timestamp; only the last piece ends in a newline.
// Podman also cuts short lines, wherever a read of its monitor happened to end, so the
// pieces are put together again up to driver.MaxLogText.
type logLines struct {
	frames  *frameReader
	index   int64
	stdout  lineBuffer
	stderr  lineBuffer
	pending []driver.LogEntry
	ended   bool
}

// lineBuffer holds the line begun on one stream.
type lineBuffer struct {
	stream driver.Stream
	at     time.Time
	text   []byte
}

// next gives the next entry; io.EOF after the last.
func (l *logLines) next() (driver.LogEntry, error) {
	for len(l.pending) == 0 {
		if l.ended {
			return driver.LogEntry{}, io.EOF
		}
		if err := l.read(); err != nil {
			return driver.LogEntry{}, err
		}
	}
	entry := l.pending[0]
	l.pending = l.pending[1:]
	l.index++
	entry.Index = l.index
	return entry, nil
}

// read takes in one piece of a frame.
func (l *logLines) read() error {
	p, err := l.frames.next()
	if errors.Is(err, io.EOF) {
		l.ended = true
		for _, b := range []*lineBuffer{&l.stdout, &l.stderr} {
			if len(b.text) > 0 {
				l.pending = append(l.pending, b.take(len(b.text), true))
			}
		}
		return nil
	}
	if err != nil {
		return err
	}
	b := &l.stdout
	if p.stream == driver.Stderr {
		b = &l.stderr
	}
	text := p.data
	if p.first {
		var at time.Time
		at, text = cutTime(text)
		if len(b.text) == 0 {
			b.stream, b.at = p.stream, at
		}
	}
	whole := false
	if p.last {
		text, whole = bytes.CutSuffix(text, []byte("\n"))
	}
	b.text = append(b.text, text...)
	for len(b.text) > driver.MaxLogText {
		l.pending = append(l.pending, b.take(driver.MaxLogText, true))
	}
	if whole {
		l.pending = append(l.pending, b.take(len(b.text), false))
	}
	return nil
}

// take cuts an entry off the front.
func (b *lineBuffer) take(n int, partial bool) driver.LogEntry {
	entry := driver.LogEntry{Stream: b.stream, Time: b.at, Text: string(b.text[:n]), Partial: partial}
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
