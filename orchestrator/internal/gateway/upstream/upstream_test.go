package upstream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var engine = Key{NodeID: "n", ReplicaID: "r"}

var question = &Request{
	Method: "POST", Target: "/v1/chat/completions?a=b", Host: "localhost",
	Header: []Field{{"Content-Type", "application/json"}}, Body: []byte(`{"model":"m"}`),
}

// script is an engine that answers the questions of each connection with raw bytes,
// and then closes it or, where the last answer is followed by "...", leaves it open.
type script struct {
	conns [][]string // answers, by connection

	mu    sync.Mutex
	dials int      // guarded by mu
	asked []string // request lines and bodies; guarded by mu
}

const stayOpen = "..."

func (s *script) dial(context.Context, Key) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dials == len(s.conns) {
		return nil, errors.New("dialled once too often")
	}
	answers := s.conns[s.dials]
	s.dials++
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		in := bufio.NewReader(far)
		for _, answer := range answers {
			if answer == stayOpen {
				io.Copy(io.Discard, in)
				return
			}
			req, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			body, _ := io.ReadAll(req.Body)
			s.mu.Lock()
			s.asked = append(s.asked, req.Method+" "+req.RequestURI+" "+string(body))
			s.mu.Unlock()
			if _, err := io.WriteString(far, answer); err != nil {
				return
			}
		}
	}()
	return near, nil
}

func newClient(t *testing.T, s *script) *Client {
	t.Helper()
	c := New(Config{Dial: s.dial})
	t.Cleanup(c.Close)
	return c
}

