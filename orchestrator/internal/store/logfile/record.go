package logfile

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"strconv"
	"strings"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/store"
)

// A log is a text file that grep and tail can read, one record on a line:
//
//	CHECKSUM KIND LINE NANOSECONDS TEXT
//
// The checksum is the CRC-32C, in 8 hexadecimal digits, of what follows the
// space behind it. A newline in the text is written as \n and a backslash as
// \\, so that a record is a line and nothing else is.

// kind is what a record says.
type kind byte

const (
	kindStdout kind = 'o'
	kindStderr kind = 'e'
	// Notes of the node in the place of lines, numbered with their stream.
	kindStdoutNote kind = 'O'
	kindStderrNote kind = 'E'
	// kindLimit is a note of an earlier version, which dropped the end of a log
	// over its limit.
	kindLimit kind = 'L'
	// kindComplete: the log is whole. The text is how many lines of stdout and
	// stderr there were, dropped ones included.
	kindComplete kind = 'C'
)

const (
	checksumLength = 8
	// kindOffset is where in a record its kind stands.
	kindOffset = checksumLength + 1
	// maxRecord is more than the longest record: two numbers of at most 20
	// characters, and a text of which every character is escaped.
	maxRecord = kindOffset + 2 + 2*21 + 2*store.MaxLogText + 1
)

// castagnoli makes the table of CRC-32C; the package keeps a single one.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// record is one line of a file.
type record struct {
	head
	text string
}

// head is a record without its text.
type head struct {
	kind  kind
	line  int64
	nanos int64
}

// visible says whether a reader sees something of the record: all but that a
// log is complete.
func (h head) visible() bool { return h.kind != kindComplete }

// note says that the record is no output of the job.
func (h head) note() bool { return h.kind != kindStdout && h.kind != kindStderr }

// held is the last line of each stream that is accounted for.
type held struct {
	Stdout int64 `json:"stdout"`
	Stderr int64 `json:"stderr"`
}

func (h *held) of(stream job.Stream) *int64 {
	if stream == job.Stderr {
		return &h.Stderr
	}
	return &h.Stdout
}

// reach counts a record in.
func (h *held) reach(r head) {
	switch r.kind {
	case kindStdout, kindStdoutNote:
		h.Stdout = max(h.Stdout, r.line)
	case kindStderr, kindStderrNote:
		h.Stderr = max(h.Stderr, r.line)
	case kindLimit, kindComplete:
	}
}

// completed reads the text of the mark of a whole log.
func completed(text []byte) (held, bool) {
	stdout, stderr, ok := strings.Cut(string(text), " ")
	o, err := strconv.ParseInt(stdout, 10, 64)
	e, stderrErr := strconv.ParseInt(stderr, 10, 64)
	return held{o, e}, ok && err == nil && stderrErr == nil
}

// entryRecord is how an entry is kept.
func entryRecord(e job.LogEntry) record {
	r := record{head{kind: kindStdout, line: e.Line}, e.Text}
	switch {
	case e.Note && e.Stream == job.Stderr:
		r.kind = kindStderrNote
	case e.Note:
		r.kind = kindStdoutNote
	case e.Stream == job.Stderr:
		r.kind = kindStderr
	}
	if !e.Time.IsZero() {
		r.nanos = e.Time.UnixNano()
	}
	return r
}

