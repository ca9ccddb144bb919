package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// Docker's log driver json-file keeps a log in files beside each other: ID-json.log, which
// grows, and the older ones as ID-json.log.1 and so on. A file that is full is renamed, with
// all the older ones, and of more than max-file the oldest is removed. They are read here
// where they can be opened: through its API Docker writes each line to the reader by itself,
// and passes over files that it removes while somebody reads them.

const (
	// firstLogPoll and slowLogPoll are how soon, and how often at last, it is looked whether
	// a log has grown.
	firstLogPoll = 5 * time.Millisecond
	slowLogPoll  = 100 * time.Millisecond
	// fileBuffer is how much of a file is read at once.
	fileBuffer = 64 << 10
	// maxFileRecord is more than a record of a piece of 16 KiB can need, with what labels and
	// variables add to it.
	maxFileRecord = 1 << 20
	// maxScans bounds how often it is looked which files there are while they are renamed.
	maxScans = 100
)

// errDamagedLog says that a file holds something else than a log.
var errDamagedLog = fmt.Errorf("a record of the log has more than %d bytes", maxFileRecord)

// logFile opens the files of a container's log; nil when it has to be asked for.
func (d *Driver) logFile(ctx context.Context, id string) *logFiles {
	socket, local := strings.CutPrefix(d.endpoint, "unix://")
	if d.podman() || !local || socket == "" || runtime.GOOS != "linux" || d.asksForLogs {
		return nil
	}
	resp, err := d.cli.ContainerInspect(ctx, id)
	if err != nil || resp.ContainerJSONBase == nil || resp.HostConfig == nil {
		return nil // asking for the log gives the reason
	}
	return openLogFiles(resp.LogPath, resp.ID, resp.HostConfig.LogConfig)
}

// openLogFiles opens the oldest file of a log; nil when it is none that can be read.
func openLogFiles(path, id string, cfg container.LogConfig) *logFiles {
	// The id keeps it from being another engine's, which has the same folder elsewhere.
	if cfg.Type != "json-file" || cfg.Config["compress"] == "true" || id == "" || filepath.Base(path) != id+"-json.log" {
		return nil
	}
	files := 1
	if n, err := strconv.Atoi(cfg.Config["max-file"]); err == nil && n > 0 {
		files = n
	}
	l := &logFiles{path: path, count: files, buf: make([]byte, fileBuffer)}
	if err := l.open(func(found []os.FileInfo) int { return len(found) - 1 }); err != nil {
		return nil
	}
	return l
}

// readFile reads a log from its files.
func (d *Driver) readFile(ctx context.Context, l *logFiles, opts driver.LogOptions, handle func(driver.LogEntry) error) error {
	const op = "read log of container"
	defer l.close()
	id := strings.TrimSuffix(filepath.Base(l.path), "-json.log")
	ended := make(chan error, 1)
	if opts.Follow {
		waiting, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		defer func() { cancel(); <-done }()
		go func() {
			defer close(done)
			_, err := d.Wait(waiting, id)
			ended <- err
		}()
	} else {
		ended <- nil
	}
	lines := logLines{skip: opts.Skip, handle: handle}
	over := false
	for pause := firstLogPoll; ; {
		r, err := l.next()
		switch {
		case err == nil:
			if err := lines.add(r.stream, r.at, r.text, r.whole); err != nil {
				return err
			}
			pause = firstLogPoll
			continue
		case errors.Is(err, driver.ErrOvertaken):
			return err
		case !errors.Is(err, io.EOF):
			return d.fail(ctx, op, id, err)
		case over:
			if r, ok := l.half(); ok {
				return errors.Join(lines.add(r.stream, r.at, r.text, r.whole), lines.end())
			}
			return lines.end()
		}
		// Docker has written all before it says that the container has ended.
		timer := time.NewTimer(pause)
		select {
		case err := <-ended:
			over = true
			if err != nil {
				timer.Stop()
				return err
			}
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return d.fail(ctx, op, id, ctx.Err())
		}
		timer.Stop()
		pause = min(2*pause, slowLogPoll)
	}
}

// logFiles reads the files of a log one after the other. The one that is read stays open, so
// that nothing of it is lost when it is renamed or removed.
type logFiles struct {
	path   string
	count  int // of files, at most
	file   *os.File
	info   os.FileInfo
	offset int64 // read of the file
	buf    []byte
	// buf[begin:end] is read and not yet given.
	begin, end int
}