// ask asks and reads the whole answer.
func ask(t *testing.T, c *Client) (*Response, string, error) {
	t.Helper()
	res, err := c.Do(t.Context(), engine, question)
	if err != nil {
		return nil, "", err
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	return res, string(body), err
}

const ok = "HTTP/1.1 200 OK\r\n"

func TestAnswers(t *testing.T) {
	cases := []struct{ name, answer, body string }{
		{"with a length", ok + "Content-Length: 5\r\n\r\nhello", "hello"},
		{"empty", ok + "Content-Length: 0\r\n\r\n", ""},
		{"in chunks", ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", "hello"},
		{"in chunks with extensions and trailers", ok + "transfer-encoding:  Chunked \r\n\r\n5;a=\"b\" \r\nhello\r\n00\r\nX-A: b\r\n\r\n", "hello"},
		{"until the end", ok + "Content-Type: text/plain\r\n\r\nhello", "hello"},
		{"of HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\nhello", "hello"},
		{"after an interim one", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok + "Content-Length: 5\r\n\r\nhello", "hello"},
		{"without a reason", "HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", "hello"},
		{"without content", "HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n", ""},
		{"large", ok + "Content-Length: 300000\r\n\r\n" + strings.Repeat("x", 300_000), strings.Repeat("x", 300_000)},
		{"large in one chunk", ok + "Transfer-Encoding: chunked\r\n\r\n493e0\r\n" + strings.Repeat("x", 300_000) + "\r\n0\r\n\r\n", strings.Repeat("x", 300_000)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := &script{conns: [][]string{{c.answer}}}
			_, body, err := ask(t, newClient(t, s))
			if err != nil || body != c.body {
				t.Fatalf("read %d bytes %.20q, %v", len(body), body, err)
			}
			if want := "POST /v1/chat/completions?a=b " + string(question.Body); len(s.asked) != 1 || s.asked[0] != want {
				t.Errorf("asked %q", s.asked)
			}
		})
	}
}

func TestHeaders(t *testing.T) {
	s := &script{conns: [][]string{{ok + "content-TYPE:\t a/b \r\nX-Two: 1\r\nX-Two: 2\r\nX-Empty:\r\nContent-Length: 0\r\n\r\n"}}}
	res, _, err := ask(t, newClient(t, s))
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "a/b" || res.Header.Get("x-two") != "1" || res.Header.Get("X-Missing") != "" {
		t.Errorf("status %d, headers %v", res.StatusCode, res.Header)
	}
	if v := res.Header.Values("X-Empty"); len(v) != 1 || v[0] != "" {
		t.Errorf("an empty header is %q", v)
	}
	var all []string
	for name, value := range res.Header.All() {
		all = append(all, name+"="+value)
	}
	if got := strings.Join(all, " "); got != "content-TYPE=a/b X-Two=1 X-Two=2 X-Empty= Content-Length=0" {
		t.Errorf("headers %s", got)
	}
}

// malformedAnswers are those that two parsers may divide in different places, or
// that are no answers.
var malformedAnswers = map[string]string{
	"both lengths":                  ok + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"two lengths":                   ok + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
	"the same length twice":         ok + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
	"lengths in a list":             ok + "Content-Length: 5, 5\r\n\r\nhello",
	"a length with a sign":          ok + "Content-Length: +5\r\n\r\nhello",
	"a negative length":             ok + "Content-Length: -5\r\n\r\nhello",
	"a hexadecimal length":          ok + "Content-Length: 0x5\r\n\r\nhello",
	"an empty length":               ok + "Content-Length:\r\n\r\nhello",
	"a length that overflows":       ok + "Content-Length: 18446744073709551621\r\n\r\nhello",
	"two encodings":                 ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"encodings in a list":           ok + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
	"another encoding":              ok + "Transfer-Encoding: identity\r\n\r\nhello",
	"an encoding with odd bytes":    ok + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
	"an encoding in HTTP/1.0":       "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"a header that goes on":         ok + "X-A: b\r\n Content-Length: 5\r\n\r\nhello",
	"a space before the colon":      ok + "Content-Length : 5\r\n\r\nhello",
	"a header without a name":       ok + ": 5\r\n\r\nhello",
	"a header without a colon":      ok + "Content-Length\r\n\r\nhello",
	"a name with odd bytes":         ok + "Content\x00Length: 5\r\n\r\nhello",
	"a bare LF in the head":         ok + "X-A: b\nContent-Length: 5\r\n\r\nhello",
	"a bare CR in the head":         ok + "X-A: b\rContent-Length: 5\r\n\r\nhello",
	"a NUL in a value":              ok + "X-A: \x00\r\n\r\nhello",
	"lines that end with LF":        "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
	"an empty line first":           "\r\n" + ok + "Content-Length: 5\r\n\r\nhello",
	"another version":               "HTTP/2.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
	"another protocol":              "ICY 200 OK\r\nContent-Length: 5\r\n\r\nhello",
	"a status of two digits":        "HTTP/1.1 20 OK\r\nContent-Length: 5\r\n\r\nhello",
	"a status of four digits":       "HTTP/1.1 2000 OK\r\nContent-Length: 5\r\n\r\nhello",
	"a status out of range":         "HTTP/1.1 600 OK\r\nContent-Length: 5\r\n\r\nhello",
	"an upgrade":                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
	"interim answers without end":   strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", maxInterim+1),
	"too many headers":              ok + strings.Repeat("A: b\r\n", maxFields+1) + "\r\n",
	"too large a head":              ok + "A: " + strings.Repeat("b", maxHead) + "\r\n\r\n",
	"HTML":                          "<html>\r\n\r\n",
	"a chunk's size with a sign":    ok + "Transfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n",
	"a chunk's size with 0x":        ok + "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
	"a chunk's size that overflows": ok + "Transfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n",
	"an empty chunk's size":         ok + "Transfer-Encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n",
	"a space before a chunk's size": ok + "Transfer-Encoding: chunked\r\n\r\n 5\r\nhello\r\n0\r\n\r\n",
	"a chunk's line that ends LF":   ok + "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
	"a CR in a chunk's line":        ok + "Transfer-Encoding: chunked\r\n\r\n5;\r\r\nhello\r\n0\r\n\r\n",
	"a chunk that is longer":        ok + "Transfer-Encoding: chunked\r\n\r\n4\r\nhello\r\n0\r\n\r\n",
	"an endless extension":          ok + "Transfer-Encoding: chunked\r\n\r\n5;" + strings.Repeat("a", maxChunkLine) + "\r\nhello\r\n0\r\n\r\n",
	"a trailer that is none":        ok + "Transfer-Encoding: chunked\r\n\r\n0\r\nHTTP/1.1 200 OK\r\n\r\n",
	"endless trailers":              ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("A: b\r\n", maxTrailer) + "\r\n",
}

func TestMalformedAnswers(t *testing.T) {
	for name, answer := range malformedAnswers {
		t.Run(name, func(t *testing.T) {
			s := &script{conns: [][]string{{answer, stayOpen}}}
			c := newClient(t, s)
			if _, body, err := ask(t, c); !errors.Is(err, errMalformed) {
				t.Fatalf("read %q, %v", body, err)
			}
			if n := kept(c); n > 0 {
				t.Errorf("%d connections are kept", n)
			}
		})
	}
}

func kept(c *Client) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conns := range c.idle {
		n += len(conns)
	}
	return n
}

