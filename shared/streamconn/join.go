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

// HalfCloser is a connection whose two directions end apart, such as
// *net.TCPConn, *tls.Conn and [Conn].
type HalfCloser interface {
	net.Conn
	CloseWrite() error
}

// drainTime bounds how long the last bytes may take to be delivered once one
// end is gone.
const drainTime = 5 * time.Second

// Join copies between a and b until both directions have ended, either breaks,
// or ctx is done, and then closes both. When one end is gone altogether, what it
// wrote is still delivered but nothing more is read for it, so that an engine
// learns at once that nobody listens. A clean end returns nil.
func Join(ctx context.Context, a, b HalfCloser) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	closeBoth := sync.OnceFunc(func() {
		_ = a.Close() // what Close says no longer matters
		_ = b.Close()
	})
	defer closeBoth()
	stop := context.AfterFunc(ctx, closeBoth)
	defer stop()

	var watchers sync.WaitGroup
	copied := make(chan struct{}) // closed when both directions have ended
	watchGone(&watchers, copied, a, b)
	watchGone(&watchers, copied, b, a)

	oneWay := func(from, to HalfCloser) {
		if err := copyHalf(from, to); err != nil {
			cancel(err)
		}
	}
	var other sync.WaitGroup
	other.Go(func() { oneWay(b, a) })
	oneWay(a, b)
	other.Wait()
	err := context.Cause(ctx)
	if err == nil {
		linger(ctx, a)
		linger(ctx, b)
	}
	close(copied)
	watchers.Wait()
	return err
}

// copyHalf copies one direction and passes its end on.
func copyHalf(from, to HalfCloser) error {
	var err error
	if frames, ok := from.(*Conn); ok {
		_, err = frames.WriteTo(to)
	} else {
		err = copyLazily(to, from)
	}
	if err != nil {
		return fmt.Errorf("copy from %s to %s: %w", from.RemoteAddr(), to.RemoteAddr(), err)
	}
	// The other end may be gone by now, and then has no use for it.
	if err := to.CloseWrite(); err != nil && !isGone(to) {
		return fmt.Errorf("end writing to %s: %w", to.RemoteAddr(), err)
	}
	return nil
}

// watchGone makes reads from other fail when conn is gone.
func watchGone(wg *sync.WaitGroup, over <-chan struct{}, conn, other HalfCloser) {
	doner, ok := conn.(interface{ Done() <-chan struct{} })
	if !ok {
		return
	}
	wg.Go(func() {
		select {
		case <-doner.Done():
			_ = other.SetWriteDeadline(time.Now().Add(drainTime)) // closed already: nothing to hurry
			_ = other.SetReadDeadline(time.Unix(1, 0))
		case <-over:
		}
	})
}

// linger waits until the peer of conn has ended the connection too, since
// closing it earlier may drop what is on its way.
func linger(ctx context.Context, conn HalfCloser) {
	doner, ok := conn.(interface{ Done() <-chan struct{} })
	if !ok {
		return
	}
	timer := time.NewTimer(drainTime)
	defer timer.Stop()
	select {
	case <-doner.Done():
	case <-timer.C:
	case <-ctx.Done():
	}
}

func isGone(conn HalfCloser) bool {
	doner, ok := conn.(interface{ Done() <-chan struct{} })
	if !ok {
		return false
	}
	select {
	case <-doner.Done():
		return true
	default:
		return false
	}
}

// IsGone says whether err only tells that one end left, which is how most
// connections end.
func IsGone(err error) bool {
	return errors.Is(err, ErrReset) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) ||
		errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.Canceled)
}
