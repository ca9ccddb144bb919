// Package jobnet keeps networks ready for the containers of jobs, since making one is
// most of what a container's start takes.
//
// A network is that of a small container, its holder, made of this very program and
// running [HolderMain]. A job's container joins it, alone. When that has ended, the holder
// looks whether all is as before the job; if so the next job gets the network, and
// otherwise it is removed. So a job never finds anything of another one, and never shares
// a network with one.
//
// The agent speaks with a holder through its standard input and output, line by line:
//
//	holder: ready          the network is there
//	agent:  lend           holder: lent     from now on it outlives the agent
//	agent:  look           holder: clean    it is as it was, and no longer lent; or
//	                       holder: used ... it is not, and why
//
// A holder that is not lent ends with its standard input, that is with the agent. One that
// is lent stays, for the job goes on; the next run of the agent finds it by its labels.
package jobnet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/selfimage"
	"github.com/orchion/orchion/shared/plantedbug"
)

// Labels of a holder's container. They are apart from those of jobs, so that it is never
// taken for a job's.
const (
	labelNode = driver.LabelPrefix + "network.node"
	// labelRun tells the holders of this run of the agent from those of earlier ones.
	labelRun = driver.LabelPrefix + "network.run"
)

const (
	// period is how long what nobody needed is kept at least, and half of how long at most.
	period = 5 * time.Minute
	// hesitation is how long none is made after one could not be, and removePause lies between
	// two tries to remove one.
	hesitation  = time.Minute
	removePause = 10 * time.Second
	// removal is how long removing one may take, and imageTime making the image of them all.
	removal   = 20 * time.Second
	imageTime = 2 * time.Minute
	// closing is how long all of Close may take. What it leaves the next run removes.
	closing = 5 * time.Second
)

// Config says what a Pool works with. All but Max, Executable and Logger are needed.
type Config struct {
	Driver driver.Driver
	// NodeID tells the networks of this node from those of another agent on the same engine.
	NodeID string
	// Max bounds how many networks there are; with 0 the pool only removes what earlier runs
	// left.
	Max int
	// Executable is the program that holders run (see selfimage.New); it must run HolderMain
	// when called with HolderCommand.
	Executable string
	// Logger defaults to one that discards.
	Logger *slog.Logger
}

// Pool is the networks of one node. It makes the first when a job has asked for one, as
// many as there were jobs at once, and removes those that are not needed for a while.
type Pool struct {
	cfg   Config
	log   *slog.Logger
	image *selfimage.Builder
	run   string // on the label of what this run makes

	// alive ends as the pool begins to close, and calls when what it has asked an engine is
	// waited for no longer.
	alive, calls   context.Context
	end, endCalls  context.CancelFunc
	wg             sync.WaitGroup
	wanted, unused chan struct{} // hold a token when there may be something to make, or to remove

	mu     sync.Mutex // guards what follows
	closed bool
	idle   []*network
	there  int // networks that are idle, lent or being made
	using  int // jobs that run now, with a network of the pool or without
	// peak is the most of them at once in this period, and before in the one before.
	peak, before int
	strays       []string // holders to remove, by id or name
}

// New makes a Pool, which the caller closes.
func New(cfg Config) *Pool {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Pool{
		cfg: cfg, log: cfg.Logger, image: selfimage.New(cfg.Driver, cfg.Executable), run: rand.Text(),
		wanted: make(chan struct{}, 1), unused: make(chan struct{}, 1),
	}
	p.alive, p.end = context.WithCancel(context.Background())
	p.calls, p.endCalls = context.WithCancel(context.Background())
	p.wg.Go(p.keepReady)
	p.wg.Go(p.keepClean)
	return p
}

// Close removes the networks that are not lent, as far as the engine does so in time. Those
// that are lent stay with their jobs.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.end()
	patience := time.AfterFunc(closing, p.endCalls)
	defer p.endCalls()
	defer patience.Stop()
	p.wg.Wait()
	p.mu.Lock()
	idle, remove := p.idle, p.strays
	p.idle, p.strays = nil, nil
	p.mu.Unlock()
	for _, n := range idle {
		n.close()
		remove = append(remove, n.id)
	}
	var wg sync.WaitGroup
	for _, id := range remove {
		wg.Go(func() {
			if err := p.cfg.Driver.Remove(p.calls, id); err != nil {
				p.log.Warn("a network that was kept ready for jobs could not be removed; the next start of this agent removes it", "error", err)
			}
		})
	}
	wg.Wait()
}

// Lend gives a job the network of its own that is ready, or none where none is; it never
// waits until there is one. The lease is to be ended and closed in either case.
func (p *Pool) Lend(ctx context.Context) *Lease {
	l := &Lease{pool: p, counted: true}
	p.mu.Lock()
	p.using++
	p.peak = max(p.peak, p.using)
	p.mu.Unlock()
	// An attempt that is over needs none, and says nothing about those there are.
	for ctx.Err() == nil {
		n := p.pop()
		if n == nil {
			break
		}
		err := n.ask(context.WithoutCancel(ctx), askLend, saysLent)
		if err == nil {
			l.id, l.network = n.id, n
			if plantedbug.On(plantedbug.SharesNetworks) {
				p.putBack(n)
			}
			return l
		}
		p.discard(n)
		if errors.Is(err, context.DeadlineExceeded) {
			break // the others may be as slow, and the job is to start
		}
	}
	signal(p.wanted)
	return l
}

// TakeOver is the lease of a network that an earlier run of the agent has lent.
func (p *Pool) TakeOver(id string) *Lease { return &Lease{pool: p, id: id} }

// Reap begins to remove what earlier runs of this agent left and keep says nobody has.
func (p *Pool) Reap(ctx context.Context, keep func(id string) bool) error {
	found, err := p.cfg.Driver.List(ctx, map[string]string{labelNode: p.cfg.NodeID})
	if err != nil {
		return fmt.Errorf("look for networks of jobs: %w", err)
	}
	p.mu.Lock()
	for _, c := range found {
		if c.Labels[labelRun] != p.run && !slices.Contains(p.strays, c.ID) && !keep(c.ID) {
			p.strays = append(p.strays, c.ID)
		}
	}
	p.mu.Unlock()
	signal(p.unused)
	return nil
}

// pop takes the network that was in use last; nil: there is none.
func (p *Pool) pop() *network {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) == 0 {
		return nil
	}
	n := p.idle[len(p.idle)-1]
	p.idle = p.idle[:len(p.idle)-1]
	return n
}

// putBack makes a network the next one to be lent; false: it is not needed.
func (p *Pool) putBack(n *network) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.there > p.cfg.Max {
		return false
	}
	p.idle = append(p.idle, n)
	return true
}
