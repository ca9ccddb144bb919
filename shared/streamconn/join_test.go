package streamconn_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"

	"github.com/orchion/orchion/shared/streamconn"
)

// tcpPair gives the two ends of a TCP connection, as between a tunnel and an
// engine.
func tcpPair(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, _ := l.Accept()
		accepted <- c
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near, far = c.(*net.TCPConn), (<-accepted).(*net.TCPConn)
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

// join joins one end of the stream with an engine and gives the engine's end
// and the result of Join.
func join(ctx context.Context, t *testing.T, tunnel *streamconn.Conn) (engine *net.TCPConn, joined <-chan error) {
	t.Helper()
	near, far := tcpPair(t)
	result := make(chan error, 1)
	go func() { result <- streamconn.Join(ctx, tunnel, near) }()
	return far, result
}

func TestJoinCarriesBothWays(t *testing.T) {
	bothWaysJoin(t, func(t *testing.T, joined, other *streamconn.Conn) {
		engine, result := join(t.Context(), t, joined)
		question, answer := noise(200_000), noise(300_000)
		go func() {
			other.Write(question)
			other.CloseWrite()
		}()
		got, err := io.ReadAll(engine)
		if err != nil || !bytes.Equal(got, question) {
			t.Fatalf("the engine got %d bytes of %d, %v", len(got), len(question), err)
		}
		go func() {
			engine.Write(answer)
			engine.Close()
		}()
		got, err = io.ReadAll(other)
		if err != nil || !bytes.Equal(got, answer) {
			t.Fatalf("the answer has %d bytes of %d, %v", len(got), len(answer), err)
		}
		other.Close()
		if err := <-result; err != nil && !streamconn.IsGone(err) {
			t.Fatalf("Join = %v", err)
		}
	})
}

// An engine that is thinking learns at once that nobody waits any more.
func TestJoinPassesCloseOn(t *testing.T) {
	bothWaysJoin(t, func(t *testing.T, joined, other *streamconn.Conn) {
		engine, result := join(t.Context(), t, joined)
		other.Write([]byte("question"))
		if _, err := io.ReadFull(engine, make([]byte, 8)); err != nil {
			t.Fatal(err)
		}
		other.Close()
		// An end or a reset: either way the read does not hang.
		if n, err := engine.Read(make([]byte, 1)); err == nil {
			t.Fatalf("the engine read %d bytes more", n)
		}
		<-result
	})
}

func TestJoinPassesEngineFailureOn(t *testing.T) {
	bothWaysJoin(t, func(t *testing.T, joined, other *streamconn.Conn) {
		engine, result := join(t.Context(), t, joined)
		other.Write([]byte("question that is never read"))
		engine.SetLinger(0) // Close resets
		engine.Close()
		if _, err := other.Read(make([]byte, 1)); err == nil {
			t.Fatal("a read after the engine's death succeeded")
		}
		other.Close()
		<-result
	})
}

func TestJoinEndsWithItsContext(t *testing.T) {
	bothWaysJoin(t, func(t *testing.T, joined, other *streamconn.Conn) {
		ctx, cancel := context.WithCancel(t.Context())
		engine, result := join(ctx, t, joined)
		go io.Copy(io.Discard, other) // who opened a stream may have to read to see its end
		cancel()
		if err := <-result; err == nil {
			t.Error("Join did not say that it was ended")
		}
		<-other.Done()
		if _, err := engine.Read(make([]byte, 1)); err == nil {
			t.Error("the engine's connection is still open")
		}
	})
}

// bothWaysJoin runs a test with Join at either end of the stream.
func bothWaysJoin(t *testing.T, test func(t *testing.T, joined, other *streamconn.Conn)) {
	t.Helper()
	for name, swap := range map[string]bool{"opener joins": false, "server joins": true} {
		t.Run(name, func(t *testing.T) {
			for kind, make := range makers() {
				t.Run(kind, func(t *testing.T) {
					opener, server := make(t)
					if swap {
						opener, server = server, opener
					}
					test(t, opener, server)
				})
			}
		})
	}
}
