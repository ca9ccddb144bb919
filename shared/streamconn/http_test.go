package streamconn_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/orchion/orchion/shared/streamconn"
)

// oneConn is a listener of one connection.
type oneConn struct {
	conn   chan net.Conn
	closed chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l *oneConn) Close() error   { close(l.closed); return nil }
func (l *oneConn) Addr() net.Addr { return streamconn.Addr("one") }

// serveHTTP runs a server on one end and gives a client of the other.
func serveHTTP(t *testing.T, serverEnd, clientEnd net.Conn, handler http.Handler) *http.Client {
	t.Helper()
	listener := &oneConn{conn: make(chan net.Conn, 1), closed: make(chan struct{})}
	listener.conn <- serverEnd
	server := &http.Server{Handler: handler}
	served := make(chan struct{})
	go func() { defer close(served); server.Serve(listener) }()
	dialled := false
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		if dialled {
			return nil, errors.New("dialled again")
		}
		dialled = true
		return clientEnd, nil
	}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
		<-served
	})
	return &http.Client{Transport: transport}
}

// bothWays runs a test with the HTTP server at either end of the stream.
func bothWays(t *testing.T, test func(t *testing.T, serverEnd, clientEnd net.Conn)) {
	t.Helper()
	t.Run("towards the node", func(t *testing.T) {
		forEachWithDeadlines(t, func(t *testing.T, opener, server *streamconn.Conn) { test(t, opener, server) })
	})
	t.Run("towards the orchestrator", func(t *testing.T) {
		forEachWithDeadlines(t, func(t *testing.T, opener, server *streamconn.Conn) { test(t, server, opener) })
	})
}

func TestHTTPKeepAlive(t *testing.T) {
	bothWays(t, func(t *testing.T, serverEnd, clientEnd net.Conn) {
		client := serveHTTP(t, serverEnd, clientEnd, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%s %d", r.URL.Path, len(body))
		}))
		for i := range 20 {
			body := io.LimitReader(neverEnding('x'), int64(i*10_000))
			res, err := client.Post(fmt.Sprintf("http://engine/%d", i), "text/plain", body)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(res.Body)
			res.Body.Close()
			if want := fmt.Sprintf("/%d %d", i, i*10_000); err != nil || string(got) != want {
				t.Fatalf("answer %q, %v, want %q", got, err, want)
			}
		}
	})
}

type neverEnding byte

func (b neverEnding) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(b)
	}
	return len(p), nil
}

// Each event arrives before the next is sent, and a client that leaves cancels
// the handler.
func TestHTTPStreamAndCancel(t *testing.T) {
	bothWays(t, func(t *testing.T, serverEnd, clientEnd net.Conn) {
		next, cancelled := make(chan struct{}), make(chan struct{})
		client := serveHTTP(t, serverEnd, clientEnd, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for i := range 3 {
				fmt.Fprintf(w, "event %d\n", i)
				http.NewResponseController(w).Flush()
				<-next
			}
			<-r.Context().Done()
			close(cancelled)
		}))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://engine/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		lines := bufio.NewReader(res.Body)
		for i := range 3 {
			line, err := lines.ReadString('\n')
			if want := fmt.Sprintf("event %d\n", i); err != nil || line != want {
				t.Fatalf("read %q, %v, want %q", line, err, want)
			}
			next <- struct{}{}
		}
		cancel()
		<-cancelled
	})
}
