package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"strconv"
	"time"
)

// client is one connection that asks again and again. It speaks just enough
// HTTP/1.1 for that, because whatever it uses is missing to what is measured.
type client struct {
	conn    net.Conn
	in      *bufio.Reader
	request []byte
	buf     []byte // pieces of an answer
	stop    func() bool
}

// dialClient connects to a way for one kind of question. The connection ends with
// ctx.
func dialClient(ctx context.Context, w *way, want string) (*client, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", w.address)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	question := questionOf(want)
	return &client{
		conn: conn,
		in:   bufio.NewReaderSize(conn, 16<<10),
		request: fmt.Appendf(nil, "POST /v1/chat/completions HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nAuthorization: Bearer bench\r\n"+
			"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", w.address, len(question), question),
		buf:  make([]byte, 16<<10),
		stop: context.AfterFunc(ctx, func() { conn.Close() }),
	}, nil
}

func (c *client) close() {
	c.stop()
	c.conn.Close()
}

// send asks, and gives what the head of the answer says: its length, or -1 when
// it comes in chunks.
func (c *client) send() (length int64, err error) {
	if _, err := c.conn.Write(c.request); err != nil {
		return 0, fmt.Errorf("ask: %w", err)
	}
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return 0, fmt.Errorf("read the answer: %w", err)
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
		rest, _ := c.in.Peek(c.in.Buffered())
		return 0, fmt.Errorf("answered %s%s", line, rest)
	}
	length = -2
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return 0, fmt.Errorf("read the answer: %w", err)
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		if value, ok := headerValue(line, "content-length"); ok {
			if length, err = strconv.ParseInt(string(value), 10, 64); err != nil {
				return 0, fmt.Errorf("the length of the answer: %w", err)
			}
		}
		if value, ok := headerValue(line, "transfer-encoding"); ok && bytes.EqualFold(value, []byte("chunked")) {
			length = -1
		}
	}
	if length == -2 {
		return 0, errors.New("an answer says neither how long it is nor that it comes in chunks")
	}
	return length, nil
}

// askPlain makes a request for an answer of a known size and reads it.
func (c *client) askPlain(size int64) error {
	length, err := c.send()
	if err != nil {
		return err
	}
	body := io.Reader(c.in)
	if length < 0 {
		body = httputil.NewChunkedReader(c.in)
	} else {
		body = io.LimitReader(body, length)
	}
	var got int64
	for {
		n, err := body.Read(c.buf)
		got += int64(n)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
	}
	if got != size {
		return fmt.Errorf("an answer has %d bytes, not %d", got, size)
	}
	if length < 0 {
		return c.endOfChunks()
	}
	return nil
}

// endOfChunks reads the empty line behind the last chunk.
func (c *client) endOfChunks() error {
	line, err := c.in.ReadSlice('\n')
	if err != nil || len(bytes.TrimRight(line, "\r\n")) > 0 {
		return fmt.Errorf("after the last chunk stands %q: %w", line, err)
	}
	return nil
}

// tokenTimes are when the tokens of one stream were written and read.
type tokenTimes struct {
	begun       time.Time
	wrote, read []time.Time
	pieces      int // reads that brought at least one token
}

const stampKey = `{"t":`

// askStream makes a request for a stream and reads it to its end.
func (c *client) askStream(times *tokenTimes) error {
	times.begun, times.wrote, times.read, times.pieces = time.Now(), times.wrote[:0], times.read[:0], 0
	length, err := c.send()
	if err != nil {
		return err
	}
	if length >= 0 {
		return errors.New("a stream says how long it is")
	}
	body := httputil.NewChunkedReader(c.in)
	kept := 0 // bytes of an unfinished event
	last := false
	for {
		n, err := body.Read(c.buf[kept:])
		now := time.Now()
		data := c.buf[:kept+n]
		before := len(times.read)
		for {
			event, rest, whole := bytes.Cut(data, []byte("\n\n"))
			if !whole {
				break
			}
			data = rest
			if stamp := bytes.Index(event, []byte(stampKey)); stamp >= 0 {
				digits, _, _ := bytes.Cut(event[stamp+len(stampKey):], []byte{','})
				nanos, err := strconv.ParseInt(string(digits), 10, 64)
				if err != nil {
					return fmt.Errorf("a token without its time: %w", err)
				}
				times.wrote, times.read = append(times.wrote, time.Unix(0, nanos)), append(times.read, now)
			} else if bytes.Equal(event, []byte("data: [DONE]")) {
				last = true
			}
		}
		kept = copy(c.buf, data)
		if len(times.read) > before {
			times.pieces++
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read the stream: %w", err)
		}
	}
	if !last || len(times.read) != streamTokens {
		return fmt.Errorf("a stream had %d tokens of %d before its end", len(times.read), streamTokens)
	}
	return c.endOfChunks()
}
