package model

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/node"
)

// NodeChanged takes over a node's new value, in the order of its changes; nil
// or offline: it is gone. It does not block.
func (m *Manager) NodeChanged(prev, next *node.Node) {
	m.cfg.Cluster.NodeChanged(prev, next)
	m.box.Post(func() { m.nodeChanged(prev, next) })
}

func (m *Manager) nodeChanged(prev, next *node.Node) {
	if next == nil || !next.State.Active() {
		gone := prev
		if gone == nil {
			gone = next
		}
		if gone == nil {
			return
		}
		if _, had := m.adopted[gone.ID]; had {
			delete(m.adopted, gone.ID)
			m.rerouted = true
		}
		for _, r := range m.on(gone.ID) {
			if !r.Remove {
				m.set(r, Pending, "its node is offline")
			}
		}
		return
	}
	if time.Since(m.startedAt) < m.cfg.StartGrace { // later nobody asks
		m.seen[next.ID] = true
	}
	if _, had := m.adopted[next.ID]; had || len(next.Capabilities.Engines) > 0 {
		m.rerouted = true
	}
	if len(next.Capabilities.Engines) > 0 {
		m.adopted[next.ID] = next
	} else {
		delete(m.adopted, next.ID)
	}
	for _, r := range m.on(next.ID) {
		if r.State == Pending && (prev == nil || !prev.State.Active()) {
			m.set(r, Pending, "its node is back and has not said yet how it is")
		}
	}
}

// SetPaused says whether the replicas of nodes that are not there are kept
// where they are rather than placed elsewhere. It does not block.
func (m *Manager) SetPaused(paused bool) {
	m.box.Post(func() { m.paused = paused })
}

// NodeLeft says that a node left on purpose and has removed the replicas that
// it ran. It does not block.
func (m *Manager) NodeLeft(nodeID string) {
	m.box.Post(func() {
		for _, r := range m.on(nodeID) {
			m.forget(r, "its node left")
		}
	})
}

// Connected takes over what a node says as it connects and answers the
// replicas that it is to run. Attach the node's stream before and open it with
// the answer. The error is Unavailable or the context's.
func (m *Manager) Connected(ctx context.Context, nodeID string, hello []ReplicaStatus) ([]Assignment, error) {
	return ask(ctx, m, func() ([]Assignment, error) {
		said := make(map[string]bool, len(hello))
		for _, status := range hello {
			said[status.ReplicaID] = true
			m.observe(nodeID, status)
		}
		var set []Assignment
		for _, r := range m.on(nodeID) {
			switch {
			case r.Remove && !said[r.ID]:
				m.forget(r, "its node no longer has it")
			case r.Remove:
			default:
				if !said[r.ID] {
					m.set(r, Pending, "its node starts it")
				}
				set = append(set, m.assignment(r))
			}
		}
		return set, nil
	})
}

// ReplicaStatus takes over what a node observes of a replica. It does not
// block; once the manager has stopped, nothing happens.
func (m *Manager) ReplicaStatus(_ context.Context, nodeID string, status ReplicaStatus) {
	m.box.Post(func() { m.observe(nodeID, status) })
}

func (m *Manager) observe(nodeID string, status ReplicaStatus) {
	r := m.replicas[status.ReplicaID]
	switch {
	case r == nil || r.NodeID != nodeID:
		if !status.Removed {
			m.cfg.Link.RemoveReplica(nodeID, status.ReplicaID)
		}
	case r.Remove && status.Removed:
		m.forget(r, "")
	case r.Remove:
		if r.finishBy.IsZero() {
			m.cfg.Link.RemoveReplica(nodeID, r.ID)
		}
	case status.Removed:
		m.failed(r, "it was removed on its node")
	case status.State == Failed:
		m.failed(r, status.Reason)
	default:
		m.progressed(r, status)
	}
}

// progressed takes over the state of a replica that has not failed.
func (m *Manager) progressed(r *replica, status ReplicaStatus) {
	if status.State == Stopping {
		// By itself, as when its node agent is being stopped: it serves no
		// more, and what the node does next decides the rest.
		m.set(r, Stopping, "its node stops it")
		return
	}
	if status.State < Pending || status.State > Ready {
		m.cfg.Logger.Warn("node said a state that replicas do not have", "replica", r.ID, "node", r.NodeID, "state", int(status.State))
		return
	}
	// Progress is of one pull from its beginning to its end: it is never shown
	// to go back, also when a node tells the story again.
	r.ProgressPercent = max(r.ProgressPercent, min(max(status.ProgressPercent, 0), 100))
	r.CompletedBytes = max(r.CompletedBytes, status.CompletedBytes)
	r.TotalBytes = max(r.TotalBytes, status.TotalBytes, r.CompletedBytes)
	if status.State == Pending && r.State > Pending && r.State < Ready {
		status.State = r.State
	}
	if status.State == Ready {
		r.ProgressPercent = 100
		r.failures = 0
		if r.State != Ready {
			r.ReadyAt = time.Now()
			m.cfg.Logger.Info("replica is ready", "replica", r.ID, "node", r.NodeID)
		}
	}
	if status.ServedModel != "" && status.ServedModel != r.ServedModel {
		r.ServedModel = status.ServedModel
		m.rerouted = true
	}
	m.set(r, status.State, status.Reason)
}

// failed notes that a replica failed, and when it is to be tried again.
func (m *Manager) failed(r *replica, reason string) {
	if reason == "" {
		reason = "its node did not say why"
	}
	if r.State != Failed {
		r.failures++
		wait := m.backoff(r.failures)
		r.retryAt = time.Now().Add(wait)
		m.cfg.Logger.Warn("replica failed", "replica", r.ID, "node", r.NodeID, "reason", reason, "retry_in", wait)
	}
	r.failure = reason
	m.set(r, Failed, fmt.Sprintf("%s (to be tried again at %s)", reason, r.retryAt.UTC().Format(time.TimeOnly+" UTC")))
}

// backoff is how long to wait after so many failures.
func (m *Manager) backoff(failures int) time.Duration {
	wait := m.cfg.InitialBackoff
	for range failures - 1 {
		if wait >= m.cfg.MaxBackoff {
			break
		}
		wait *= 2
	}
	return min(wait, m.cfg.MaxBackoff)
}

// set notes what is known of a replica now.
func (m *Manager) set(r *replica, state ReplicaState, reason string) {
	if (r.State == Ready) != (state == Ready) {
		m.rerouted = true
	}
	if state != Ready {
		r.ReadyAt = time.Time{}
	}
	if state == Ready && reason == "" {
		reason = r.against
	}
	r.State, r.Reason = state, reason
	if d := m.deployments[r.Deployment]; d != nil {
		d.touch()
	}
}

// on answers the replicas placed on a node, ordered by id.
func (m *Manager) on(nodeID string) []*replica {
	var on []*replica
	for _, d := range m.deployments {
		for _, r := range d.replicas {
			if r.NodeID == nodeID {
				on = append(on, r)
			}
		}
	}
	slices.SortFunc(on, func(a, b *replica) int { return strings.Compare(a.ID, b.ID) })
	return on
}

// ordered answers the deployments ordered by name.
func (m *Manager) ordered() []*deployment {
	return slices.SortedFunc(maps.Values(m.deployments), func(a, b *deployment) int { return strings.Compare(a.Name, b.Name) })
}
