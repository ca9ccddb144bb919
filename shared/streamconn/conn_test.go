package streamconn_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/orchion/orchion/shared/streamconn"
)

// noise gives n bytes that are the same each time.
func noise(n int) []byte {
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{7}).Read(data)
	return data
}

func TestBothWaysAtOnce(t *testing.T) {
	forEach(t, func(t *testing.T, opener, server *streamconn.Conn) {
		sent := noise(3<<20 + 17)
		echoed := make(chan error, 1)
		go func() {
			_, err := io.Copy(struct{ io.Writer }{server}, struct{ io.Reader }{server})
			echoed <- errors.Join(err, server.CloseWrite())
		}()
		wrote := make(chan error, 1)
		go func() {
			_, err := opener.Write(sent)
			wrote <- errors.Join(err, opener.CloseWrite())
		}()
		got, err := io.ReadAll(opener)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(<-wrote, <-echoed); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, sent) {
			t.Fatalf("%d bytes came back of %d, or others", len(got), len(sent))
		}
	})
}

func TestHalfClose(t *testing.T) {
	forEach(t, func(t *testing.T, opener, server *streamconn.Conn) {
		for _, ends := range [][2]*streamconn.Conn{{opener, server}, {server, opener}} {
			from, to := ends[0], ends[1]
			if err := from.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if err := from.CloseWrite(); err != nil {
				t.Fatalf("the second CloseWrite: %v", err)
			}
			if rest, err := io.ReadAll(to); len(rest) > 0 || err != nil {
				t.Fatalf("read %q, %v after the end of writing; want an end", rest, err)
			}
			if _, err := from.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
				t.Fatalf("write after CloseWrite: %v, want net.ErrClosed", err)
			}
			if ends[0] == opener {
				// The other direction still works.
				go server.Write([]byte("still here"))
				buf := make([]byte, 10)
				if _, err := io.ReadFull(opener, buf); err != nil || string(buf) != "still here" {
					t.Fatalf("read %q, %v", buf, err)
				}
			}
		}
	})
}

func TestCloseReachesThePeer(t *testing.T) {
	cases := map[string]struct {
		closer func(opener, server *streamconn.Conn) (closing, other *streamconn.Conn)
		check  func(error) bool
	}{
		"the serving end closes cleanly": {
			func(o, s *streamconn.Conn) (_, _ *streamconn.Conn) { return s, o },
			func(err error) bool { return errors.Is(err, io.EOF) },
		},
		"the opener resets": {
			func(o, s *streamconn.Conn) (_, _ *streamconn.Conn) { return o, s },
			func(err error) bool { return errors.Is(err, streamconn.ErrReset) },
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			forEach(t, func(t *testing.T, opener, server *streamconn.Conn) {
				closing, other := c.closer(opener, server)
				read := make(chan error, 1)
				go func() {
					_, err := other.Read(make([]byte, 1))
					read <- err
				}()
				closing.Close()
				closing.Close()
				if err := <-read; !c.check(err) {
					t.Errorf("the waiting read ended with %v", err)
				}
				<-other.Done()
				if _, err := other.Write([]byte("x")); err == nil {
					t.Error("a write after the end was taken")
				}
				if _, err := closing.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
					t.Errorf("read after one's own Close: %v, want net.ErrClosed", err)
				}
			})
		})
	}
}

// What the serving end wrote before it closed arrives, and then a clean end.
func TestCleanCloseDeliversTheRest(t *testing.T) {
	forEach(t, func(t *testing.T, opener, server *streamconn.Conn) {
		sent := noise(60_000)
		go func() {
			server.Write(sent)
			server.Close()
		}()
		got, err := io.ReadAll(opener)
		if err != nil || !bytes.Equal(got, sent) {
			t.Fatalf("got %d bytes of %d, %v", len(got), len(sent), err)
		}
	})
}

// A peer that leaves is noticed although what it wrote has not been read.
func TestResetWhileUnread(t *testing.T) {
	forEach(t, func(t *testing.T, opener, server *streamconn.Conn) {
		if _, err := opener.Write([]byte("never read")); err != nil {
			t.Fatal(err)
		}
		opener.Close()
		<-server.Done()
	})
}

func TestReadDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opener, server := memoryPair(t)
		start := time.Now()
		if err := opener.SetReadDeadline(start.Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		_, err := opener.Read(make([]byte, 1))
		var netErr net.Error
		if !errors.As(err, &netErr) || !netErr.Timeout() {
			t.Fatalf("read: %v, want a timeout", err)
		}
		if waited := time.Since(start); waited != time.Minute {
			t.Errorf("the read waited %s, want 1m", waited)
		}
		if _, err := opener.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a read after the deadline: %v", err)
		}

		// net/http's server wakes a waiting read by a deadline in the past, and
		// then goes on with the connection. Nothing may be lost by that.
		if err := opener.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		woken := make(chan error)
		go func() {
			_, err := opener.Read(make([]byte, 1))
			woken <- err
		}()
		synctest.Wait()
		opener.SetReadDeadline(time.Unix(1, 0))
		if err := <-woken; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("the woken read: %v", err)
		}
		go server.Write([]byte("whole"))
		synctest.Wait()
		opener.SetReadDeadline(time.Time{})
		buf := make([]byte, 5)
		if _, err := io.ReadFull(opener, buf); err != nil || string(buf) != "whole" {
			t.Fatalf("read %q, %v", buf, err)
		}
	})
}

func TestWriteDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opener, server := memoryPair(t)
		start := time.Now()
		opener.SetWriteDeadline(start.Add(time.Second))
		// One frame goes into the peer's hands, the second is taken by nobody.
		n, err := opener.Write(noise(3 * streamconn.MaxFrame))
		if !errors.Is(err, os.ErrDeadlineExceeded) || n != streamconn.MaxFrame {
			t.Fatalf("wrote %d, %v; want one frame and a timeout", n, err)
		}
		if waited := time.Since(start); waited != time.Second {
			t.Errorf("the write waited %s, want 1s", waited)
		}
		<-server.Done()
	})
}

func TestWriteDeadlineThatPassesUnused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opener, server := memoryPair(t)
		opener.SetWriteDeadline(time.Now().Add(time.Second))
		time.Sleep(2 * time.Second) // of the bubble's clock
		if _, err := opener.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("write after the deadline: %v", err)
		}
		opener.SetWriteDeadline(time.Time{})
		go opener.Write([]byte("x"))
		if _, err := server.Read(make([]byte, 1)); err != nil {
			t.Fatalf("the connection did not outlive an unused deadline: %v", err)
		}
	})
}

func TestAddresses(t *testing.T) {
	opener, _ := memoryPair(t)
	if got := opener.LocalAddr().String() + opener.RemoteAddr().String() + opener.LocalAddr().Network(); got != "aborchion-tunnel" {
		t.Errorf("addresses = %q", got)
	}
}
