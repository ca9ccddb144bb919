package gateway

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/tunnel"
)

const streamQuestion = `{"model":"m","stream":true}`

// Each event arrives before the next is sent: nothing is held back.
func TestStreamIsFlushedAtOnce(t *testing.T) {
	next := make(chan struct{})
	r := newRig(t, Config{Routes: oneRoute}, map[string]http.Handler{"n1": http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		io.Copy(io.Discard, req.Body)
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		for i := range 5 {
			fmt.Fprintf(w, "data: {\"n\":%d}\n\n", i)
			http.NewResponseController(w).Flush()
			<-next
		}
		io.WriteString(w, "data: [DONE]\n\n")
	})})
	res := r.chat(t, streamQuestion)
	if res.Header.Get("X-Accel-Buffering") != "no" || res.Header.Get("Cache-Control") != "no-cache" ||
		res.Header.Get("Content-Type") != "text/event-stream; charset=utf-8" {
		t.Errorf("headers %v", res.Header)
	}
	reader := bufio.NewReader(res.Body)
	for i := range 5 {
		for _, want := range []string{fmt.Sprintf("data: {\"n\":%d}\n", i), "\n"} {
			if line, err := reader.ReadString('\n'); err != nil || line != want {
				t.Fatalf("read %q, %v, want %q", line, err, want)
			}
		}
		next <- struct{}{}
	}
	if rest, err := io.ReadAll(reader); err != nil || string(rest) != "data: [DONE]\n\n" {
		t.Errorf("the end is %q, %v", rest, err)
	}
}

// A client that leaves cancels the engine's work, before the first byte and
// between two.
func TestClientThatLeavesCancelsTheEngine(t *testing.T) {
	for name, streams := range map[string]bool{"thinking": false, "streaming": true} {
		t.Run(name, func(t *testing.T) {
			begun, cancelled := make(chan struct{}), make(chan struct{})
			r := newRig(t, Config{Routes: oneRoute}, map[string]http.Handler{"n1": http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				io.Copy(io.Discard, req.Body)
				if streams {
					w.Header().Set("Content-Type", "text/event-stream")
					io.WriteString(w, "data: 1\n\n")
					http.NewResponseController(w).Flush()
				}
				close(begun)
				<-req.Context().Done()
				close(cancelled)
			})})
			ctx, cancel := context.WithCancel(t.Context())
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url+"/v1/chat/completions", strings.NewReader(streamQuestion))
			if err != nil {
				t.Fatal(err)
			}
			left := make(chan struct{})
			go func() {
				defer close(left)
				res, err := r.client.Do(req)
				if err == nil {
					io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
			}()
			<-begun
			cancel()
			<-left
			<-cancelled
		})
	}
}

// rawEngine answers the first request of a connection with raw bytes and closes
// it.
func rawEngine(t *testing.T, answer string) func(context.Context, string, tunnel.Target) (net.Conn, error) {
	t.Helper()
	return func(context.Context, string, tunnel.Target) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			req, err := http.ReadRequest(bufio.NewReader(far))
			if err != nil {
				return
			}
			io.Copy(io.Discard, req.Body)
			io.WriteString(far, answer)
		}()
		return near, nil
	}
}

func TestEngineThatBreaksOff(t *testing.T) {
	const broke = `data: {"error":{"message":"the engine on node n1 broke off its answer","type":"server_error","param":null,"code":"engine_failed"}}` + "\n\n"
	const sse = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
	large := "data: " + strings.Repeat("x", maxHalf)
	cases := []struct{ name, answer, want string }{
		{"within a chunked stream", sse + "Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n", "data: 1\n\n" + broke},
		{"within an event", sse + "Transfer-Encoding: chunked\r\n\r\n7\r\ndata: 1\r\n", broke},
		{"within an event after another", sse + "Transfer-Encoding: chunked\r\n\r\n14\r\ndata: 1\n\ndata: {\"id\"\r\n", "data: 1\n\n" + broke},
		{"within an event, ending with its connection", sse + "\r\ndata: 1\n\ndata: {\"id\"", "data: 1\n\n" + broke},
		{"before the end of its last line", sse + "\r\ndata: 1\n\ndata: [DONE]", "data: 1\n\ndata: [DONE]"},
		{"whole, without an end of its last line", sse + "Content-Length: 16\r\n\r\ndata: 1\n\ndata: 2", "data: 1\n\ndata: 2"},
		{"within an event too large to be held back", sse + "\r\n" + large, large + "\n\n" + broke},
		{"before the first event", sse + "Transfer-Encoding: chunked\r\n\r\n", broke},
		{"within a stream that ends with its connection", sse + "\r\ndata: 1\n\n", "data: 1\n\n" + broke},
		{"whole, ending with its connection", sse + "\r\ndata: 1\n\ndata: [DONE]\n\n", "data: 1\n\ndata: [DONE]\n\n"},
		{"after a whole stream", sse + "Transfer-Encoding: chunked\r\n\r\n17\r\ndata: 1\n\ndata: [DONE]\n\n\r\n", "data: 1\n\ndata: [DONE]\n\n"},
		{"after words that only look like the end", sse + "Transfer-Encoding: chunked\r\n\r\n1b\r\ndata: \"say: data: [DONE]\"\n\n\r\n", "data: \"say: data: [DONE]\"\n\n" + broke},
		{"whole, without DONE", sse + "Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n0\r\n\r\n", "data: 1\n\n"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Config{Routes: oneRoute, Dial: rawEngine(t, c.answer)}, nil)
			res := r.chat(t, streamQuestion)
			if got := readAll(t, res); got != c.want || res.StatusCode != http.StatusOK {
				t.Errorf("the client got %s:\n%q, want\n%q", res.Status, got, c.want)
			}
		})
	}
	const plain = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	for name, answer := range map[string]string{
		"within a plain answer":         plain + "Content-Length: 100\r\n\r\n{\"id\"",
		"within a plain chunked answer": plain + "Transfer-Encoding: chunked\r\n\r\n3\r\n{\"i\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Config{Routes: oneRoute, Dial: rawEngine(t, answer)}, nil)
			checkError(t, r.chat(t, `{"model":"m"}`), 502, "engine_failed", "", "the engine on node n1 broke off its answer")
		})
	}
	t.Run("late within a plain answer", func(t *testing.T) {
		r := newRig(t, Config{Routes: oneRoute, Dial: rawEngine(t, plain+"Content-Length: 200000\r\n\r\n"+strings.Repeat(" ", 100_000))}, nil)
		res := r.chat(t, `{"model":"m"}`)
		if body, err := io.ReadAll(res.Body); err == nil {
			t.Errorf("a cut answer looks whole: %d bytes", len(body))
		}
	})
}

