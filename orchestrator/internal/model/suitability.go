package model

import (
	"maps"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/scheduler"
)

// Suitability says of nodes, by their ids, what is known against a model's going there.
type Suitability struct {
	// Never: they have less memory than the model needs.
	Never map[string]string
	// Taken: they have enough, but others use it now.
	Taken map[string]string
	// Slow: the model is on a CPU there, or partly.
	Slow map[string]string
}

// suit asks once for all replicas of a deployment that are placed together.
func (m *Manager) suit(d *deployment) Suitability {
	if m.cfg.Fits == nil || d.Spec.Resources != (job.Resources{}) {
		return Suitability{}
	}
	return m.cfg.Fits(&d.Spec)
}

// avoid adds the nodes that never do to those that are avoided anyway.
func (s *Suitability) avoid(nodes map[string]string) map[string]string {
	for id, why := range s.Never {
		if _, there := nodes[id]; !there {
			nodes[id] = why
		}
	}
	return nodes
}

// against says what speaks against a node that was taken nevertheless.
func (s *Suitability) against(nodeID string) string {
	if why := s.Taken[nodeID]; why != "" {
		return why
	}
	return s.Slow[nodeID]
}

// pick takes room on a node: not where the memory is taken, nor where the model is slow,
// nor where a replica has just failed, if that can be helped.
func (m *Manager) pick(work *scheduler.Work, r *replica, s *Suitability) (nodeID string, ok bool) {
	worse := []map[string]string{s.Taken, s.Slow}
	for ; len(worse) > 0; worse = worse[:len(worse)-1] {
		if len(worse[len(worse)-1]) == 0 {
			continue // it would be the same again
		}
		best := *work
		best.Avoid = maps.Clone(work.Avoid)
		for _, nodes := range worse {
			maps.Copy(best.Avoid, nodes)
		}
		if nodeID, ok = m.cfg.Cluster.Place(m.awayFrom(&best, r.avoid), holder(r.ID)); ok {
			return nodeID, true
		}
	}
	if nodeID, ok = m.cfg.Cluster.Place(m.awayFrom(work, r.avoid), holder(r.ID)); ok || r.avoid == "" {
		return nodeID, ok
	}
	return m.cfg.Cluster.Place(work, holder(r.ID))
}
