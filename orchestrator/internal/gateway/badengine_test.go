package gateway

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/tunnel"
)

const (
	goodAnswer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{\"good\":true}"
	evilAnswer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{\"evil\":true}"
)

// scripted is an engine that gives each connection its own bytes for each request on it,
// and remembers what it was asked.
type scripted struct {
	mu    sync.Mutex
	conns [][]string // answers by connection; guarded by mu
	asked []string   // heads and bodies as they came; guarded by mu
}

func (s *scripted) dial(context.Context, string, tunnel.Target) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.conns) == 0 {
		return nil, net.ErrClosed
	}
	answers := s.conns[0]
	s.conns = s.conns[1:]
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		var sent bytes.Buffer
		in := bufio.NewReaderSize(io.TeeReader(far, &sent), 16)
		for _, answer := range answers {
			req, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, req.Body)
			s.mu.Lock()
			s.asked = append(s.asked, sent.String())
			s.mu.Unlock()
			sent.Reset()
			if _, err := io.WriteString(far, answer); err != nil {
				return
			}
		}
		_, _ = io.Copy(io.Discard, in) // until the gateway closes it
	}()
	return near, nil
}

// Whatever an engine answers, its client gets the answer or an error, and the next one nothing of it.
func TestEngineThatDoesNotSpeakHTTP(t *testing.T) {
	const head, evil = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n", evilAnswer
	for name, c := range map[string]struct {
		answer string
		status int
	}{
		"both lengths":               {head + "Content-Length: 13\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + evil, 502},
		"two lengths":                {head + "Content-Length: 2\r\nContent-Length: 13\r\n\r\n{}" + evil, 502},
		"another encoding":           {head + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + evil, 502},
		"a header that goes on":      {head + "X-A: b\r\n Content-Length: 2\r\n\r\n{}" + evil, 502},
		"lines that end in LF":       {"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}" + evil, 502},
		"a NUL in a header":          {head + "X-A: \x00\r\nContent-Length: 2\r\n\r\n{}" + evil, 502},
		"interim answers for ever":   {strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 100) + goodAnswer + evil, 502},
		"an endless header":          {head + "X-A: " + strings.Repeat("a", 1<<20), 502},
		"very many headers":          {head + strings.Repeat("A: b\r\n", 10_000) + "\r\n", 502},
		"a change of protocol":       {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n" + evil, 502},
		"HTML without a head":        {"<html>" + strings.Repeat("a", 100) + "</html>\r\n\r\n", 502},
		"HTML as an answer":          {"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>", 502},
		"a chunk longer than it is":  {head + "Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n" + evil, 502},
		"a chunk's size that is odd": {head + "Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n" + evil, 502},
		"a chunk's size in LF":       {head + "Transfer-Encoding: chunked\r\n\r\n2\n{}\r\n0\r\n\r\n" + evil, 502},
		"a trailer that is an answer": {
			head + "Transfer-Encoding: chunked\r\n\r\nd\r\n{\"good\":true}\r\n0\r\n" + evil, 502,
		},
		"an answer too many":     {goodAnswer + evil, 200},
		"one behind the chunks":  {head + "Transfer-Encoding: chunked\r\n\r\nd\r\n{\"good\":true}\r\n0\r\n\r\n" + evil, 200},
		"one behind no content":  {"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n" + evil, 204},
		"more than its length":   {strings.Replace(goodAnswer, "{", "{\"good\":true}{", 1) + evil, 200},
		"trailers":               {head + "Transfer-Encoding: chunked\r\n\r\nd\r\n{\"good\":true}\r\n0\r\nX-Evil: 1\r\n\r\n", 200},
		"headers for this hop":   {strings.Replace(goodAnswer, "\r\n", "\r\nConnection: X-A\r\nX-A: b\r\nUpgrade: h2c\r\nKeep-Alive: timeout=1\r\n", 1), 200},
		"cookies and its server": {strings.Replace(goodAnswer, "\r\n", "\r\nSet-Cookie: a=b\r\nServer: s\r\nLocation: http://evil/\r\n", 1), 200},
	} {
		t.Run(name, func(t *testing.T) {
			engine := &scripted{conns: [][]string{{c.answer, evil, evil}, {goodAnswer, goodAnswer}}}
			r := newRig(t, Config{Routes: oneRoute, Dial: engine.dial, FirstByteTimeout: 10 * time.Second}, nil)
			res := r.chat(t, `{"model":"m"}`)
			if body := readAll(t, res); res.StatusCode != c.status || strings.Contains(body, "evil") ||
				(c.status == http.StatusBadGateway) != strings.Contains(body, `"code":"engine_failed"`) {
				t.Errorf("answered %s %s", res.Status, body)
			}
			for name := range res.Header {
				if strings.HasPrefix(name, "X-A") || strings.HasPrefix(name, "X-Evil") || name == "Upgrade" || name == "Keep-Alive" ||
					name == "Set-Cookie" || name == "Server" || name == "Location" || name == "Connection" || len(res.Trailer) > 0 {
					t.Errorf("the client got %v %v", res.Header, res.Trailer)
				}
			}
			if name == "trailers" || strings.HasPrefix(name, "headers") || strings.HasPrefix(name, "cookies") {
				return // which are no reason to close the connection
			}
			next := r.chat(t, `{"model":"m"}`)
			if body := readAll(t, next); next.StatusCode != http.StatusOK || body != `{"good":true}` {
				t.Errorf("the next one got %s %s", next.Status, body)
			}
		})
	}
}

// However a client frames its question, the engine gets one with one length and nothing
// about the client's connection.
func TestEngineGetsOneFraming(t *testing.T) {
	const ask = `{"model":"m"}`
	for name, sent := range map[string]string{
		"a length":   "Content-Length: 13\r\n\r\n" + ask,
		"it twice":   "Content-Length: 13\r\nContent-Length: 13\r\n\r\n" + ask,
		"chunks":     "Transfer-Encoding: chunked\r\n\r\n5;a=b\r\n" + ask[:5] + "\r\n8\r\n" + ask[5:] + "\r\n0\r\nX-Request-Id: y\r\nTransfer-Encoding: x\r\n\r\n",
		"both":       "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nd\r\n" + ask + "\r\n0\r\n\r\n",
		"an upgrade": "Connection: Upgrade, HTTP2-Settings, X-Request-Id\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nContent-Length: 13\r\n\r\n" + ask,
		"secrets": "Authorization: Bearer a\r\nCookie: b=c\r\nX-Api-Key: d\r\nProxy-Authorization: e\r\nTE: trailers\r\nTrailer: X\r\n" +
			"Forwarded: for=f\r\nX-Forwarded-Host: g\r\nContent-Length: 13\r\n\r\n" + ask,
		"a folded header": "X-A: b\r\n Transfer-Encoding: chunked\r\nContent-Length: 13\r\n\r\n" + ask,
	} {
		t.Run(name, func(t *testing.T) {
			engine := &scripted{conns: [][]string{{goodAnswer}}}
			r := newRig(t, Config{Routes: oneRoute, Dial: engine.dial, FirstByteTimeout: 10 * time.Second}, nil)
			conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: x\r\n"+sent); err != nil {
				t.Fatal(err)
			}
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			if body := readAll(t, res); body != `{"good":true}` {
				t.Errorf("answered %s %s", res.Status, body)
			}
			const want = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-Request-Id: x\r\n" +
				"Content-Length: 13\r\n\r\n" + ask
			if len(engine.asked) != 1 || engine.asked[0] != want {
				t.Errorf("the engine was asked\n%q, want\n%q", engine.asked, want)
			}
		})
	}
}
