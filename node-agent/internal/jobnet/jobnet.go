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
	"strings"
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
	// removal is how long removing one may take.
	removal = 20 * time.Second
)

// Config says what a Pool works with. All but Executable and Logger are needed.
type Config struct {
	Driver driver.Driver
	// NodeID tells the networks of this node from those of another agent on the same engine.
	NodeID string
	// Max bounds how many networks there are.
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

	alive context.Context
	end   context.CancelFunc
	wg    sync.WaitGroup
	wake  chan struct{} // holds a token when there may be something to make or remove

	mu     sync.Mutex // guards what follows
	closed bool
	idle   []*network
	there  int // networks that are idle, lent or being made
	using  int // jobs that run now, with a network of the pool or without
	// peak is the most of them at once in this period, and before in the one before.
	peak, before int
	strays       []string // holders to remove
}

// New makes a Pool, which the caller closes.
func New(cfg Config) *Pool {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Pool{
		cfg: cfg, log: cfg.Logger, image: selfimage.New(cfg.Driver, cfg.Executable), run: rand.Text(),
		wake: make(chan struct{}, 1),
	}
	p.alive, p.end = context.WithCancel(context.Background())
	p.wg.Go(p.keep)
	return p
}

// Close removes the networks that are not lent. Those that are stay with their jobs.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.end()
	p.wg.Wait()
	p.mu.Lock()
	idle, remove := p.idle, p.strays
	p.idle, p.strays = nil, nil
	p.mu.Unlock()
	for _, n := range idle {
		n.close()
		remove = append(remove, n.id)
	}
	ctx, cancel := context.WithTimeout(context.Background(), removal)
	defer cancel()
	var wg sync.WaitGroup
	for _, id := range remove {
		wg.Go(func() {
			if err := p.cfg.Driver.Remove(ctx, id); err != nil {
				p.log.Warn("a network that was kept ready for jobs could not be removed; the next start of this agent removes it", "error", err)
			}
		})
	}
	wg.Wait()
}

// Lend gives a job the network of its own that is ready, or none where none is; it never
// waits for one. The lease is to be ended and closed in either case.
func (p *Pool) Lend(ctx context.Context) *Lease {
	l := &Lease{pool: p, counted: true}
	p.mu.Lock()
	p.using++
	p.peak = max(p.peak, p.using)
	p.mu.Unlock()
	for {
		n := p.pop()
		if n == nil {
			p.look()
			return l
		}
		if err := n.ask(ctx, askLend, saysLent); err == nil {
			l.id, l.network = n.id, n
			if plantedbug.On(plantedbug.SharesNetworks) {
				p.putBack(n)
			}
			return l
		}
		p.discard(n)
	}
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
	p.look()
	return nil
}

// look lets the goroutine that keeps the pool look after it.
func (p *Pool) look() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
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

// discard begins to remove a network that no job has.
func (p *Pool) discard(n *network) {
	n.close()
	p.gone()
	p.stray(n.id)
}

// gone notes that there is one network less.
func (p *Pool) gone() {
	p.mu.Lock()
	p.there--
	p.mu.Unlock()
	p.look()
}

// stray lets a holder be removed, now or when its engine is ready to.
func (p *Pool) stray(id string) {
	p.mu.Lock()
	p.strays = append(p.strays, id)
	p.mu.Unlock()
	p.look()
}

// keep looks after the pool until it is closed.
func (p *Pool) keep() {
	periods := time.NewTicker(period)
	defer periods.Stop()
	var again <-chan time.Time // looks again where something went wrong
	var notBefore time.Time    // none is made
	var told oncePerText
	for {
		select {
		case <-p.alive.Done():
			return
		case <-periods.C:
			p.shrink()
		case <-again:
		case <-p.wake:
		}
		again = nil
		if err := p.removeStrays(); err != nil {
			again = time.After(removePause)
			if told.first(err) {
				p.log.Info("a network of an ended job cannot be removed yet; it is tried again", "error", err)
			}
		}
		if time.Now().Before(notBefore) {
			again = time.After(time.Until(notBefore))
			continue
		}
		if err := p.fill(); err != nil && p.alive.Err() == nil {
			notBefore = time.Now().Add(hesitation)
			again = time.After(hesitation)
			if told.first(err) {
				p.log.Info("no network can be kept ready for jobs now; each gets one when it starts, which takes longer", "error", err)
			}
		}
	}
}

// oncePerText remembers the errors that were told last.
type oncePerText struct{ texts []string }

func (o *oncePerText) first(err error) bool {
	text := err.Error()
	if slices.Contains(o.texts, text) {
		return false
	}
	o.texts = append(o.texts, text)
	if len(o.texts) > maxTold {
		o.texts = o.texts[1:]
	}
	return true
}

// maxTold bounds the errors that are told once.
const maxTold = 16

// shrink ends a period: what neither this nor the one before needed is removed.
func (p *Pool) shrink() {
	p.mu.Lock()
	p.before, p.peak = p.peak, p.using
	var surplus []*network
	for len(p.idle) > 0 && p.there-len(surplus) > p.wantedLocked() {
		surplus = append(surplus, p.idle[0])
		p.idle = p.idle[1:]
	}
	p.mu.Unlock()
	for _, n := range surplus {
		p.discard(n)
	}
}

// wantedLocked is how many networks there should be.
func (p *Pool) wantedLocked() int { return min(p.cfg.Max, max(p.peak, p.before)) }

// fill makes networks, one after the other, until there are as many as wanted.
func (p *Pool) fill() error {
	for {
		p.mu.Lock()
		wanted := !p.closed && p.there < p.wantedLocked()
		if wanted {
			p.there++
		}
		p.mu.Unlock()
		if !wanted {
			return nil
		}
		n, err := p.make(p.alive)
		if err != nil {
			p.mu.Lock()
			p.there--
			p.mu.Unlock()
			return err
		}
		if !p.putBack(n) {
			p.discard(n)
		}
	}
}

// removeStrays removes what is to be removed. Podman refuses while the job's container,
// ended or not, is there.
func (p *Pool) removeStrays() error {
	p.mu.Lock()
	strays := p.strays
	p.strays = nil
	p.mu.Unlock()
	var failed []error
	for i, id := range strays {
		if p.alive.Err() != nil {
			p.mu.Lock()
			p.strays = append(p.strays, strays[i:]...)
			p.mu.Unlock()
			break
		}
		ctx, cancel := context.WithTimeout(p.alive, removal)
		err := p.cfg.Driver.Remove(ctx, id)
		cancel()
		if err != nil {
			failed = append(failed, err)
			p.mu.Lock()
			p.strays = append(p.strays, id)
			p.mu.Unlock()
		}
	}
	return errors.Join(failed...)
}

// holderMemory bounds a holder, which needs a few MiB.
const holderMemory = 64 << 20

func (p *Pool) spec(image string) driver.ContainerSpec {
	spec := driver.JobSpec(image)
	spec.Name = "orchion-network-" + strings.ToLower(rand.Text()[:12])
	spec.Command = []string{selfimage.ProgramPath, HolderCommand}
	spec.Labels = map[string]string{labelNode: p.cfg.NodeID, labelRun: p.run}
	spec.User = "65534:65534" // nobody
	spec.Env = map[string]string{"GOMEMLIMIT": "16MiB"}
	spec.Resources = driver.Resources{MemoryBytes: holderMemory, PIDs: 64}
	spec.OpenStdin = true
	spec.LogBytes = driver.MinLogBytes
	return spec
}