func (l *logFiles) close() { _ = l.file.Close() } // only read from

// next gives the next record, valid until the next call; io.EOF when there is none yet,
// driver.ErrOvertaken when it was removed.
func (l *logFiles) next() (jsonRecord, error) {
	for searched := 0; ; {
		if at := bytes.IndexByte(l.buf[l.begin+searched:l.end], '\n'); at >= 0 {
			line := l.buf[l.begin : l.begin+searched+at]
			l.begin += searched + at + 1
			return parseJSONRecord(line), nil
		}
		searched = l.end - l.begin
		n, err := l.fill()
		if err != nil {
			return jsonRecord{}, err
		}
		if n > 0 {
			continue
		}
		moved, err := l.move()
		if err != nil {
			return jsonRecord{}, err
		}
		if !moved {
			return jsonRecord{}, io.EOF
		}
	}
}

// half gives what is left of a record that was never finished.
func (l *logFiles) half() (jsonRecord, bool) {
	line := l.buf[l.begin:l.end]
	l.begin = l.end
	return jsonRecord{stream: driver.Stdout, text: line, whole: true}, len(line) > 0
}

// fill reads some more of the file.
func (l *logFiles) fill() (int, error) {
	if l.begin > 0 {
		l.end = copy(l.buf, l.buf[l.begin:l.end])
		l.begin = 0
	}
	if l.end == len(l.buf) {
		if len(l.buf) >= maxFileRecord {
			return 0, errDamagedLog
		}
		l.buf = append(l.buf, make([]byte, len(l.buf))...)
	}
	n, err := l.file.Read(l.buf[l.end:])
	l.end += n
	l.offset += int64(n)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// move goes on to the next file when this one is full and all of it was read, and says
// whether there may be more now.
func (l *logFiles) move() (bool, error) {
	newest, err := os.Stat(l.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil // it is being renamed, or the container was removed
	case err != nil:
		return false, err
	case os.SameFile(newest, l.info):
		if newest.Size() < l.offset { // somebody has emptied it
			return false, driver.ErrOvertaken
		}
		return false, nil
	}
	// Nothing is written to it any more: what came since the last look is all.
	if n, err := l.fill(); n > 0 || err != nil {
		return n > 0, err
	}
	if l.end > l.begin {
		// An engine that was killed left half a record, and begins it with the next one.
		l.buf[l.end] = '\n' // fill has left room
		l.end++
		return true, nil
	}
	before, beforeInfo := l.file, l.info
	err = l.open(func(found []os.FileInfo) int {
		return slices.IndexFunc(found, func(f os.FileInfo) bool { return os.SameFile(f, beforeInfo) }) - 1
	})
	if err != nil {
		return false, err
	}
	_ = before.Close() // only read from
	return true, nil
}

// open opens the file that choose takes of those there are, from the newest to the oldest.
// What is not there is driver.ErrOvertaken.
func (l *logFiles) open(choose func(found []os.FileInfo) int) error {
	for range maxScans {
		found, numbers, err := l.scan()
		if err != nil {
			return err
		}
		at := choose(found)
		if at < 0 || at >= len(found) {
			return driver.ErrOvertaken
		}
		file, err := os.Open(l.name(numbers[at]))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		info, err := file.Stat()
		if err == nil && info.Mode().IsRegular() && os.SameFile(info, found[at]) {
			l.file, l.info, l.offset = file, info, 0
			return nil
		}
		_ = file.Close() // renamed meanwhile
		if err != nil {
			return err
		}
	}
	return driver.ErrOvertaken
}

// scan gives the files of the log from the newest to the oldest, and their numbers.
func (l *logFiles) scan() (found []os.FileInfo, numbers []int, err error) {
	for range maxScans {
		before := found
		found, numbers = nil, nil
		for n := range l.count {
			info, err := os.Stat(l.name(n))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, nil, err
			}
			found, numbers = append(found, info), append(numbers, n)
		}
		// The same twice: none was renamed meanwhile.
		if len(found) > 0 && slices.EqualFunc(before, found, os.SameFile) {
			return found, numbers, nil
		}
	}
	return nil, nil, fs.ErrNotExist
}

func (l *logFiles) name(number int) string {
	if number == 0 {
		return l.path
	}
	return l.path + "." + strconv.Itoa(number)
}
