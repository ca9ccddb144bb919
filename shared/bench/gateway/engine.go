package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// modelName is what the engine serves.
const modelName = "bench"

// streamTokens is the number of events in a stream before its end.
const streamTokens = 100

// pace is the time between the tokens of a stream that is not sent at once.
const pace = 20 * time.Millisecond

// bulkSize is that of a large answer.
const bulkSize = 64 << 20

// What the engine is asked for. It looks for these words in the question instead
// of decoding it, since it shares the cores with what is measured.
const (
	wantPlain  = "plain"
	wantStream = "stream" // all tokens at once
	wantPaced  = "paced"  // a token each pace
	wantHeld   = "held"   // one token, and then nothing until the client leaves
	wantBulk   = "bulk"
)

func questionOf(want string) []byte {
	return fmt.Appendf(nil, `{"model":%q,"stream":%t,"user":"want-%s","messages":[{"role":"user","content":%q}]}`,
		modelName, want != wantPlain && want != wantBulk, want, strings.Repeat("word ", 190))
}

var plainAnswer = answerOf(1024)

func answerOf(size int) []byte {
	const head, tail = `{"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"`, `"}}]}`
	return []byte(head + strings.Repeat("x", size-len(head)-len(tail)) + tail)
}

// engineCommand makes this program the engine.
const engineCommand = "engine"

// runEngine is an engine without a model, on a server of its own that costs next
// to nothing: what is measured is what stands in front of it.
func runEngine(ctx context.Context, address string) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		conn, err := listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("accept: %w", err)
		}
		conns.Go(func() {
			defer conn.Close()
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			defer stop()
			serveConn(conn)
		})
	}
}

// serveConn answers the questions of a connection until it ends.
func serveConn(conn net.Conn) {
	in := bufio.NewReaderSize(conn, 8<<10)
	var body []byte
	for {
		path, size, err := readQuestion(in)
		if err != nil || size > 1<<20 {
			return
		}
		body = append(body[:0], make([]byte, size)...)
		if _, err := io.ReadFull(in, body); err != nil {
			return
		}
		if err := answer(conn, path, body); err != nil {
			return
		}
	}
}

var errNoLength = errors.New("a question without a length")

// readQuestion reads the head of a request.
func readQuestion(in *bufio.Reader) (path string, size int, err error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return "", 0, err
	}
	post := bytes.HasPrefix(line, []byte("POST "))
	if !post {
		path = strings.TrimSpace(string(line))
	}
	size = -1
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return "", 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		if value, ok := headerValue(line, "content-length"); ok {
			if size, err = strconv.Atoi(string(value)); err != nil {
				return "", 0, err
			}
		}
	}
	if size < 0 {
		if post {
			return "", 0, errNoLength
		}
		size = 0
	}
	return path, size, nil
}

// headerValue gives the value of a header's line if it is the one named.
func headerValue(line []byte, name string) ([]byte, bool) {
	if len(line) <= len(name) || line[len(name)] != ':' || !bytes.EqualFold(line[:len(name)], []byte(name)) {
		return nil, false
	}
	return bytes.TrimSpace(line[len(name)+1:]), true
}

var (
	plainReply = fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(plainAnswer), plainAnswer)
	streamHead = []byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
	streamTail = chunkOf([]byte("data: [DONE]\n\n"))
	lastChunk  = []byte("0\r\n\r\n")
)

func chunkOf(data []byte) []byte { return fmt.Appendf(nil, "%x\r\n%s\r\n", len(data), data) }

func answer(conn net.Conn, path string, question []byte) error {
	switch {
	case strings.HasPrefix(path, "GET /v1/models"):
		list := fmt.Sprintf(`{"object":"list","data":[{"id":%q,"object":"model","owned_by":"bench"}]}`, modelName)
		_, err := fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(list), list)
		return err
	case path != "":
		_, err := io.WriteString(conn, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
		return err
	}
	_, after, _ := bytes.Cut(question, []byte(`"user":"want-`))
	want, _, _ := bytes.Cut(after, []byte{'"'})
	switch string(want) {
	case wantStream:
		return stream(conn, 0, streamTokens)
	case wantPaced:
		return stream(conn, pace, streamTokens)
	case wantHeld:
		return hold(conn)
	case wantBulk:
		return bulk(conn)
	}
	_, err := conn.Write(plainReply)
	return err
}

// token is an event that says when it was written.
func token(into []byte) []byte {
	event := fmt.Appendf(nil, `data: {"t":%d,"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"token"}}]}`+"\n\n", time.Now().UnixNano())
	return fmt.Appendf(into, "%x\r\n%s\r\n", len(event), event)
}

// stream sends tokens, each in a write of its own. One client's beginning says
// nothing about another's, so pacing begins at a place of its own in the period.
func stream(conn net.Conn, every time.Duration, tokens int) error {
	var ticks <-chan time.Time
	if every > 0 {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		ticks = ticker.C
	}
	if _, err := conn.Write(streamHead); err != nil {
		return err
	}
	var buf []byte
	for i := range tokens {
		if i > 0 && ticks != nil {
			<-ticks
		}
		buf = token(buf[:0])
		if _, err := conn.Write(buf); err != nil {
			return err
		}
	}
	if _, err := conn.Write(append(append(buf[:0], streamTail...), lastChunk...)); err != nil {
		return err
	}
	return nil
}

// hold sends one token and waits for the end of the connection.
func hold(conn net.Conn) error {
	if _, err := conn.Write(append(append([]byte(nil), streamHead...), token(nil)...)); err != nil {
		return err
	}
	_, err := conn.Read(make([]byte, 1))
	if err == nil {
		err = errNoLength // a question within an answer: whoever asks does not speak HTTP
	}
	return err
}

// bulk sends a large answer, which is no stream.
func bulk(conn net.Conn) error {
	if _, err := fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", bulkSize); err != nil {
		return err
	}
	piece := bytes.Repeat([]byte{' '}, 256<<10)
	for sent := 0; sent < bulkSize; sent += len(piece) {
		if _, err := conn.Write(piece); err != nil {
			return err
		}
	}
	return nil
}
