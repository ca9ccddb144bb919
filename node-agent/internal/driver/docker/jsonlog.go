package docker

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// jsonRecord is a line of a file of Docker's log driver json-file: a line of output, or a
// piece of a long one.
type jsonRecord struct {
	stream driver.Stream
	at     time.Time
	text   []byte // without the newline
	whole  bool   // it had one
}

var (
	jsonLogBegin  = []byte(`{"log":"`)
	jsonStdout    = []byte(`,"stream":"stdout","time":"`)
	jsonStderr    = []byte(`,"stream":"stderr","time":"`)
	jsonRecordEnd = []byte(`"}`)
)

// parseJSONRecord reads a line, without its newline, which it may change and which the
// record's text is a part of. What is no record becomes a line of stdout as it is: an engine
// that was killed may leave a half.
//
// Docker writes its records itself and always alike (pkg/jsonlog in moby), so that this
// needs a JSON reader only for what is unusual.
func parseJSONRecord(line []byte) jsonRecord {
	quoted, ok := bytes.CutPrefix(line, jsonLogBegin)
	if !ok {
		return parseOddRecord(line)
	}
	end := stringEnd(quoted)
	if end < 0 {
		return parseOddRecord(line)
	}
	r := jsonRecord{stream: driver.Stdout}
	stamp, ok := bytes.CutPrefix(quoted[end+1:], jsonStdout)
	if !ok {
		r.stream = driver.Stderr
		stamp, ok = bytes.CutPrefix(quoted[end+1:], jsonStderr)
	}
	if ok {
		stamp, ok = bytes.CutSuffix(stamp, jsonRecordEnd)
	}
	if !ok {
		return parseOddRecord(line)
	}
	var err error
	if r.at, err = time.Parse(time.RFC3339Nano, string(stamp)); err != nil {
		return parseOddRecord(line)
	}
	// Only now, for it changes the line.
	r.text, r.whole = bytes.CutSuffix(unescape(quoted[:end]), []byte("\n"))
	return r
}

// parseOddRecord reads what is not as Docker writes it without options: it may have
// attributes, or no text.
func parseOddRecord(line []byte) jsonRecord {
	var fields struct {
		Log    string    `json:"log"`
		Stream string    `json:"stream"`
		Time   time.Time `json:"time"`
	}
	if err := json.Unmarshal(line, &fields); err != nil {
		return jsonRecord{stream: driver.Stdout, text: line, whole: true}
	}
	r := jsonRecord{stream: driver.Stdout, at: fields.Time}
	if fields.Stream == string(driver.Stderr) {
		r.stream = driver.Stderr
	}
	r.text, r.whole = bytes.CutSuffix([]byte(fields.Log), []byte("\n"))
	return r
}

// stringEnd is where the quote is that ends a JSON string; -1: nowhere, or the string has an
// escape that JSON does not know.
func stringEnd(s []byte) int {
	end := bytes.IndexByte(s, '"')
	if end < 0 {
		return -1
	}
	i := bytes.IndexByte(s[:end], '\\')
	if i < 0 || i == end-2 && s[end-1] == 'n' { // most lines
		return end
	}
	for ; i < len(s); i++ {
		switch s[i] {
		case '"':
			return i
		case '\\':
			i++
			if i == len(s) || unescaped(s[i]) == 0 && (s[i] != 'u' || !fourDigits(s[i+1:])) {
				return -1
			}
		}
	}
	return -1
}

func fourDigits(s []byte) bool {
	if len(s) < 4 {
		return false
	}
	_, err := strconv.ParseUint(string(s[:4]), 16, 16)
	return err == nil
}

// unescape reads the inside of a JSON string, in place.
func unescape(s []byte) []byte {
	w := bytes.IndexByte(s, '\\')
	if w < 0 {
		return s
	}
	for i := w; i < len(s); {
		switch {
		case s[i] != '\\':
			next := bytes.IndexByte(s[i:], '\\')
			if next < 0 {
				next = len(s) - i
			}
			w += copy(s[w:], s[i:i+next])
			i += next
		case s[i+1] == 'u':
			r, length := hexRune(s[i:])
			w += utf8.EncodeRune(s[w:], r)
			i += length
		default:
			s[w] = unescaped(s[i+1])
			w, i = w+1, i+2
		}
	}
	return s[:w]
}

// unescaped is the byte for the letter of an escape; 0: there is none.
func unescaped(letter byte) byte {
	switch letter {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case '"', '\\', '/':
		return letter
	}
	return 0
}

// hexRune reads \uXXXX, or the two of them that a character beyond 16 bits is.
func hexRune(s []byte) (r rune, length int) {
	one := func(s []byte) rune {
		if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
			return utf8.RuneError
		}
		n, err := strconv.ParseUint(string(s[2:6]), 16, 16)
		if err != nil {
			return utf8.RuneError
		}
		return rune(n)
	}
	r = one(s)
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	if pair := utf16.DecodeRune(r, one(s[6:])); pair != utf8.RuneError {
		return pair, 12
	}
	return utf8.RuneError, 6
}