func TestEngineErrors(t *testing.T) {
	cases := []struct {
		name, contentType, body string
		status                  int
		code, param, message    string
	}{
		{"OpenAI's shape", "application/json", `{"error":{"message":"too long","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}`, 400, "context_length_exceeded", "messages", "too long"},
		{"numeric code", "application/json", `{"error":{"message":"no","type":"BadRequestError","param":null,"code":400}}`, 400, "engine_error", "", "no"},
		{"Ollama's string", "application/json", `{"error":"model is loading"}`, 500, "engine_error", "", "model is loading"},
		{"flat", "application/json", `{"object":"error","message":"flat","code":40001}`, 400, "engine_error", "", "flat"},
		{"FastAPI", "application/json", `{"detail":[{"loc":["body"]}]}`, 422, "engine_error", "", `[{"loc":["body"]}]`},
		{"HTML", "text/html", "<html><h1>Bad Gateway</h1></html>", 502, "engine_error", "", "the engine on node n1 answered 502"},
		{"text", "text/plain; charset=utf-8", "\nout of memory\nat 0x1", 500, "engine_error", "", "the engine on node n1 answered 500: out of memory"},
		{"long text", "text/plain", strings.Repeat("é", 150), 500, "engine_error", "", "the engine on node n1 answered 500: " + strings.Repeat("é", 100) + "..."},
		{"nothing", "", "", 503, "engine_error", "", "the engine on node n1 answered 503"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Config{Routes: oneRoute}, map[string]http.Handler{"n1": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", c.contentType)
				w.Header().Set("Retry-After", "7")
				w.WriteHeader(c.status)
				io.WriteString(w, c.body)
			})})
			res := r.chat(t, `{"model":"m"}`)
			if got := res.Header.Get("Retry-After"); got != "7" {
				t.Errorf("Retry-After %q", got)
			}
			if got := res.Header.Get("X-Orchion-Node"); got != "n1" {
				t.Errorf("X-Orchion-Node %q", got)
			}
			checkError(t, res, c.status, c.code, c.param, c.message)
		})
	}
}

// In a bubble time stands still until all wait, so ten minutes pass at once.
func TestEngineThatNeverAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engineGone := make(chan struct{})
		g := New(Config{Routes: oneRoute, Dial: func(context.Context, string, tunnel.Target) (net.Conn, error) {
			near, far := net.Pipe()
			go func() {
				defer close(engineGone)
				io.Copy(io.Discard, far) // reads the question and says nothing
			}()
			return near, nil
		}})
		listener := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
		server := &http.Server{Handler: g}
		served := make(chan struct{})
		go func() { defer close(served); server.Serve(listener) }()
		client := &http.Client{Transport: &http.Transport{DialContext: listener.dial, DisableKeepAlives: true}}

		start := time.Now()
		res, err := client.Post("http://gateway/v1/chat/completions", "application/json", strings.NewReader(`{"model":"m"}`))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		checkError(t, res, http.StatusGatewayTimeout, "engine_timeout", "", "the engine did not begin to answer within 10m0s")
		if waited := time.Since(start); waited != 10*time.Minute {
			t.Errorf("waited %s", waited)
		}
		<-engineGone
		server.Close()
		<-served
		g.Close()
	})
}

// A client that stops sending its question is not waited for longer than
// BodyTimeout.
func TestClientThatStopsSending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{Routes: oneRoute, Dial: func(context.Context, string, tunnel.Target) (net.Conn, error) { panic("dialled") }})
		listener := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
		server := &http.Server{Handler: g}
		served := make(chan struct{})
		go func() { defer close(served); server.Serve(listener) }()
		conn, err := listener.dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		start := time.Now()
		io.WriteString(conn, "POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nContent-Length: 100\r\n\r\n{\"model\":")
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		checkError(t, res, http.StatusBadRequest, "invalid_request", "", "the body could not be read to its end")
		if waited := time.Since(start); waited != 30*time.Second {
			t.Errorf("waited %s", waited)
		}
		server.Close()
		<-served
		g.Close()
	})
}

// pipeListener is a listener whose connections are pipes, which work in a
// synctest bubble.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *pipeListener) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	l.conns <- far
	return near, nil
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l *pipeListener) Close() error   { close(l.closed); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }
