package process

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// A log is a row of files, numbered from 1, of records. When one is full the next begins,
// and of more than maxSegments the oldest is removed.
const (
	maxSegments   = 4
	segmentSuffix = ".log"

	// A record is this, with the numbers in big endian, and then the text.
	recordHeader = 1 + 8 + 4 // flags, nanoseconds since 1970, length of the text
	flagStderr   = 1 << 0
	flagPartial  = 1 << 1
)

func segmentPath(dir string, number int) string {
	return filepath.Join(dir, fmt.Sprintf("%08d%s", number, segmentSuffix))
}

// segments are the numbers of the files of a log, in order.
func segments(dir string) ([]int, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var numbers []int
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), segmentSuffix)
		if n, err := strconv.Atoi(name); ok && err == nil && n > 0 {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

func appendRecord(to []byte, e *driver.LogEntry) []byte {
	var flags byte
	if e.Stream == driver.Stderr {
		flags |= flagStderr
	}
	if e.Partial {
		flags |= flagPartial
	}
	to = append(to, flags)
	to = binary.BigEndian.AppendUint64(to, uint64(e.Time.UnixNano()))
	to = binary.BigEndian.AppendUint32(to, uint32(len(e.Text)))
	return append(to, e.Text...)
}

// segment reads the records of one file as they come.
type segment struct {
	file *os.File
	buf  bytes.Buffer // read and not yet whole records
	read []byte
}

func openSegment(path string) (*segment, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return &segment{file: file, read: make([]byte, driver.MaxLogText)}, nil
}

func (s *segment) close() {
	if s != nil {
		_ = s.file.Close() // only read from
	}
}

var errDamaged = errors.New("the log is damaged")

// next gives the next record; io.EOF when there is no whole one yet.
func (s *segment) next() (driver.LogEntry, error) {
	for {
		e, whole, err := s.take()
		if whole || err != nil {
			return e, err
		}
		n, err := s.fill()
		if err == nil && n == 0 {
			err = io.EOF
		}
		if err != nil {
			return driver.LogEntry{}, err
		}
	}
}

// fill reads what is there by now, or the next piece of it.
func (s *segment) fill() (int, error) {
	n, err := s.file.Read(s.read)
	s.buf.Write(s.read[:n])
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

func (s *segment) take() (e driver.LogEntry, whole bool, err error) {
	b := s.buf.Bytes()
	if len(b) < recordHeader {
		return e, false, nil
	}
	length := int(binary.BigEndian.Uint32(b[9:]))
	if length > driver.MaxLogText {
		return e, false, errDamaged
	}
	if len(b) < recordHeader+length {
		return e, false, nil
	}
	e.Stream = driver.Stdout
	if b[0]&flagStderr != 0 {
		e.Stream = driver.Stderr
	}
	e.Partial = b[0]&flagPartial != 0
	e.Time = time.Unix(0, int64(binary.BigEndian.Uint64(b[1:])))
	e.Text = string(b[recordHeader : recordHeader+length])
	s.buf.Next(recordHeader + length)
	return e, true, nil
}

// there says whether a file of a log exists.
func there(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
