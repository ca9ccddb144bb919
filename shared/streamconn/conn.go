// Package streamconn makes a [net.Conn] out of a stream of frames, such as a
// bidirectional gRPC stream, so that HTTP can be spoken over it.
//
// A frame is up to [MaxFrame] bytes of the connection. An empty frame says that
// its sender writes no more; the other direction goes on. The end of the stream
// is the end of the connection: clean when Recv answers io.EOF, broken
// otherwise. Both ends of Orchion's tunnel are built on this package.
package streamconn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// MaxFrame is the most bytes in one frame of an ordinary connection. A frame with
// what gRPC puts around it is one frame of HTTP/2 (16 KiB), between which streams
// take turns, and one of gRPC's pooled buffers, the next larger of which would be
// 32 KiB, and then 1 MiB.
const MaxFrame = 16<<10 - 16

// BulkFrame is the most bytes in any frame; see [Conn.SendBulk].
const BulkFrame = 256 << 10

// Stream is what carries the frames.
type Stream interface {
	// Send sends one frame; it blocks while the peer takes no more, and does
	// not keep frame.
	Send(frame []byte) error
	// Recv gives the next frame, which may be used until Release or the next Recv.
	// It must return when the stream's context is done.
	Recv() ([]byte, error)
	// Release gives the memory of the last frame back.
	Release()
	// Context is done when the stream is over.
	Context() context.Context
}

// Addr is the address of an end of a connection, for logs only.
type Addr string

// Network gives "orchion-tunnel".
func (Addr) Network() string { return "orchion-tunnel" }

// String gives the address.
func (a Addr) String() string { return string(a) }

// ErrReset says that the stream broke off before its end.
var ErrReset = errors.New("tunnel connection reset")

// Conn is a connection over a [Stream]. Nothing is buffered in it but the one
// frame that is being read, so the stream's own flow control is the
// connection's.
//
// A write that passes its deadline breaks the connection, because a frame that
// is half sent cannot be taken back. A read that passes its deadline leaves the
// connection whole, as net/http's server needs.
type Conn struct {
	stream        Stream
	end           func()
	local, remote Addr
	maxFrame      int // that is sent

	// frames hands over what was received; it is closed when nothing more comes,
	// and readErr says why. Nil: whoever reads receives, and then readErr is
	// guarded by readMu.
	frames  chan []byte
	readErr error

	done      chan struct{}
	closeOnce sync.Once
	cause     error // why done is closed; written before that

	readMu sync.Mutex
	rest   []byte // of the last frame; guarded by readMu

	writeMu     sync.Mutex
	writeClosed bool // guarded by writeMu

	readDeadline  deadline
	writeDeadline deadline
	writing       writeState
}

// writeState tells the write deadline's timer whether there is a write to break.
type writeState struct {
	mu     sync.Mutex
	active bool // guarded by mu
}

// New makes a connection of a stream. end is called once when the connection is
// closed or broken and must end the stream, so that a blocked Send and Recv
// return; nil when whoever waits for Done does that.
func New(stream Stream, end func(), local, remote Addr) *Conn {
	c := newConn(stream, end, local, remote)
	c.frames = make(chan []byte)
	c.readDeadline.init(nil)
	c.writeDeadline.init(c.breakWrite)
	go c.receive()
	return c
}

// NewWithoutDeadlines makes a connection as New does, but one that has no
// deadlines, and therefore no goroutine between the stream and whoever reads. The
// end that opened the stream, which has an end to give, learns only by reading
// that the other end has left.
func NewWithoutDeadlines(stream Stream, end func(), local, remote Addr) *Conn {
	c := newConn(stream, end, local, remote)
	if end == nil {
		context.AfterFunc(stream.Context(), func() { c.shutdown(ErrReset) })
	}
	return c
}

func newConn(stream Stream, end func(), local, remote Addr) *Conn {
	return &Conn{
		stream: stream, end: end, local: local, remote: remote,
		maxFrame: MaxFrame, done: make(chan struct{}),
	}
}

// shutdown ends the connection for the reason given; the first reason stays.
func (c *Conn) shutdown(cause error) {
	c.closeOnce.Do(func() {
		c.cause = cause
		close(c.done)
		c.readDeadline.stop()
		c.writeDeadline.stop()
		if c.end != nil {
			c.end()
		}
	})
}

// Done is closed when the connection is closed by either end, or broken.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Write sends p in frames. It returns when the stream has taken them.
func (c *Conn) Write(p []byte) (int, error) {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	if c.writeClosed {
		return 0, fmt.Errorf("write after the end of writing: %w", net.ErrClosed)
	}
	sent := 0
	for sent < len(p) {
		frame := p[sent:min(len(p), sent+c.maxFrame)]
		if err := c.send(frame); err != nil {
			return sent, err
		}
		sent += len(frame)
	}
	return sent, nil
}

// SendBulk makes large writes go out in frames of up to [BulkFrame]; it is called
// before the first. Whoever waits for a frame makes room for the whole of it, so
// that a file is not bound to one window for each round trip, but the peer holds
// as much while nobody reads.
func (c *Conn) SendBulk() { c.maxFrame = BulkFrame }

// CloseWrite tells the peer that nothing more comes; reading goes on.
func (c *Conn) CloseWrite() error {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	if c.writeClosed {
		return nil
	}
	c.writeClosed = true
	return c.send(nil)
}

// send sends one frame; writeMu is held.
func (c *Conn) send(frame []byte) error {
	if c.frames != nil {
		c.setWriting(true)
		defer c.setWriting(false)
	}
	select {
	case <-c.done:
		return c.writeError()
	case <-c.writeDeadline.expired():
		return os.ErrDeadlineExceeded
	default:
	}
	if err := c.stream.Send(frame); err != nil {
		select {
		case <-c.done: // whoever closed it broke the send
		default:
			c.shutdown(fmt.Errorf("%w: %w", ErrReset, err))
		}
		return c.writeError()
	}
	return nil
}

func (c *Conn) writeError() error {
	if errors.Is(c.cause, io.EOF) {
		return fmt.Errorf("closed by the peer: %w", ErrReset)
	}
	return c.cause
}

func (c *Conn) setWriting(active bool) {
	c.writing.mu.Lock()
	c.writing.active = active
	c.writing.mu.Unlock()
}

// breakWrite is called when the write deadline passes.
func (c *Conn) breakWrite() {
	c.writing.mu.Lock()
	active := c.writing.active
	c.writing.mu.Unlock()
	if active {
		c.shutdown(os.ErrDeadlineExceeded)
	}
}

// Close ends the connection both ways at once. What was written is still
// delivered when this is the serving end of the stream; the other end uses
// CloseWrite and waits for Done where that matters (see [Join]).
func (c *Conn) Close() error {
	c.shutdown(net.ErrClosed)
	return nil
}

// LocalAddr gives the name of this end.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr gives the name of the peer.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline makes reads fail with os.ErrDeadlineExceeded from t on; the
// zero time means never. A read that waits already is woken. It answers
// os.ErrNoDeadline where there are none.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadline(&c.readDeadline, t) }

// SetWriteDeadline makes writes fail from t on; a write that waits then breaks
// the connection.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadline(&c.writeDeadline, t) }

func (c *Conn) setDeadline(d *deadline, t time.Time) error {
	if c.frames == nil {
		return os.ErrNoDeadline
	}
	select {
	case <-c.done:
		return net.ErrClosed
	default:
	}
	d.set(t)
	return nil
}
