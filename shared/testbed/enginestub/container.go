package enginestub

import (
	"encoding/binary"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"
)

// Exit codes of containers that did not end by themselves.
const (
	killedCode     = 137
	terminatedCode = 143
)

// attemptLabel is on the containers of jobs.
const attemptLabel = "orchion.attempt"

// container is a program that is one goroutine.
type container struct {
	engine      *Engine
	id, name    string
	image       string
	program     program
	labels      map[string]string
	created     time.Time
	ended       chan struct{} // closed at the end
	terminate   chan struct{} // closed by SIGTERM
	terminating sync.Once
	attached    chan net.Conn // of a holder: the one connection that it has

	mu         sync.Mutex // guards what follows
	run        int        // its number in Engine.runs
	startedAt  time.Time
	finishedAt time.Time
	code       int
	over       bool
	lent       bool          // of a holder: a job may be in its network
	log        []byte        // frames as the API sends them
	changed    chan struct{} // closed when log grows or the container ends
}

// program is what the arguments say: print so many lines, so far apart, and end
// with a code.
type program struct {
	lines    int
	interval time.Duration
	code     int
	// slower: attempts after the first take so many times as long. 0: they do
	// not.
	slower int
	// holder: it is none of this, but holds a network for jobs.
	holder bool
	// network is the id of the holder whose network it joins; empty: its own.
	network string
}

// parse reads "lines N INTERVAL", "exit CODE" and "slower FACTOR", in any order:
// the words of shared/e2e/testjob, but for the last.
func parse(args []string) (program, error) {
	var p program
	var err error
	for len(args) > 0 {
		switch {
		case args[0] == "lines" && len(args) >= 3:
			if p.lines, err = strconv.Atoi(args[1]); err != nil {
				return p, fmt.Errorf("lines: %w", err)
			}
			if p.interval, err = time.ParseDuration(args[2]); err != nil {
				return p, fmt.Errorf("lines: %w", err)
			}
			args = args[3:]
		case args[0] == "exit" && len(args) >= 2:
			if p.code, err = strconv.Atoi(args[1]); err != nil {
				return p, fmt.Errorf("exit: %w", err)
			}
			args = args[2:]
		case args[0] == "slower" && len(args) >= 2:
			if p.slower, err = strconv.Atoi(args[1]); err != nil {
				return p, fmt.Errorf("slower: %w", err)
			}
			args = args[2:]
		default:
			return p, fmt.Errorf("%q is not lines N INTERVAL, exit CODE or slower FACTOR", args)
		}
	}
	return p, nil
}

// start runs the program, once; false: it was started before.
func (c *container) start() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.startedAt.IsZero() {
		return false
	}
	c.startedAt = time.Now()
	if c.program.holder {
		c.engine.programs.Go(c.hold)
		return true
	}
	c.run = c.engine.began(c, c.startedAt)
	c.engine.programs.Go(c.play)
	return true
}

func (c *container) play() {
	p := c.program
	if p.slower > 0 && c.labels[attemptLabel] != "1" {
		p.interval *= time.Duration(p.slower)
	}
	for i := 1; i <= p.lines; i++ {
		c.print(fmt.Sprintf("line %d\n", i))
		pause := time.NewTimer(p.interval)
		select {
		case <-pause.C:
		case <-c.terminate:
			pause.Stop()
			c.end(terminatedCode, true)
			return
		case <-c.ended:
			pause.Stop()
			return
		}
	}
	c.end(p.code, false)
}

// print appends a line in a frame of standard output, with its time.
func (c *container) print(line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return
	}
	text := time.Now().UTC().Format(time.RFC3339Nano) + " " + line
	c.log = append(c.log, 1, 0, 0, 0)
	c.log = binary.BigEndian.AppendUint32(c.log, uint32(len(text)))
	c.log = append(c.log, text...)
	c.wakeLocked()
}

func (c *container) wakeLocked() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// end is the end, for whatever reason comes first.
func (c *container) end(code int, killed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over || c.startedAt.IsZero() {
		return
	}
	c.over, c.code, c.finishedAt = true, code, time.Now()
	if !c.program.holder {
		c.engine.finished(c.run, c.finishedAt, code, killed)
	}
	close(c.ended)
	c.wakeLocked()
}

func (c *container) kill(code int) { c.end(code, true) }

func (c *container) stop() { c.terminating.Do(func() { close(c.terminate) }) }

// state is as Docker names it.
func (c *container) state() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stateLocked()
}

func (c *container) stateLocked() string {
	switch {
	case c.over:
		return "exited"
	case !c.startedAt.IsZero():
		return "running"
	}
	return "created"
}

// logFrom gives the log from a position on, whether it will grow, and a channel
// that says when it has.
func (c *container) logFrom(at int) (frames []byte, over bool, changed <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.log[at:len(c.log):len(c.log)], c.over, c.changed
}