// append writes the record behind buffer.
func (r record) append(buffer []byte) []byte {
	begin := len(buffer)
	buffer = append(buffer, "00000000 "...)
	buffer = append(buffer, byte(r.kind), ' ')
	buffer = strconv.AppendInt(buffer, r.line, 10)
	buffer = append(buffer, ' ')
	buffer = strconv.AppendInt(buffer, r.nanos, 10)
	buffer = append(buffer, ' ')
	if strings.ContainsAny(r.text, "\\\n") {
		for i := range len(r.text) {
			switch c := r.text[i]; c {
			case '\\':
				buffer = append(buffer, `\\`...)
			case '\n':
				buffer = append(buffer, `\n`...)
			default:
				buffer = append(buffer, c)
			}
		}
	} else {
		buffer = append(buffer, r.text...)
	}
	sum := crc32.Checksum(buffer[begin+kindOffset:], castagnoli())
	hex.Encode(buffer[begin:], []byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
	return append(buffer, '\n')
}

// parse reads a line without its newline; false when it is not a record as it
// was written.
func parse(line []byte) (record, bool) {
	if !sumsUp(line) {
		return record{}, false
	}
	// With the checksum right, what follows can only fail when the file was
	// written by a version that wrote something else.
	h, text, ok := parseHead(line)
	if !ok {
		return record{}, false
	}
	return record{h, unescape(text)}, true
}

// sumsUp says whether a line without its newline has the right checksum.
func sumsUp(line []byte) bool {
	if len(line) < kindOffset+2 || line[checksumLength] != ' ' {
		return false
	}
	var sum [checksumLength / 2]byte
	if _, err := hex.Decode(sum[:], line[:checksumLength]); err != nil {
		return false
	}
	return crc32.Checksum(line[kindOffset:], castagnoli()) == binary.BigEndian.Uint32(sum[:])
}

// appendChecksum writes the beginning of a record behind buffer.
func appendChecksum(buffer, body []byte) []byte {
	var sum [checksumLength / 2]byte
	binary.BigEndian.PutUint32(sum[:], crc32.Checksum(body, castagnoli()))
	return append(hex.AppendEncode(buffer, sum[:]), ' ')
}

// withoutChecksums gives records without what a compressor can make nothing of;
// false when one of them has a wrong checksum, which must be kept.
func withoutChecksums(records []byte) ([]byte, bool) {
	bare := make([]byte, 0, len(records))
	for len(records) > 0 {
		end := bytes.IndexByte(records, '\n')
		if end < 0 || !sumsUp(records[:end]) {
			return nil, false
		}
		bare = append(bare, records[kindOffset:end+1]...)
		records = records[end+1:]
	}
	return bare, true
}

// withChecksums is the other way round.
func withChecksums(bare []byte, length int64) []byte {
	records := make([]byte, 0, length)
	for len(bare) > 0 {
		end := bytes.IndexByte(bare, '\n')
		if end < 0 {
			break
		}
		records = append(appendChecksum(records, bare[:end]), bare[:end+1]...)
		bare = bare[end+1:]
	}
	return records
}

// parseHead reads a line that is known to be good. The text is as it is kept,
// and only valid as long as the line is.
func parseHead(line []byte) (h head, text []byte, ok bool) {
	if len(line) < kindOffset+2 {
		return head{}, nil, false
	}
	name, rest, ok := bytes.Cut(line[kindOffset:], []byte{' '})
	if !ok || len(name) != 1 {
		return head{}, nil, false
	}
	number, rest, ok := bytes.Cut(rest, []byte{' '})
	if !ok {
		return head{}, nil, false
	}
	nanos, text, ok := bytes.Cut(rest, []byte{' '})
	if !ok {
		return head{}, nil, false
	}
	h.kind = kind(name[0])
	var err error
	if h.line, err = strconv.ParseInt(string(number), 10, 64); err != nil {
		return head{}, nil, false
	}
	if h.nanos, err = strconv.ParseInt(string(nanos), 10, 64); err != nil {
		return head{}, nil, false
	}
	return h, text, true
}

// unescape undoes the escaping of a text.
func unescape(text []byte) string {
	if bytes.IndexByte(text, '\\') < 0 {
		return string(text)
	}
	plain := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+1 < len(text) {
			i++
			if text[i] == 'n' {
				plain = append(plain, '\n')
				continue
			}
		}
		plain = append(plain, text[i])
	}
	return string(plain)
}

// entry is what readers see of a record.
func (r record) entry(attempt int) job.LogEntry {
	e := job.LogEntry{Attempt: attempt, Line: r.line, Text: r.text, Note: r.note(), Stream: job.Stderr}
	if r.nanos != 0 {
		e.Time = time.Unix(0, r.nanos).UTC()
	}
	if r.kind == kindStdout || r.kind == kindStdoutNote {
		e.Stream = job.Stdout
	}
	return e
}