func TestAnswersThatAreCut(t *testing.T) {
	for name, answer := range map[string]string{
		"in the body":       ok + "Content-Length: 5\r\n\r\nhell",
		"in a chunk":        ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhell",
		"between chunks":    ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		"before the end":    ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
		"in the head":       ok + "Content-Len",
		"in the first line": "HTTP/1.1 2",
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, &script{conns: [][]string{{answer}}})
			if _, _, err := ask(t, c); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("error %v", err)
			}
		})
	}
}

const whole = ok + "Content-Length: 2\r\n\r\nhi"

func TestConnectionsAreKept(t *testing.T) {
	s := &script{conns: [][]string{{whole, ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", whole, stayOpen}}}
	c := newClient(t, s)
	for range 3 {
		if _, body, err := ask(t, c); err != nil || body != "hi" {
			t.Fatalf("read %q, %v", body, err)
		}
	}
	if s.dials != 1 {
		t.Errorf("dialled %d times", s.dials)
	}
}

func TestConnectionsThatAreNotKept(t *testing.T) {
	for name, answer := range map[string]string{
		"the engine closes it":   ok + "Connection: x, Close\r\nContent-Length: 2\r\n\r\nhi",
		"something follows":      whole + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
		"it ends the answer":     ok + "\r\nhi",
		"HTTP/1.0":               "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
		"more behind the chunks": ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n0",
	} {
		t.Run(name, func(t *testing.T) {
			s := &script{conns: [][]string{{answer}, {whole, stayOpen}}}
			c := newClient(t, s)
			for range 2 {
				if _, body, err := ask(t, c); err != nil || body != "hi" {
					t.Fatalf("read %q, %v", body, err)
				}
			}
			if s.dials != 2 {
				t.Errorf("dialled %d times", s.dials)
			}
		})
	}
	t.Run("it was not read", func(t *testing.T) {
		s := &script{conns: [][]string{{whole}, {whole, stayOpen}}}
		c := newClient(t, s)
		res, err := c.Do(t.Context(), engine, question)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		res.Body.Close()
		if _, err := res.Body.Next(); err == nil {
			t.Error("a closed body can be read")
		}
		if _, body, err := ask(t, c); err != nil || body != "hi" {
			t.Fatalf("read %q, %v", body, err)
		}
	})
}

// A kept connection that the engine closed is replaced once, and only before a byte
// of the answer.
func TestRetryOfAKeptConnection(t *testing.T) {
	s := &script{conns: [][]string{{whole}, {whole, ok}}}
	c := newClient(t, s)
	for range 2 {
		if _, body, err := ask(t, c); err != nil || body != "hi" {
			t.Fatalf("read %q, %v", body, err)
		}
	}
	if _, _, err := ask(t, c); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("an answer that had begun: %v", err)
	}
	if s.dials != 2 {
		t.Errorf("dialled %d times", s.dials)
	}
	c = newClient(t, &script{conns: [][]string{{""}}})
	if _, _, err := ask(t, c); !errors.Is(err, errNoAnswer) {
		t.Errorf("a new connection that ended: %v", err)
	}
}

// A socket that has ended, or has something to say that nobody asked for, is noticed
// before it is used.
func TestStaleSocket(t *testing.T) {
	for name, after := range map[string]string{"closed": "", "unasked": "HTTP/1.1 200 OK\r\n"} {
		t.Run(name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			near, err := net.Dial("tcp", listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer near.Close()
			far, err := listener.Accept()
			if err != nil {
				t.Fatal(err)
			}
			stale := socketStaleness(near)
			if stale() {
				t.Fatal("a connection that does nothing is stale")
			}
			if after == "" {
				far.Close()
			} else {
				defer far.Close()
				io.WriteString(far, after)
			}
			for end := time.Now().Add(10 * time.Second); !stale(); {
				if time.Now().After(end) {
					t.Fatal("it is not noticed")
				}
			}
		})
	}
}

func TestLimitsOfTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{conns: [][]string{{stayOpen}, {whole, stayOpen}, {whole, stayOpen}}}
		c := New(Config{Dial: s.dial, FirstByteTimeout: time.Minute, IdleTimeout: 10 * time.Second})
		start := time.Now()
		_, err := c.Do(t.Context(), engine, question)
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() || time.Since(start) != time.Minute {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		if _, _, err := ask(t, c); err != nil {
			t.Fatal(err)
		}
		if n := kept(c); n != 1 {
			t.Errorf("%d connections are kept", n)
		}
		time.Sleep(11 * time.Second) // of the bubble's clock
		if n := kept(c); n != 0 {
			t.Errorf("%d connections are kept for too long", n)
		}
		if _, _, err := ask(t, c); err != nil {
			t.Fatal(err)
		}
		c.Close()
		c.Close()
		if n := kept(c); n != 0 {
			t.Errorf("%d connections are kept after Close", n)
		}
	})
}

