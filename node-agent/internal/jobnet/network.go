package jobnet

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

const (
	// upTime is how long a holder may take to come up, and answerTime to answer.
	upTime     = 20 * time.Second
	answerTime = 2 * time.Second
)

var errHolderEnded = errors.New("the holder of the network has ended")

// network is a holder that runs, and the connection with it.
type network struct {
	id   string
	conn *driver.Attachment
	// answers has what the holder said; closed when it says nothing any more.
	answers chan string
	readers sync.WaitGroup
}

// make makes a network; on an error nothing stays behind.
func (p *Pool) make() (*network, error) {
	imaging, cancel := context.WithTimeout(p.alive, imageTime)
	defer cancel()
	image, err := p.image.Ensure(imaging)
	if err != nil {
		return nil, fmt.Errorf("make the image of the holder of a network: %w", err)
	}
	// Not broken off as soon as the pool closes: what an engine does with such a request is
	// not known, and might be left behind.
	making, cancel := context.WithTimeout(p.calls, upTime)
	defer cancel()
	spec := p.spec(image)
	id, err := p.cfg.Driver.Create(making, spec)
	if err != nil {
		p.stray(spec.Name) // the engine may have made it all the same
		return nil, fmt.Errorf("create the holder of a network: %w", err)
	}
	n, err := p.begin(making, id)
	if err != nil {
		p.stray(id)
		return nil, fmt.Errorf("start the holder of a network: %w", err)
	}
	return n, nil
}

func (p *Pool) begin(ctx context.Context, id string) (*network, error) {
	conn, err := p.cfg.Driver.Attach(ctx, id)
	if err != nil {
		return nil, err
	}
	n := &network{id: id, conn: conn, answers: make(chan string, 4)}
	n.readers.Go(n.read)
	n.readers.Go(func() { _, _ = io.Copy(io.Discard, conn.Stderr) }) // it has nothing to say there
	if err := p.cfg.Driver.Start(ctx, id); err != nil {
		n.close()
		return nil, err
	}
	if err := n.expect(ctx, saysReady); err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

// read takes in the holder's lines. Who does not wait for them does not get them.
func (n *network) read() {
	defer close(n.answers)
	lines := bufio.NewScanner(n.conn.Stdout)
	for lines.Scan() {
		select {
		case n.answers <- lines.Text():
		default:
		}
	}
}

// ask asks the holder; an error when it does not answer what is wanted. It can then not be
// asked again.
func (n *network) ask(ctx context.Context, question, wanted string) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	// A pipe that nobody empties must not hold us up.
	stop := context.AfterFunc(ctx, func() { _ = n.conn.Close() })
	defer stop()
	if _, err := io.WriteString(n.conn.Stdin, question+"\n"); err != nil {
		if ctx.Err() != nil {
			return ctx.Err() // which is why
		}
		return fmt.Errorf("ask the holder of the network: %w", err)
	}
	return n.expect(ctx, wanted)
}

func (n *network) expect(ctx context.Context, wanted string) error {
	select {
	case got, ok := <-n.answers:
		switch {
		case !ok:
			return errHolderEnded
		case got != wanted:
			return fmt.Errorf("the holder of the network says %q", got)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close ends the connection.
func (n *network) close() {
	_ = n.conn.Close() // there is nothing to be lost
	n.readers.Wait()
}

// Lease is a job's hold of a network. It belongs to one goroutine.
type Lease struct {
	pool    *Pool
	id      string   // of the holder; empty: there was no network ready
	network *network // nil: none, or one that an earlier run lent
	counted bool     // among those that use the pool
}

// ID is that of the container whose network it is; empty: none was ready.
func (l *Lease) ID() string { return l.id }

// Ended says that the job's container has ended, if it ever ran. With again the network may
// be given to another job, if it is as before. Without, or if it is not, it stays until Close.
func (l *Lease) Ended(ctx context.Context, again bool) {
	l.uncount()
	if l.network == nil || !again {
		return
	}
	if err := l.network.ask(ctx, askLook, saysClean); err != nil {
		l.pool.log.Debug("a network is not given to another job", "holder", l.id, "reason", err)
		return
	}
	if l.pool.putBack(l.network) {
		l.network, l.id = nil, ""
	}
}

// Discard gives up a network that turned out to be of no use, before any job ran on it. The
// job goes on without, and the pool removes it.
func (l *Lease) Discard() {
	if l.id == "" {
		return
	}
	l.letGo()
	l.pool.stray(l.id)
	l.id = ""
}

// Close removes the network, unless it went back. The job's container must be gone. The error
// is that of ctx: then it may be called again.
func (l *Lease) Close(ctx context.Context) error {
	l.uncount()
	l.letGo()
	if l.id == "" {
		return nil
	}
	if err := l.pool.cfg.Driver.Remove(ctx, l.id); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		// Whatever the engine has against it now: Podman, for one, keeps it as long as the
		// container of an earlier job is there, ended but not acknowledged yet.
		l.pool.log.Debug("a network is removed later", "holder", l.id, "reason", err)
		l.pool.stray(l.id)
	}
	l.id = ""
	return nil
}

// letGo ends the connection with the holder, which is not lent again.
func (l *Lease) letGo() {
	if l.network == nil {
		return
	}
	l.network.close()
	l.network = nil
	l.pool.gone()
}

func (l *Lease) uncount() {
	if !l.counted {
		return
	}
	l.counted = false
	l.pool.mu.Lock()
	l.pool.using--
	l.pool.mu.Unlock()
}
