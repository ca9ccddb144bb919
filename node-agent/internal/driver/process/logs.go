package process

import (
	"context"
	"errors"
	"io"
	"io/fs"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// Logs implements driver.Containers. A reader that is slower than the program for so long
// that a part was removed unread gets [driver.ErrOvertaken].
func (d *Driver) Logs(ctx context.Context, id string, opts driver.LogOptions, handle func(driver.LogEntry) error) error {
	const op = "read log of process"
	c, err := d.inspect(op, id)
	if err != nil {
		return err
	}
	if opts.Exact != nil {
		opts.Exact()
	}
	if c.State == driver.StateCreated {
		return nil
	}
	r := &logReader{dir: d.path(id, logFolder)}
	defer r.close()
	pause := firstPoll
	for looks := 0; ; looks++ {
		// Looked at first: what is not there after the end never will be.
		if !opts.Follow || d.mayHaveEnded(id, looks) {
			if c, err = d.inspect(op, id); err != nil {
				return err
			}
		}
		for {
			e, err := r.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if errors.Is(err, driver.ErrOvertaken) {
				return err
			}
			if err != nil {
				return d.failure(op, id, err)
			}
			pause = firstPoll
			if e.Index <= opts.Skip {
				continue
			}
			if err := handle(e); err != nil {
				return err
			}
			if err := ctx.Err(); err != nil {
				return ended(op, id, err)
			}
		}
		if !opts.Follow || c.State != driver.StateRunning {
			return nil
		}
		if err := sleep(ctx, pause); err != nil {
			return ended(op, id, err)
		}
		pause = min(2*pause, slowPoll)
	}
}

// logReader reads the files of a log one after the other.
type logReader struct {
	dir     string
	number  int // of the file that is read; 0: none yet
	current *segment
	index   int64
}

func (r *logReader) close() { r.current.close() }

// next gives the next entry; io.EOF when there is none yet.
func (r *logReader) next() (driver.LogEntry, error) {
	for {
		if r.current == nil {
			if err := r.begin(); err != nil {
				return driver.LogEntry{}, err
			}
		}
		e, err := r.current.next()
		if errors.Is(err, io.EOF) {
			moved, err := r.move()
			if err != nil {
				return driver.LogEntry{}, err
			}
			if !moved {
				return driver.LogEntry{}, io.EOF
			}
			continue
		}
		if err != nil {
			return driver.LogEntry{}, err
		}
		r.index++
		e.Index = r.index
		return e, nil
	}
}

// begin opens the oldest file.
func (r *logReader) begin() error {
	for {
		numbers, err := segments(r.dir)
		if err != nil {
			return err
		}
		if len(numbers) == 0 {
			return io.EOF
		}
		r.number = numbers[0]
		r.current, err = openSegment(segmentPath(r.dir, r.number))
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
}

// move goes on to the next file when there is one and all of this one has been read. A file
// gets no more once the next one is there, so that is looked for first.
func (r *logReader) move() (bool, error) {
	next := segmentPath(r.dir, r.number+1)
	more, err := there(next)
	if err != nil {
		return false, err
	}
	if !more {
		numbers, err := segments(r.dir)
		if err == nil && len(numbers) > 0 && numbers[len(numbers)-1] > r.number+1 {
			err = driver.ErrOvertaken
		}
		return false, err
	}
	if n, err := r.current.fill(); n > 0 || err != nil {
		return true, err
	}
	opened, err := openSegment(next)
	if errors.Is(err, fs.ErrNotExist) {
		return false, driver.ErrOvertaken
	}
	if err != nil {
		return false, err
	}
	r.current.close()
	r.current, r.number = opened, r.number+1
	return true, nil
}
