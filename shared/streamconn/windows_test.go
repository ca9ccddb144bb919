package streamconn_test

import (
	"bytes"
	"io"
	"sync/atomic"
	"testing"

	"github.com/orchion/orchion/shared/streamconn"
)

// Readers that read nothing hold no more than their windows and what gRPC takes
// from a writer ahead, and streams beside them go on.
func TestStalledReaders(t *testing.T) {
	pair := grpcLink(t, tcpListener, streamconn.NewWithoutDeadlines)
	const stalled = 24 // their windows are more than one window of HTTP/2's default for a connection
	taken := make([]atomic.Int64, stalled)
	for i := range taken {
		opener, _ := pair()
		go func() {
			for piece := noise(1000); ; taken[i].Add(int64(len(piece))) {
				if _, err := opener.Write(piece); err != nil {
					return // the test is over
				}
			}
		}()
	}
	opener, server := pair()
	go io.Copy(server, server)
	question, answer := noise(200_000), make([]byte, 200_000)
	for range 20 {
		go opener.Write(question)
		if _, err := io.ReadFull(opener, answer); err != nil || !bytes.Equal(answer, question) {
			t.Fatalf("the stream beside stalled ones: %v", err)
		}
	}
	const ahead = 64 << 10 // gRPC's write quota of a stream
	for i := range taken {
		if n := taken[i].Load(); n > streamconn.StreamWindow+ahead+streamconn.MaxFrame {
			t.Errorf("%d bytes were taken from the writer of a stalled stream", n)
		}
	}
}

// A message larger than a stream's window comes through, and whole.
func TestBulkFrames(t *testing.T) {
	forEach(t, func(t *testing.T, opener, server *streamconn.Conn) {
		opener.SendBulk()
		file := noise(3*streamconn.BulkFrame + 1)
		go func() {
			opener.Write(file)
			opener.CloseWrite()
		}()
		got, err := io.ReadAll(server)
		if err != nil || !bytes.Equal(got, file) {
			t.Fatalf("got %d bytes of %d, %v", len(got), len(file), err)
		}
	})
}
