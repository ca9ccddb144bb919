// Package enginestub is a container engine without containers. It answers the
// part of Docker's API that the node agent uses, and its containers are
// goroutines that print lines and end. Thousands of them cost nothing, they
// outlive the node agent as real ones do, and every start and end is recorded:
// made for tests that break things at random, not for tests of the driver.
package enginestub

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"
)

// Engine is a running stub.
type Engine struct {
	socket string

	mu         sync.Mutex // guards what follows
	server     *http.Server
	served     chan struct{} // closed when server has ended
	hung       chan struct{} // not nil: requests wait until it is closed
	containers map[string]*container
	names      map[string]string // to ids
	networks   map[string]network
	runs       []Run
	attached   []net.Conn // to holders
	joined     int        // starts of a container in a network that was ready for it
	shared     int        // starts of a container in the network of another one that ran
	programs   sync.WaitGroup
}

// Run is one start of a container. It is recorded for ever.
type Run struct {
	Labels    map[string]string
	StartedAt time.Time
	EndedAt   time.Time // zero: runs
	ExitCode  int
	// Killed: the container did not end by itself.
	Killed bool
}

type network struct {
	id, name string
	labels   map[string]string
	created  time.Time
}

// Start begins to listen at a path for a Unix socket.
func Start(socket string) (*Engine, error) {
	e := &Engine{socket: socket, containers: map[string]*container{}, names: map[string]string{}, networks: map[string]network{}}
	if err := e.listen(); err != nil {
		return nil, err
	}
	return e, nil
}

// Host is where it listens, as in DOCKER_HOST.
func (e *Engine) Host() string { return "unix://" + e.socket }

func (e *Engine) listen() error {
	if err := os.Remove(e.socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	listener, err := net.Listen("unix", e.socket)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: e.handler(), ReadHeaderTimeout: time.Minute}
	served := make(chan struct{})
	e.mu.Lock()
	e.server, e.served = server, served
	e.mu.Unlock()
	go func() {
		defer close(served)
		_ = server.Serve(listener) // ends with Close
	}()
	return nil
}

// Down ends all connections and listens no more; containers go on, as they do
// when a daemon is restarted.
func (e *Engine) Down() {
	e.mu.Lock()
	server, served := e.server, e.served
	e.mu.Unlock()
	_ = server.Close() // nothing is left to be lost
	e.detachAll()
	<-served
}

// Up listens again after Down.
func (e *Engine) Up() error { return e.listen() }

// Hang lets every request wait until the answer is called.
func (e *Engine) Hang() (resume func()) {
	hung := make(chan struct{})
	e.mu.Lock()
	e.hung = hung
	e.mu.Unlock()
	return sync.OnceFunc(func() {
		e.mu.Lock()
		e.hung = nil
		e.mu.Unlock()
		close(hung)
	})
}

// Close ends the engine and all its containers.
func (e *Engine) Close() {
	e.PowerCut()
	e.Down()
	e.programs.Wait()
}

// PowerCut ends every container, as when the machine goes off; the containers
// are still there when it comes back.
func (e *Engine) PowerCut() {
	for _, c := range e.all() {
		c.kill(killedCode)
	}
}

// Wipe removes every container, as when the machine is set up anew.
func (e *Engine) Wipe() {
	for _, c := range e.all() {
		c.kill(killedCode)
		e.remove(c)
	}
}

// Running are the containers of jobs that run, by the labels they carry.
func (e *Engine) Running() []map[string]string {
	var running []map[string]string
	for _, c := range e.all() {
		if c.state() == "running" && !c.program.holder {
			running = append(running, c.labels)
		}
	}
	return running
}

// Kill ends a running container with these labels, as somebody at the machine
// would. It says whether there was one.
func (e *Engine) Kill(labels map[string]string) bool {
	for _, c := range e.all() {
		if maps.Equal(c.labels, labels) && c.state() == "running" {
			c.kill(killedCode)
			return true
		}
	}
	return false
}

// Left are the labels of all containers that are still there, but for networks that are
// kept ready by an agent that lives.
func (e *Engine) Left() []map[string]string {
	var left []map[string]string
	for _, c := range e.all() {
		if c.ready() {
			continue
		}
		left = append(left, c.labels)
	}
	return left
}

// Runs are all starts until now.
func (e *Engine) Runs() []Run {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.runs)
}

// all are the containers, oldest first.
func (e *Engine) all() []*container {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.SortedFunc(maps.Values(e.containers), func(a, b *container) int { return a.created.Compare(b.created) })
}

func (e *Engine) find(idOrName string) *container {
	e.mu.Lock()
	defer e.mu.Unlock()
	if id, ok := e.names[idOrName]; ok {
		return e.containers[id]
	}
	return e.containers[idOrName]
}

// add makes a container; nil when its name is taken.
func (e *Engine) add(name string, p program, labels map[string]string, image string) *container {
	c := &container{
		engine: e, id: newID(), name: name, program: p, labels: labels, image: image,
		created: time.Now(), ended: make(chan struct{}), terminate: make(chan struct{}), changed: make(chan struct{}),
		attached: make(chan net.Conn, 1),
	}
	if c.name == "" {
		c.name = "stub-" + c.id[:12]
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, taken := e.names[c.name]; taken {
		return nil
	}
	e.containers[c.id], e.names[c.name] = c, c.id
	return c
}

func (e *Engine) remove(c *container) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.containers[c.id] == c {
		delete(e.containers, c.id)
		delete(e.names, c.name)
	}
}

// began records a start and answers its number.
func (e *Engine) began(c *container, at time.Time) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.runs = append(e.runs, Run{Labels: c.labels, StartedAt: at})
	return len(e.runs) - 1
}

func (e *Engine) finished(number int, at time.Time, code int, killed bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := &e.runs[number]
	r.EndedAt, r.ExitCode, r.Killed = at, code, killed
}

// wait holds a request up while the engine hangs; false: the caller has left.
func (e *Engine) wait(ctx context.Context) bool {
	e.mu.Lock()
	hung := e.hung
	e.mu.Unlock()
	if hung == nil {
		return true
	}
	select {
	case <-hung:
		return true
	case <-ctx.Done():
		return false
	}
}

// waitUntil is wait for a program, which has no request.
func (e *Engine) waitUntil(ended <-chan struct{}) bool {
	e.mu.Lock()
	hung := e.hung
	e.mu.Unlock()
	if hung == nil {
		return true
	}
	select {
	case <-hung:
		return true
	case <-ended:
		return false
	}
}

func newID() string {
	id := make([]byte, 32)
	_, _ = rand.Read(id) // never fails
	return hex.EncodeToString(id)
}
