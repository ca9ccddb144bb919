package model

import (
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/scheduler"
)

// place finds a node for a replica and sends it there. It answers which nodes
// the replica must not go to, and what went wrong, if it was something else than
// that there is no room.
func (m *Manager) place(d *deployment, r *replica, fits *Suitability, wake *wakeup) (placed bool, avoid map[string]string, trouble string) {
	work := *d.work
	work.Avoid = fits.avoid(m.avoided(d))
	nodeID, ok := m.pick(&work, r, fits)
	if !ok {
		return false, work.Avoid, ""
	}
	there := r.Replica
	there.NodeID, there.GPUs = nodeID, m.cfg.Cluster.GPUs(holder(r.ID))
	if err := m.write(func(ctx context.Context) error { return m.cfg.Store.PutReplica(ctx, there) }); err != nil {
		m.cfg.Cluster.Release(holder(r.ID))
		m.cfg.Logger.Error("replica could not be placed", "replica", r.ID, "node", nodeID, "error", err)
		wake.at(time.Now().Add(storeRetry))
		return false, nil, "its place could not be stored; see the orchestrator's log"
	}
	r.NodeID, r.GPUs = there.NodeID, there.GPUs
	r.against = fits.against(nodeID)
	if r.failure == "" {
		r.Reason = r.against
	}
	d.touch()
	m.cfg.Logger.Info("replica placed", "replica", r.ID, "node", nodeID)
	m.cfg.Link.AssignReplica(nodeID, m.assignment(r))
	return true, nil, ""
}

// stillStops is why a node gets no replica that soon may.
const stillStops = "still stops a replica of this deployment"

// avoided are the nodes that another replica of a deployment must not go to.
// Replicas share a node only when each has GPUs of its own there.
func (m *Manager) avoided(d *deployment) map[string]string {
	avoid := make(map[string]string)
	for _, other := range d.replicas {
		switch {
		case other.NodeID == "" || d.Spec.Resources.GPUs > 0 && !d.Spec.Everywhere:
		case other.Remove:
			avoid[other.NodeID] = stillStops
		default:
			avoid[other.NodeID] = "already runs a replica of this deployment"
		}
	}
	return avoid
}

// whyNowhere says why no node can take a replica.
func (m *Manager) whyNowhere(d *deployment, avoid map[string]string) string {
	work := *d.work
	work.Avoid = avoid
	return scheduler.Summary(m.cfg.Cluster.Explain(&work))
}

// awayFrom is work that also avoids a node, if one is named.
func (m *Manager) awayFrom(work *scheduler.Work, nodeID string) *scheduler.Work {
	if nodeID == "" {
		return work
	}
	further := *work
	further.Avoid = maps.Clone(work.Avoid)
	further.Avoid[nodeID] = "a replica has just failed there"
	return &further
}

// wait notes why a replica has no node.
func (m *Manager) wait(d *deployment, r *replica, reason string) {
	if r.failure != "" {
		reason += " (tried again after: " + r.failure + ")"
	}
	if r.Reason != reason {
		r.Reason = reason
		d.touch()
	}
}

// add makes a replica that has no node yet. It lives in memory until it has.
func (m *Manager) add(d *deployment) *replica {
	r := m.newReplica(d)
	m.enter(d, r)
	return r
}

// newReplica makes a replica that nobody knows of yet.
func (m *Manager) newReplica(d *deployment) *replica {
	m.made++
	r := &replica{number: m.made}
	r.ID = d.Name + "-" + d.digest + "-" + strings.ToLower(rand.Text()[:8])
	r.Deployment = d.Name
	r.State = Pending
	return r
}

// enter makes a replica one of its deployment's.
func (m *Manager) enter(d *deployment, r *replica) {
	d.replicas = append(d.replicas, r)
	m.replicas[r.ID] = r
	d.evictedFor = ""
	d.touch()
}

