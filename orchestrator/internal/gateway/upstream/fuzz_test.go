package upstream

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"testing"
)

// inPieces gives at most size bytes at once.
type inPieces struct {
	data []byte
	size int
}

func (p *inPieces) Read(b []byte) (int, error) {
	if len(p.data) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.data[:min(len(p.data), p.size)])
	p.data = p.data[n:]
	return n, nil
}

// readAnswer reads an answer that comes in pieces.
func readAnswer(data []byte, size int) (res *Response, body, rest []byte, err error) {
	source := &inPieces{data, size}
	in := &reader{source: source}
	defer in.release()
	if res, err = in.response(question); err != nil {
		return nil, nil, nil, err
	}
	for {
		piece, err := res.Body.Next()
		body = append(body, piece...)
		if errors.Is(err, io.EOF) {
			return res, body, append(bytes.Clone(in.buffered()), source.data...), nil
		}
		if err != nil {
			return res, body, nil, err
		}
	}
}

// FuzzAnswer holds that how an answer is cut into pieces changes nothing, and that
// what is taken for whole net/http takes for the same.
func FuzzAnswer(f *testing.F) {
	for _, answer := range malformedAnswers {
		if len(answer) < 1<<10 { // large ones only make it slow
			f.Add([]byte(answer), 1)
		}
	}
	f.Add([]byte(ok+"Content-Length: 5\r\n\r\nhello and more"), 3)
	f.Add([]byte(ok+"Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nA: b\r\n\r\nmore"), 2)
	f.Add([]byte("HTTP/1.1 100 Continue\r\n\r\n"+ok+"\r\nuntil the end"), 7)
	f.Fuzz(func(t *testing.T, data []byte, size int) {
		_, body, rest, err := readAnswer(data, 1<<20)
		_, cutBody, cutRest, cutErr := readAnswer(data, 1+(size&0x3ff))
		if (err == nil) != (cutErr == nil) || !bytes.Equal(body, cutBody) || !bytes.Equal(rest, cutRest) {
			t.Fatalf("in one piece %q, %q, %v\nin more %q, %q, %v", body, rest, err, cutBody, cutRest, cutErr)
		}
		if err != nil {
			return
		}
		in := bufio.NewReader(bytes.NewReader(data))
		for {
			res, err := http.ReadResponse(in, &http.Request{Method: http.MethodPost})
			if err != nil {
				t.Fatalf("net/http: %v; %q was taken", err, data)
			}
			if res.StatusCode < 200 {
				continue
			}
			theirs, err := io.ReadAll(res.Body)
			if err != nil || !bytes.Equal(theirs, body) {
				t.Fatalf("net/http reads %q, %v; ours is %q", theirs, err, body)
			}
			return
		}
	})
}
