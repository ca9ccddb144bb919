package streamconn

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// Read reads what the peer wrote. After the peer's end of writing, or a clean
// end of the stream, it answers io.EOF; after a broken one an error that wraps
// ErrReset.
func (c *Conn) Read(p []byte) (int, error) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	if err := c.fill(); err != nil {
		return 0, err
	}
	n := copy(p, c.rest)
	c.took(n)
	return n, nil
}

// WriteTo writes what the peer wrote to w as it comes, until the peer's end of
// writing.
func (c *Conn) WriteTo(w io.Writer) (sum int64, err error) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	for {
		if err := c.fill(); err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return sum, err
		}
		n, err := w.Write(c.rest)
		c.took(n)
		sum += int64(n)
		if err != nil {
			return sum, err
		}
	}
}

// took says that n bytes of rest have been read.
func (c *Conn) took(n int) {
	if c.rest = c.rest[n:]; len(c.rest) == 0 && c.frames == nil {
		c.rest = nil
		c.stream.Release()
	}
}

// fill waits for a frame if nothing is left of the last one; readMu is held.
func (c *Conn) fill() error {
	if c.frames == nil {
		return c.fillDirectly()
	}
	expired := c.readDeadline.expired()
	select {
	case <-expired:
		return os.ErrDeadlineExceeded
	default:
	}
	if len(c.rest) > 0 {
		return nil
	}
	select {
	case data, ok := <-c.frames:
		if !ok {
			return c.readErr
		}
		c.rest = data
		return nil
	case <-expired:
		return os.ErrDeadlineExceeded
	case <-c.done:
		return c.cause // io.EOF after a clean end
	}
}

func (c *Conn) fillDirectly() error {
	if c.readErr != nil {
		return c.readErr
	}
	select {
	case <-c.done:
		c.readErr = c.cause
		return c.readErr
	default:
	}
	if len(c.rest) > 0 {
		return nil
	}
	data, err := c.next()
	if err != nil {
		c.readErr = err
		select {
		case <-c.done:
		default: // only the peer's writing has ended, and somebody must see the rest
			go c.awaitEnd()
		}
		return err
	}
	c.rest = data
	return nil
}

// receive ends with the stream, which end and the stream's context bring about.
func (c *Conn) receive() {
	for {
		data, err := c.next()
		if err != nil {
			c.readErr = err
			close(c.frames)
			c.awaitEnd()
			return
		}
		select {
		case c.frames <- bytes.Clone(data):
		case <-c.done:
			c.readErr = c.cause
			close(c.frames)
			return
		case <-c.stream.Context().Done():
			// The peer is gone, and nobody reads what it wrote.
			c.shutdown(ErrReset)
		}
	}
}

// next receives a frame. io.EOF: the peer writes no more, and may have ended the
// stream, too.
func (c *Conn) next() ([]byte, error) {
	data, err := c.stream.Recv()
	switch {
	case errors.Is(err, io.EOF):
		c.shutdown(io.EOF)
	case err != nil:
		c.shutdown(fmt.Errorf("%w: %w", ErrReset, err))
	case len(data) > BulkFrame:
		c.shutdown(fmt.Errorf("%w: the peer broke the protocol", ErrReset))
	case len(data) == 0:
		return nil, io.EOF
	default:
		return data, nil
	}
	return nil, c.cause // which our own Close may have given
}

// awaitEnd waits for the end of a stream whose peer writes no more.
func (c *Conn) awaitEnd() {
	select {
	case <-c.done:
		return
	default:
	}
	if _, err := c.stream.Recv(); err == nil || !errors.Is(err, io.EOF) {
		c.shutdown(ErrReset) // a frame after the last is as bad
		return
	}
	c.shutdown(io.EOF)
}
