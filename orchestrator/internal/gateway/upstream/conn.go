package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// conn is a connection to an engine. One request at a time is on it.
type conn struct {
	client    *Client
	key       Key
	net       net.Conn
	staleness func() bool // nil: it cannot be known
	idleSince time.Time   // while it is kept

	abort    func()      // closes it; may be called at any time and again
	timer    *time.Timer // aborts it when no answer begins in time
	timedOut atomic.Bool
	in       reader
}

func newConn(client *Client, key Key, netConn net.Conn) *conn {
	c := &conn{client: client, key: key, net: netConn, staleness: stalenessOf(netConn)}
	c.abort = sync.OnceFunc(func() { c.net.Close() })
	c.in.source = netConn
	return c
}

// isStale says whether a kept connection is known to have ended, or has something
// to say that nobody asked for.
func (c *conn) isStale() bool { return c.staleness != nil && c.staleness() }

// stalenessOf gives what tells whether an unused connection has ended.
func stalenessOf(netConn net.Conn) func() bool {
	if c, ok := netConn.(interface{ Done() <-chan struct{} }); ok {
		return func() bool {
			select {
			case <-c.Done():
				return true
			default:
				return false
			}
		}
	}
	return socketStaleness(netConn)
}

// roundTrip sends a request and reads the head of its answer. The connection ends
// with ctx. On an error it is closed.
func (c *conn) roundTrip(ctx context.Context, req *Request) (*Response, error) {
	stop := context.AfterFunc(ctx, c.abort)
	if c.timer == nil {
		c.timer = time.AfterFunc(c.client.cfg.FirstByteTimeout, func() {
			c.timedOut.Store(true)
			c.abort()
		})
	} else {
		c.timer.Reset(c.client.cfg.FirstByteTimeout)
	}
	res, err := c.exchange(req)
	if !c.timer.Stop() && err == nil {
		err = errTimeout // it closes the connection, if it has not yet
	}
	if err != nil {
		stop()
		c.abort()
		c.in.release()
		return nil, c.explain(ctx, err)
	}
	res.Body.stop = stop
	return res, nil
}

var errTimeout = fmt.Errorf("no answer began in time: %w", os.ErrDeadlineExceeded)

// explain says why a connection broke if it was closed on purpose.
func (c *conn) explain(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case c.timedOut.Load():
		return errTimeout
	}
	return err
}

// writeAtOnce is the most bytes of a body that are written together with the head,
// and before the answer is read.
const writeAtOnce = 32 << 10

// writeSmall is the most bytes of a body that fit into a small buffer with a head.
const writeSmall = 4 << 10

func (c *conn) exchange(req *Request) (*Response, error) {
	atOnce, err := c.ask(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	var writing *write // what is written while the answer is read
	if !atOnce {
		// An engine may answer, that the body is too large for instance, without
		// reading all of it, and must not find us still writing to nobody.
		writing = &write{done: make(chan struct{})}
		go func() {
			defer close(writing.done)
			_, writing.err = c.net.Write(req.Body)
		}()
	}
	res, err := c.in.response(req)
	if err != nil {
		if writing != nil {
			c.abort()
			<-writing.done // it reads the body, which is the caller's
		}
		if c.in.got == 0 && !errors.Is(err, errMalformed) {
			err = fmt.Errorf("%w: %w", errNoAnswer, err)
		}
		return nil, err
	}
	res.Body.conn, res.Body.writing = c, writing
	return res, nil
}

// ask writes a request, or its head alone when the body is large. What it needs for
// that is not kept until the answer begins, which may take minutes.
func (c *conn) ask(req *Request) (whole bool, err error) {
	pool := &smallBuffers
	if len(req.Body) > writeSmall {
		pool = &largeBuffers
	}
	buf := takeBuffer(pool)
	defer giveBuffer(buf)
	out := appendHead((*buf)[:0], req)
	if len(req.Body) <= writeAtOnce && len(out)+len(req.Body) <= cap(*buf) {
		out, whole = append(out, req.Body...), true
	}
	_, err = c.net.Write(out)
	return whole, err
}

// write is the writing of a body in a goroutine of its own.
type write struct {
	done chan struct{}
	err  error // once done is closed
}

// appendHead writes the head of a request.
func appendHead(b []byte, req *Request) []byte {
	b = append(b, req.Method...)
	b = append(b, ' ')
	b = append(b, req.Target...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, req.Host...)
	b = append(b, "\r\n"...)
	for _, f := range req.Header {
		b = append(b, f.Name...)
		b = append(b, ": "...)
		b = append(b, f.Value...)
		b = append(b, "\r\n"...)
	}
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, int64(len(req.Body)), 10)
	return append(b, "\r\n\r\n"...)
}

// reader reads what an engine says. It has a buffer only while a request is under
// way, so that connections that are kept cost little.
type reader struct {
	source     io.Reader
	buf        *[]byte // nil: none
	start, end int     // of what is in buf and was not taken
	got        int64   // bytes of this answer that came
}

// Buffers: a small one is enough for heads and streams of tokens, and many streams
// may be open; large answers get a large one.
var (
	smallBuffers = sync.Pool{New: func() any { return newBuffer(8 << 10) }}
	largeBuffers = sync.Pool{New: func() any { return newBuffer(largeBuffer) }}
)

const largeBuffer = 64 << 10

func newBuffer(size int) *[]byte {
	b := make([]byte, size)
	return &b
}

func takeBuffer(pool *sync.Pool) *[]byte {
	return pool.Get().(*[]byte) //nolint:errcheck,forcetypeassert // only such are put there
}

func giveBuffer(b *[]byte) {
	if len(*b) == largeBuffer {
		largeBuffers.Put(b)
	} else {
		smallBuffers.Put(b)
	}
}

func (r *reader) release() {
	if r.buf != nil {
		giveBuffer(r.buf)
		r.buf = nil
	}
	r.start, r.end, r.got = 0, 0, 0
}

// buffered is what was read and not taken.
func (r *reader) buffered() []byte {
	if r.buf == nil {
		return nil
	}
	return (*r.buf)[r.start:r.end]
}

// fill reads more, behind what is buffered, which may move.
func (r *reader) fill() error {
	switch {
	case r.buf == nil:
		r.buf = takeBuffer(&smallBuffers)
	case r.start == r.end:
		r.start, r.end = 0, 0
	case r.end == len(*r.buf) && r.start > 0:
		r.end = copy(*r.buf, r.buffered())
		r.start = 0
	}
	if r.end == len(*r.buf) {
		if !r.grow() {
			return malformed("a line is longer than %d bytes", largeBuffer)
		}
	}
	for range maxEmptyReads {
		n, err := r.source.Read((*r.buf)[r.end:])
		r.end += n
		r.got += int64(n)
		switch {
		case n > 0:
			return nil
		case err != nil:
			return err
		}
	}
	return io.ErrNoProgress
}

// maxEmptyReads bounds the reads that give nothing.
const maxEmptyReads = 100

// grow takes a large buffer instead of a small one.
func (r *reader) grow() bool {
	if len(*r.buf) == largeBuffer {
		return false
	}
	larger := takeBuffer(&largeBuffers)
	r.end = copy(*larger, r.buffered())
	r.start = 0
	giveBuffer(r.buf)
	r.buf = larger
	return true
}
