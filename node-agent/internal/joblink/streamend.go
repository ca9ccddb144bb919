package joblink

import (
	"context"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/orchion/orchion/shared/streamconn"
)

// streamEnd is the server's end of an HTTP/2 stream as a connection: the
// request's body comes in, the answer's goes out.
type streamEnd struct {
	io.Reader // the request's body

	w          http.ResponseWriter
	controller *http.ResponseController
	ctx        context.Context
}

var _ streamconn.HalfCloser = (*streamEnd)(nil)

func (s *streamEnd) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if err == nil {
		err = s.controller.Flush()
	}
	return n, err //nolint:wrapcheck // this is the connection
}

// Done is closed when the other end has left.
func (s *streamEnd) Done() <-chan struct{} { return s.ctx.Done() }

// CloseWrite has nothing to do: the stream's answer ends when its handler
// returns, which is soon after, because the gateway ends its connections
// whole.
func (s *streamEnd) CloseWrite() error { return s.SetReadDeadline(time.Now().Add(halfClosedTime)) }

// halfClosedTime is how long a job may go on to send after the gateway has
// ended its answers.
const halfClosedTime = time.Second

// Close breaks a Read and a Write that wait.
func (s *streamEnd) Close() error {
	past := time.Unix(1, 0)
	_ = s.controller.SetWriteDeadline(past) // fails when the stream has ended already
	_ = s.controller.SetReadDeadline(past)
	return nil
}

func (s *streamEnd) LocalAddr() net.Addr  { return streamconn.Addr("agent") }
func (s *streamEnd) RemoteAddr() net.Addr { return streamconn.Addr("job") }

func (s *streamEnd) SetDeadline(t time.Time) error {
	if err := s.SetReadDeadline(t); err != nil {
		return err
	}
	return s.SetWriteDeadline(t)
}

func (s *streamEnd) SetReadDeadline(t time.Time) error {
	return s.controller.SetReadDeadline(t) //nolint:wrapcheck // this is the connection
}

func (s *streamEnd) SetWriteDeadline(t time.Time) error {
	return s.controller.SetWriteDeadline(t) //nolint:wrapcheck // this is the connection
}
