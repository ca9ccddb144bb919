package upstream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
)

// errMalformed is in all errors about what is wrong with an answer.
var errMalformed = errors.New("the engine does not speak HTTP/1.1 as it should")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errMalformed}, args...)...)
}

const (
	// maxHead bounds the head of an answer, and maxFields the headers in it.
	maxHead, maxFields = largeBuffer, 128
	// maxInterim bounds the 1xx answers before the one that counts.
	maxInterim = 8
)

// Response is an engine's answer.
type Response struct {
	StatusCode int
	Header     Header
	// ContentLength is that of the body, or -1.
	ContentLength int64
	// EndsWithConnection says that only the connection's end ends the body, so that
	// one that was cut looks whole.
	EndsWithConnection bool
	Body               *Body

	body Body // to be no allocation of its own
}

// Header has the headers of an answer, in one piece of memory with it.
type Header struct {
	names, values []string
	nameRoom      [16]string
	valueRoom     [16]string
}

// Get gives the first value of a header, or nothing.
func (h *Header) Get(name string) string {
	if values := h.Values(name); values != nil {
		return values[0]
	}
	return ""
}

// Values gives the first value of a header as a slice of one, nil when there is
// none. It is not to be changed, but may be kept.
func (h *Header) Values(name string) []string {
	for i, n := range h.names {
		if len(n) == len(name) && strings.EqualFold(n, name) {
			return h.values[i : i+1 : i+1]
		}
	}
	return nil
}

// All gives every header as it came.
func (h *Header) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for i, name := range h.names {
			if !yield(name, h.values[i]) {
				return
			}
		}
	}
}

// response reads the head of an answer to a request, past what is only interim.
func (r *reader) response(req *Request) (*Response, error) {
	for range maxInterim + 1 {
		head, err := r.head()
		if err != nil {
			return nil, err
		}
		res := &Response{}
		keep, err := res.parse(head)
		if err != nil {
			return nil, err
		}
		switch {
		case res.StatusCode == http.StatusSwitchingProtocols:
			return nil, malformed("it wants to speak another protocol")
		case res.StatusCode < 200:
			continue
		}
		res.Body = &res.body
		res.body.in = r
		return res, res.frame(req.Method, keep)
	}
	return nil, malformed("more than %d interim answers", maxInterim)
}

// head reads up to the empty line and gives it in memory of its own, with the last
// header's end and without the empty line. A line that ends in another way is found
// at once, and not by waiting for one that does not come.
func (r *reader) head() (string, error) {
	line, searched := 0, 0 // where a line begins, and up to where its end was looked for
	for {
		data := r.buffered()
		for {
			i := bytes.IndexByte(data[searched:], '\n')
			if i < 0 {
				searched = len(data)
				break
			}
			end := searched + i
			if end == 0 || data[end-1] != '\r' {
				return "", malformed("a line of its head does not end with CRLF")
			}
			if end-1 == line {
				head := string(data[:line])
				r.start += end + 1
				return head, nil
			}
			line, searched = end+1, end+1
		}
		if len(data) >= maxHead {
			return "", malformed("its head is larger than %d bytes", maxHead)
		}
		if err := r.fill(); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return "", err
		}
	}
}

// parse takes a head apart. keep says whether the engine keeps the connection as
// far as its version says.
func (res *Response) parse(head string) (keep bool, err error) {
	line, rest, _ := strings.Cut(head, "\r\n")
	if len(line) < len("HTTP/1.1 200") || (line[:9] != "HTTP/1.1 " && line[:9] != "HTTP/1.0 ") {
		return false, malformed("it begins with %q", clip(line))
	}
	for _, c := range line[9:12] {
		if c < '0' || c > '9' {
			return false, malformed("it begins with %q", clip(line))
		}
		res.StatusCode = res.StatusCode*10 + int(c-'0')
	}
	if res.StatusCode < 100 || res.StatusCode > 599 || (len(line) > 12 && line[12] != ' ') || !isValue(line[12:]) {
		return false, malformed("it begins with %q", clip(line))
	}
	h := &res.Header
	h.names, h.values = h.nameRoom[:0], h.valueRoom[:0]
	for rest != "" {
		line, rest, _ = strings.Cut(rest, "\r\n")
		name, value, found := strings.Cut(line, ":")
		// A line that goes on with the next begins with a space, which no name does.
		if !found || !isName(name) || !isValue(value) {
			return false, malformed("a header is %q", clip(line))
		}
		if len(h.names) == maxFields {
			return false, malformed("it has more than %d headers", maxFields)
		}
		h.names, h.values = append(h.names, name), append(h.values, strings.Trim(value, " \t"))
	}
	return line11(head), nil
}

func line11(head string) bool { return head[7] == '1' }

// frame finds out where the body ends.
func (res *Response) frame(method string, keep bool) error {
	http11 := keep
	lengths, encodings, length, encoding := 0, 0, "", ""
	for i, name := range res.Header.names {
		value := res.Header.values[i]
		switch {
		case strings.EqualFold(name, "Content-Length"):
			lengths++
			length = value
		case strings.EqualFold(name, "Transfer-Encoding"):
			encodings++
			encoding = value
		case strings.EqualFold(name, "Connection"):
			switch {
			case hasToken(value, "close"):
				keep = false
			case !http11 && hasToken(value, "keep-alive"):
				keep = true
			}
		}
	}
	if lengths > 1 || encodings > 1 || (lengths > 0 && encodings > 0) {
		return malformed("it says more than once how long it is")
	}
	b := &res.body
	b.reusable = keep
	res.ContentLength = -1
	switch {
	case encodings == 1 && (!http11 || !strings.EqualFold(encoding, "chunked")):
		return malformed("its Transfer-Encoding is %q", clip(encoding))
	case lengths == 1:
		n, ok := parseLength(length)
		if !ok {
			return malformed("its Content-Length is %q", clip(length))
		}
		res.ContentLength = n
	}
	switch {
	case method == http.MethodHead || res.StatusCode == http.StatusNoContent || res.StatusCode == http.StatusNotModified:
		res.ContentLength, b.kind = 0, ofLength
	case encodings == 1:
		b.kind = inChunks
	case lengths == 1:
		b.kind, b.left = ofLength, res.ContentLength
	default:
		b.kind, b.reusable, res.EndsWithConnection = untilClose, false, true
	}
	return nil
}

// parseLength reads a number of digits alone.
func parseLength(s string) (int64, bool) {
	if s == "" || len(s) > 18 {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, true
}

func hasToken(list, token string) bool {
	for part := range strings.SplitSeq(list, ",") {
		if strings.EqualFold(strings.Trim(part, " \t"), token) {
			return true
		}
	}
	return false
}

// isName says whether s is a token, as names of headers are.
func isName(s string) bool {
	for i := range len(s) {
		if c := s[i]; c >= 0x80 || !tokenBytes[c] {
			return false
		}
	}
	return s != ""
}

var tokenBytes = func() (table [128]bool) {
	for c := range 128 {
		table[c] = c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c > 0 && strings.IndexByte("!#$%&'*+-.^_`|~", byte(c)) >= 0
	}
	return table
}()

// isValue says whether s may be the value of a header: no byte of it ends a line.
func isValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// isVisible says whether s has no spaces and nothing else that parts a line.
func isVisible(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

// clip shortens what an engine said for an error.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}
