package fake

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// Process is what a Program sees of its container.
type Process struct {
	d         *Driver
	c         *ctr
	ctx       context.Context
	cancel    context.CancelFunc
	term      chan struct{}
	termOnce  sync.Once
	ports     []driver.Port
	listeners map[uint16]net.Listener
	allocated int64 // guarded by d.mu
	args      []string
	stdin     *stdinPipe // nil: none

	stdout, stderr *output
}

func newProcess(d *Driver, c *ctr) *Process {
	p := &Process{
		d: d, c: c, term: make(chan struct{}), listeners: map[uint16]net.Listener{},
		args: c.args[1:], stdin: c.stdin,
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.stdout = &output{p: p, stream: driver.Stdout}
	p.stderr = &output{p: p, stream: driver.Stderr}
	return p
}

// Context ends when the container is killed.
func (p *Process) Context() context.Context { return p.ctx }

// Args are the arguments after the executable.
func (p *Process) Args() []string { return p.args }

// Spec is what the container was created from.
func (p *Process) Spec() driver.ContainerSpec { return p.c.spec }

// Getenv gives a variable of the image's or the spec's.
func (p *Process) Getenv(name string) string { return p.c.env[name] }

// Stdin is the container's standard input, at its end at once without OpenStdin.
func (p *Process) Stdin() io.Reader {
	if p.stdin == nil {
		return bytes.NewReader(nil)
	}
	return p.stdin
}

// Stdout and Stderr write to the container's log and attachments.
func (p *Process) Stdout() io.Writer { return p.stdout }

// Stderr is like Stdout.
func (p *Process) Stderr() io.Writer { return p.stderr }

// Terminate is closed when the container is asked to stop.
func (p *Process) Terminate() <-chan struct{} { return p.term }

func (p *Process) terminate() { p.termOnce.Do(func() { close(p.term) }) }

// Allocate counts memory against the container's limit; past it, the container is killed
// as the kernel would.
func (p *Process) Allocate(bytes int64) {
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	p.allocated += bytes
	if limit := p.c.spec.Resources.MemoryBytes; limit > 0 && p.allocated > limit {
		p.c.endLocked(p, driver.Exit{Code: 128 + 9, OOMKilled: true})
	}
}

// Listen gives the socket of a published port; see Options.Listen.
func (p *Process) Listen(port uint16) (net.Listener, error) {
	l, found := p.listeners[port]
	if !found {
		return nil, fmt.Errorf("fake: port %d is not published, or Options.Listen is off", port)
	}
	return l, nil
}

// Sleep waits for d, and says false when the process was asked to stop or killed before.
func (p *Process) Sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-p.term:
	case <-p.ctx.Done():
	}
	return false
}

func (p *Process) closeListeners() {
	for _, l := range p.listeners {
		l.Close()
	}
}

// flushLocked puts what was written without a newline at the end into the log.
func (p *Process) flushLocked() {
	for _, o := range []*output{p.stdout, p.stderr} {
		if len(o.rest) > 0 {
			o.logLocked(string(o.rest), true)
			o.rest = nil
		}
	}
}

// output is one of the process's outputs.
type output struct {
	p      *Process
	stream driver.Stream
	rest   []byte // guarded by d.mu: the line begun
	only   *tap   // of a process of Exec, whose output is not logged
}

func (o *output) Write(data []byte) (int, error) {
	if o.only != nil {
		return o.only.pipe(o.stream).Write(data)
	}
	d, c := o.p.d, o.p.c
	d.mu.Lock()
	if c.proc != o.p || c.info.State != driver.StateRunning {
		d.mu.Unlock()
		return 0, io.ErrClosedPipe
	}
	o.rest = append(o.rest, data...)
	for {
		line, after, found := bytes.Cut(o.rest, []byte("\n"))
		if len(line) > driver.MaxLogText {
			o.logLocked(string(line[:driver.MaxLogText]), true)
			o.rest = o.rest[driver.MaxLogText:]
			continue
		}
		if !found {
			break
		}
		o.logLocked(string(line), false)
		o.rest = after
	}
	c.changedLocked()
	taps := append([]*tap(nil), c.taps...)
	d.mu.Unlock()

	// Not under the lock: an attachment that nobody reads holds up the process, not the engine.
	for _, t := range taps {
		_, _ = t.pipe(o.stream).Write(data) // fails only once nobody listens
	}
	return len(data), nil
}

func (o *output) logLocked(text string, partial bool) {
	c := o.p.c
	c.log = append(c.log, driver.LogEntry{
		Index: int64(len(c.log) + 1), Stream: o.stream, Time: time.Now(), Text: text, Partial: partial,
	})
}

// tap is the output side of an attachment.
type tap struct{ stdout, stderr tapPipe }

type tapPipe struct {
	r *io.PipeReader
	w *io.PipeWriter
}

func newTap() *tap {
	t := &tap{}
	t.stdout.r, t.stdout.w = io.Pipe()
	t.stderr.r, t.stderr.w = io.Pipe()
	return t
}

func (t *tap) pipe(stream driver.Stream) *io.PipeWriter {
	if stream == driver.Stderr {
		return t.stderr.w
	}
	return t.stdout.w
}

func (t *tap) end() {
	t.stdout.w.Close()
	t.stderr.w.Close()
}

// stdinPipe is a container's standard input: written by attachments, read by the process.
// It takes what is written before the process reads.
type stdinPipe struct {
	mu     sync.Mutex // guards what follows
	cond   *sync.Cond
	data   []byte
	closed bool
}

func newStdinPipe() *stdinPipe {
	s := &stdinPipe{}
	s.cond = sync.NewCond(&s.mu)
	return s
}

func (s *stdinPipe) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.data) == 0 {
		if s.closed {
			return 0, io.EOF
		}
		s.cond.Wait()
	}
	n := copy(p, s.data)
	s.data = s.data[n:]
	return n, nil
}

func (s *stdinPipe) write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, io.ErrClosedPipe
	}
	s.data = append(s.data, p...)
	s.cond.Broadcast()
	return len(p), nil
}

func (s *stdinPipe) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.cond.Broadcast()
}

type stdinWriter struct{ pipe *stdinPipe }

func (w stdinWriter) Write(p []byte) (int, error) { return w.pipe.write(p) }

func (w stdinWriter) Close() error {
	w.pipe.close()
	return nil
}
