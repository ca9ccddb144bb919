package docker

import (
	"bytes"
	"context"
	"errors"
	"io"
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
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	body, err := d.cli.ContainerLogs(ctx, id, container.LogsOptions{
		ShowStdout: true, ShowStderr: true, Follow: opts.Follow, Timestamps: true,
	})
	if err != nil {
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
			return d.fail(ctx, op, id, err)
		}
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
type logLines struct {
	frames *frameReader
	index  int64
	at     time.Time // of the current frame
}

func (l *logLines) next() (driver.LogEntry, error) {
	p, err := l.frames.next()
	if err != nil {
		return driver.LogEntry{}, err
	}
	text := p.data
	if p.first {
		l.at, text = cutTime(text)
	}
	l.index++
	entry := driver.LogEntry{Index: l.index, Stream: p.stream, Time: l.at, Partial: true}
	if p.last {
		var whole bool
		text, whole = bytes.CutSuffix(text, []byte("\n"))
		entry.Partial = !whole
	}
	entry.Text = string(text)
	return entry, nil
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