func TestCancel(t *testing.T) {
	for name, answer := range map[string]string{"before the answer": "", "within it": ok + "Content-Length: 5\r\n\r\nhe"} {
		t.Run(name, func(t *testing.T) {
			ended := make(chan struct{})
			c := New(Config{Dial: func(context.Context, Key) (net.Conn, error) {
				near, far := net.Pipe()
				go func() {
					defer close(ended)
					in := bufio.NewReader(far)
					if req, err := http.ReadRequest(in); err == nil {
						io.Copy(io.Discard, req.Body)
					}
					io.WriteString(far, answer)
					in.ReadByte() // until the client leaves
				}()
				return near, nil
			}})
			ctx, cancel := context.WithCancel(t.Context())
			if answer == "" {
				time.AfterFunc(time.Millisecond, cancel)
			}
			res, err := c.Do(ctx, engine, question)
			if err == nil {
				if piece, err := res.Body.Next(); err != nil || string(piece) != "he" {
					t.Fatalf("read %q, %v", piece, err)
				}
				cancel()
				_, err = res.Body.Next()
				if err == nil {
					t.Error("reading goes on")
				}
				res.Body.Close()
			} else if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			<-ended
			c.Close()
			cancel()
		})
	}
}

// An engine that answers before it has read a large question, and reads no more.
func TestAnswerBeforeTheEndOfTheQuestion(t *testing.T) {
	c := New(Config{Dial: func(context.Context, Key) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			in := bufio.NewReader(far)
			if _, err := http.ReadRequest(in); err == nil {
				io.WriteString(far, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
			}
		}()
		return near, nil
	}})
	defer c.Close()
	large := *question
	large.Body = make([]byte, 1<<20)
	res, err := c.Do(t.Context(), engine, &large)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(res.Body); err != nil || string(body) != "no" || res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("%d %q, %v", res.StatusCode, body, err)
	}
	res.Body.Close()
	if n := kept(c); n != 0 {
		t.Errorf("%d connections are kept", n)
	}
}

func TestRequestsThatCannotBeSent(t *testing.T) {
	c := newClient(t, &script{})
	for name, change := range map[string]func(*Request){
		"target":          func(r *Request) { r.Target = "/a\r\nX: y" },
		"target's space":  func(r *Request) { r.Target = "/a b" },
		"absolute target": func(r *Request) { r.Target = "http://other/" },
		"host":            func(r *Request) { r.Host = "a\r\nX: y" },
		"value":           func(r *Request) { r.Header = []Field{{"A", "b\r\nX: y"}} },
		"name":            func(r *Request) { r.Header = []Field{{"A:", "b"}} },
	} {
		bad := *question
		change(&bad)
		if _, err := c.Do(t.Context(), engine, &bad); err == nil || !strings.HasPrefix(err.Error(), "a request cannot have ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Many at once, with answers that tell whose they are.
func TestManyAtOnce(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Write(body)
	})}
	served := make(chan struct{})
	go func() { defer close(served); server.Serve(listener) }()
	var dials atomic.Int32
	c := New(Config{Dial: func(ctx context.Context, _ Key) (net.Conn, error) {
		dials.Add(1)
		return new(net.Dialer).DialContext(ctx, "tcp", listener.Addr().String())
	}})
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for j := range 50 {
				req := *question
				req.Body = []byte(strings.Repeat(fmt.Sprintf("%d/%d ", i, j), 1+j*j*j/4))
				res, err := c.Do(t.Context(), engine, &req)
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || string(body) != string(req.Body) {
					t.Errorf("%d bytes came back of %d: %v", len(body), len(req.Body), err)
					return
				}
			}
		})
	}
	wg.Wait()
	if n := dials.Load(); n > 64 {
		t.Errorf("dialled %d times", n)
	}
	c.Close()
	server.Close()
	<-served
}
