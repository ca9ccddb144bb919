// Package supervise runs several programs side by side as one: their output
// merged, the first failure reported, and none of them left behind, however the
// whole ends.
package supervise

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"time"
)

// outputGrace is how long output may still arrive after a program ended, from
// programs that it started and that hold on to its streams.
const outputGrace = time.Second

// Program is one part to run.
type Program struct {
	// Name stands before each line of its output, and in messages.
	Name string
	// Path is the executable.
	Path string
	Args []string
	// Dir is the working directory; empty means ours.
	Dir string
	// Env is added to our environment, as KEY=value.
	Env []string
	// Grace is how long it may take to end after the interrupt; then it is
	// killed. Zero means 10 seconds.
	Grace time.Duration
}

// ExitError reports a program that ended although nobody had asked it to.
type ExitError struct {
	Name string
	// State is how it ended, such as "exit status 2".
	State string
	// LastLine is the last it said; empty when it said nothing.
	LastLine string
}

func (e *ExitError) Error() string {
	if e.LastLine == "" {
		return fmt.Sprintf("%s ended unexpectedly (%s) without a word", e.Name, e.State)
	}
	return fmt.Sprintf("%s ended unexpectedly (%s); its last words: %s", e.Name, e.State, e.LastLine)
}

// Group is a set of programs that live and die together. Stop it, or programs
// are left behind.
type Group struct {
	mux    *Mux
	failed chan error // holds the first failure

	mu       sync.Mutex // guards the rest
	parts    []*part
	stopping bool
}

type part struct {
	Program
	out   *LineWriter
	tree  *tree
	ended chan struct{} // closed when the program and its output ended
}

// NewGroup returns an empty group whose output goes to mux.
func NewGroup(mux *Mux) *Group {
	return &Group{mux: mux, failed: make(chan error, 1)}
}

// Failed delivers the first failure: an *ExitError for a program that ended
// before Stop was called.
func (g *Group) Failed() <-chan error { return g.failed }

// Start starts a program and returns at once. It fails when the program cannot
// be started, and after Stop.
func (g *Group) Start(p Program) error {
	if p.Grace == 0 {
		p.Grace = 10 * time.Second
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopping {
		return fmt.Errorf("start %s: the group is stopping", p.Name)
	}
	prt := &part{Program: p, out: g.mux.Writer(p.Name), ended: make(chan struct{})}
	started := make(chan error, 1)
	go g.run(prt, started)
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	g.parts = append(g.parts, prt)
	return nil
}

// run starts one program and stays until it ended.
func (g *Group) run(p *part, started chan<- error) {
	defer close(p.ended)
	// On Linux a child is told of our death when the thread that forked it goes
	// away, so this goroutine keeps its thread for as long as the child lives.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	cmd := exec.Command(p.Path, p.Args...) //nolint:noctx // stopping is Stop's business, in its order and grace
	cmd.Dir = p.Dir
	cmd.Env = append(os.Environ(), p.Env...)
	cmd.Stdout, cmd.Stderr = p.out, p.out
	cmd.WaitDelay = outputGrace
	prepare(cmd)
	if err := cmd.Start(); err != nil {
		started <- err
		return
	}
	t, err := adopt(cmd)
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		started <- err
		return
	}
	p.tree = t
	started <- nil

	err = cmd.Wait()
	// Whatever it started must not outlive it.
	p.tree.kill()
	p.out.Flush()
	g.ended(p, cmd.ProcessState, err)
}

func (g *Group) ended(p *part, state *os.ProcessState, err error) {
	g.mu.Lock()
	stopping := g.stopping
	g.mu.Unlock()
	if stopping {
		return
	}
	how := "exit status 0"
	switch {
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		how = err.Error()
	case state != nil:
		how = state.String()
	}
	select {
	case g.failed <- &ExitError{Name: p.Name, State: how, LastLine: p.out.Last()}:
	default: // not the first
	}
}

// Stop interrupts the programs one after another, the last started first, so
// that a client can say goodbye to the server it was started after; it kills
// those that do not end within their grace. It returns when all have ended and
// may be called more than once.
func (g *Group) Stop() {
	g.mu.Lock()
	g.stopping = true
	parts := slices.Clone(g.parts)
	g.mu.Unlock()
	for _, p := range slices.Backward(parts) {
		select {
		case <-p.ended:
			continue
		default:
		}
		p.tree.interrupt()
		timer := time.NewTimer(p.Grace)
		select {
		case <-p.ended:
		case <-timer.C:
			_, _ = fmt.Fprintf(p.out, "did not stop within %s: killed\n", p.Grace)
			p.tree.kill()
			<-p.ended
		}
		timer.Stop()
	}
}

// Kill ends all programs at once, without grace: for an impatient second
// Ctrl-C. Stop still has to be called to wait for them.
func (g *Group) Kill() {
	g.mu.Lock()
	g.stopping = true
	parts := slices.Clone(g.parts)
	g.mu.Unlock()
	for _, p := range parts {
		p.tree.kill()
	}
}