// remove has a replica stopped on its node, when it has answered the requests
// that it has. False: the store failed, and the replica stays.
func (m *Manager) remove(d *deployment, r *replica, now time.Time) bool {
	if r.NodeID == "" {
		m.discard(d, r)
		return true
	}
	going := r.Replica
	going.Remove = true
	if err := m.write(func(ctx context.Context) error { return m.cfg.Store.PutReplica(ctx, going) }); err != nil {
		m.cfg.Logger.Error("replica could not be removed", "replica", r.ID, "error", err)
		m.unremoved = true
		return false
	}
	r.Remove = true
	if r.State == Ready && m.cfg.Busy != nil {
		finish := m.cfg.FinishTimeout
		if d.Deleting {
			finish = min(finish, deleteFinish)
		}
		r.finishBy, r.lookAt = now.Add(finish), now.Add(finishPause)
		r.stopBy = r.finishBy.Add(m.cfg.StopTimeout)
		reason := "finishes the requests that it has"
		if r.why != "" {
			reason = r.why + ", and " + reason
		}
		m.set(r, Stopping, reason)
		return true
	}
	m.stopReplica(r, now)
	return true
}

// stopReplica tells a node to stop a replica.
func (m *Manager) stopReplica(r *replica, now time.Time) {
	r.finishBy = time.Time{}
	r.stopBy = now.Add(m.cfg.StopTimeout)
	m.set(r, Stopping, r.why)
	m.cfg.Link.RemoveReplica(r.NodeID, r.ID)
}

// finish stops those replicas that are to go and have answered their requests.
func (m *Manager) finish(d *deployment, now time.Time, wake *wakeup) {
	for _, r := range d.replicas {
		switch {
		case r.finishBy.IsZero():
		case now.Before(r.lookAt):
			wake.at(r.lookAt)
		case now.Before(r.finishBy) && m.cfg.Busy(d.Spec.Model, r.NodeID, r.ID):
			r.lookAt = now.Add(finishPause)
			wake.at(r.lookAt)
		default:
			m.stopReplica(r, now)
		}
	}
}

// forget drops a replica whose node has removed it or is not waited for. When
// the store fails it stays, and is tried again at the next occasion.
func (m *Manager) forget(r *replica, why string) {
	err := m.write(func(ctx context.Context) error { return m.cfg.Store.DeleteReplica(ctx, r.ID) })
	if err != nil && !isGone(err) {
		m.cfg.Logger.Error("replica could not be forgotten", "replica", r.ID, "error", err)
		return
	}
	if why != "" {
		m.cfg.Logger.Info("replica forgotten", "replica", r.ID, "node", r.NodeID, "why", why)
	}
	if d := m.deployments[r.Deployment]; d != nil {
		m.discard(d, r)
	}
}

// discard drops a replica from memory.
func (m *Manager) discard(d *deployment, r *replica) {
	m.cfg.Cluster.Release(holder(r.ID))
	delete(m.replicas, r.ID)
	d.replicas = slices.DeleteFunc(d.replicas, func(other *replica) bool { return other == r })
	d.filled = false
	d.touch()
	m.rerouted = true
	if r.why != "" {
		m.scanned = time.Time{} // before others take the room
	}
}

func (m *Manager) finishDelete(d *deployment, now time.Time, wake *wakeup) {
	err := m.write(func(ctx context.Context) error { return m.cfg.Store.DeleteDeployment(ctx, d.Name) })
	if err != nil && !isGone(err) {
		m.cfg.Logger.Error("deployment could not be deleted", "deployment", d.Name, "error", err)
		wake.at(now.Add(storeRetry))
		return
	}
	delete(m.deployments, d.Name)
	m.removed = append(m.removed, d.Name)
	m.cfg.Logger.Info("deployment deleted", "deployment", d.Name)
}

// assignment is what a node is told of a replica.
func (m *Manager) assignment(r *replica) Assignment {
	a := Assignment{ReplicaID: r.ID, Deployment: r.Deployment, GPUs: r.GPUs}
	if d := m.deployments[r.Deployment]; d != nil {
		a.Spec = d.Spec
	}
	return a
}
