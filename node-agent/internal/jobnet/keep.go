package jobnet

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/selfimage"
)

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
	signal(p.wanted)
}

// stray lets a holder be removed, now or when its engine is ready to.
func (p *Pool) stray(id string) {
	p.mu.Lock()
	p.strays = append(p.strays, id)
	p.mu.Unlock()
	signal(p.unused)
}

// signal leaves a token for the goroutine that waits for one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// keepReady makes networks, and gives up those that are not needed, until the pool is closed.
func (p *Pool) keepReady() {
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
		case <-p.wanted:
		}
		again = nil
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

// keepClean removes what is to be removed, until the pool is closed. It is apart from
// keepReady, so that neither waits for the other's engine calls.
func (p *Pool) keepClean() {
	var again <-chan time.Time // looks again where something went wrong
	var told oncePerText
	for {
		select {
		case <-p.alive.Done():
			return
		case <-again:
		case <-p.unused:
		}
		again = nil
		if err := p.removeStrays(); err != nil {
			again = time.After(removePause)
			if told.first(err) {
				p.log.Info("a network of an ended job cannot be removed yet; it is tried again", "error", err)
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
		n, err := p.make()
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
