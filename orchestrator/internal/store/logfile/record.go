package logfile

import (
	"bytes"
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
	// kindLimit: the log reached its limit; what came after was dropped.
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
	kind  kind
	line  int64
	nanos int64
	text  string
}

// entryRecord is how an entry is kept.
func entryRecord(e job.LogEntry) record {
	r := record{kind: kindStdout, line: e.Line, text: e.Text}
	if e.Stream == job.Stderr {
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
	if len(line) < kindOffset+2 || line[checksumLength] != ' ' {
		return record{}, false
	}
	var sum [checksumLength / 2]byte
	if _, err := hex.Decode(sum[:], line[:checksumLength]); err != nil {
		return record{}, false
	}
	body := line[kindOffset:]
	if crc32.Checksum(body, castagnoli()) != uint32(sum[0])<<24|uint32(sum[1])<<16|uint32(sum[2])<<8|uint32(sum[3]) {
		return record{}, false
	}
	// With the checksum right, what follows can only fail when the file was
	// written by a version that wrote something else.
	fields := bytes.SplitN(body, []byte{' '}, 4)
	if len(fields) != 4 || len(fields[0]) != 1 {
		return record{}, false
	}
	number, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return record{}, false
	}
	nanos, err := strconv.ParseInt(string(fields[2]), 10, 64)
	if err != nil {
		return record{}, false
	}
	return record{kind: kind(fields[0][0]), line: number, nanos: nanos, text: unescape(fields[3])}, true
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

// entry is what readers see of a record; false when they see nothing, because
// all it says is that the log is complete.
func (r record) entry(attempt int) (job.LogEntry, bool) {
	e := job.LogEntry{Attempt: attempt, Line: r.line, Text: r.text}
	if r.nanos != 0 {
		e.Time = time.Unix(0, r.nanos).UTC()
	}
	e.Stream = job.Stderr
	if r.kind == kindStdout {
		e.Stream = job.Stdout
	}
	return e, r.kind != kindComplete
}
