package dispatch

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/mailbox"
	"github.com/orchion/orchion/orchestrator/internal/node"
	"github.com/orchion/orchion/shared/plantedbug"
)

// NodeChanged takes over a node's new value, in the order of its changes; nil
// or offline: it is gone. What it holds stays its own until its leases run
// out. It does not block.
func (d *Dispatcher) NodeChanged(prev, next *node.Node) {
	d.cfg.Cluster.NodeChanged(prev, next)
	d.drainChanged(prev, next)
}

// NodeImages takes over which container images a node has, by their full names
// with tag or digest. It does not block.
func (d *Dispatcher) NodeImages(nodeID string, names []string) {
	d.cfg.Cluster.SetImages(nodeID, names)
}

// NodeLeft says that a node left on purpose, having stopped what it ran: its
// attempts are lost without waiting for their leases. It does not block.
func (d *Dispatcher) NodeLeft(nodeID string) {
	d.box.Post(func() {
		for _, a := range d.attemptsOf(nodeID) {
			d.lose(a, "the node left")
		}
	})
}

// Connected takes over what a node says as it connects and answers all that it
// is to run. Open the node's stream with the answer: what changes in between is
// then sent after it.
func (d *Dispatcher) Connected(ctx context.Context, s *Session, hello []AttemptStatus) ([]JobAssignment, error) {
	set, err := mailbox.Ask(ctx, d.box, func() []JobAssignment { return d.connected(s, hello) })
	return set, stopping(err)
}

func (d *Dispatcher) connected(s *Session, hello []AttemptStatus) []JobAssignment {
	nodeID := s.NodeID()
	said := make(map[job.Ref]bool, len(hello))
	for _, status := range hello {
		said[status.Ref] = true
		d.observe(nodeID, status)
	}
	now := time.Now()
	var set []JobAssignment
	for _, a := range d.attemptsOf(nodeID) {
		switch {
		case a.lost != "":
			continue
		case !said[a.ref] && a.status != nil && a.status.State.Ended():
			continue // it ended, and the node has forgotten it
		case !said[a.ref] && a.mayHaveRun(s) && !plantedbug.On(plantedbug.RunsAgain):
			// Giving it to the node again could run it twice under one number.
			d.lose(a, "the node came back without it")
			continue
		}
		a.told = s
		d.renew(a, now)
		set = append(set, d.assignment(a))
		if a.stopping() {
			d.sendCancel(a)
		}
	}
	return set
}

// mayHaveRun says whether an attempt may have run on its node, which does not speak
// of it as it opens a stream. It may have as soon as it was told on an earlier
// stream: the node may have started it, and crashed or let go of it when its lease
// ran out, before it could say so.
func (a *attempt) mayHaveRun(s *Session) bool {
	return a.job.State == job.Running || a.status != nil || a.recovered || a.told != nil && a.told != s
}

// AttemptStatus takes over what a node observes of an attempt; the answer, if
// there is one, goes out on the node's stream once the store has it. It does
// not wait for the store. The error is Unavailable: the dispatcher has stopped.
func (d *Dispatcher) AttemptStatus(_ context.Context, nodeID string, status AttemptStatus) error {
	if !d.box.Post(func() { d.observe(nodeID, status) }) {
		return stopping(mailbox.ErrClosed)
	}
	return nil
}

// RenewLeases renews a node's leases and answers with LeasesRenewed on its
// stream. The error is Unavailable: the dispatcher has stopped.
func (d *Dispatcher) RenewLeases(_ context.Context, nodeID string, sequence uint64, refs []job.Ref) error {
	posted := d.box.Post(func() {
		answer := LeasesRenewed{Sequence: sequence, TTL: d.cfg.LeaseTTL}
		now := time.Now()
		// Those that ran out by now are not to be saved by being first in line.
		d.expire(now)
		for _, ref := range refs {
			a := d.held(nodeID, ref)
			if a == nil {
				answer.Lost = append(answer.Lost, ref)
				continue
			}
			d.renew(a, now)
			answer.Renewed = append(answer.Renewed, ref)
		}
		d.stats.renewed.Add(uint64(len(answer.Renewed)))
		d.cfg.Hub.Send(nodeID, answer)
	})
	if !posted {
		return stopping(mailbox.ErrClosed)
	}
	return nil
}

// HoldsAttempt says whether a node holds an attempt, and may therefore speak
// for it.
func (d *Dispatcher) HoldsAttempt(nodeID string, ref job.Ref) bool {
	_, holds := d.AttemptModels(nodeID, ref)
	return holds
}

// AttemptModels answers which models the job of an attempt may call; false
// when the node does not hold it.
func (d *Dispatcher) AttemptModels(nodeID string, ref job.Ref) (models []string, holds bool) {
	type answer struct {
		models []string
		holds  bool
	}
	// Asking the owner takes microseconds, and it answers until it stops.
	got, err := mailbox.Ask(context.Background(), d.box, func() answer {
		a := d.held(nodeID, ref)
		if a == nil {
			return answer{}
		}
		return answer{a.job.Spec.Models(), true}
	})
	if err != nil {
		return nil, false
	}
	return got.models, got.holds
}

// JobsOn answers how many jobs a node holds.
func (d *Dispatcher) JobsOn(nodeID string) int { return d.cfg.Cluster.Held(nodeID).Slots }

// attemptsOf answers a node's attempts, ordered by job.
func (d *Dispatcher) attemptsOf(nodeID string) []*attempt {
	return slices.SortedFunc(maps.Values(d.byNode[nodeID]), func(a, b *attempt) int {
		return strings.Compare(a.ref.JobID, b.ref.JobID)
	})
}
