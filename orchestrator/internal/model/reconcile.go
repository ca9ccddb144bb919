package model

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/node"
	"github.com/orchion/orchion/orchestrator/internal/scheduler"
)

// deployment is a deployment as the manager works on it.
type deployment struct {
	Deployment // its Replicas stay empty
	replicas   []*replica
	work       *scheduler.Work
	digest     string // of what makes a replica out of date
	changed    bool   // since it was published
}

// replica is a replica as the manager works on it.
type replica struct {
	Replica
	number int // counts up: the higher, the newer
	// failures counts how often this replica and those that it replaces failed
	// since one was ready; failure is why the last did, and avoid where.
	failures int
	failure  string
	avoid    string
	retryAt  time.Time // when Failed: when to try again
	stopBy   time.Time // when Remove: when it is forgotten at the latest
}

func newDeployment(d *Deployment) *deployment {
	own := &deployment{Deployment: *d, digest: digestOf(&d.Spec)}
	own.Replicas = nil
	// Checked when it was created; one that cannot be read any more would only
	// let replicas run in more places.
	constraints, _ := scheduler.ParseConstraints(d.Spec.Constraints)
	own.work = &scheduler.Work{
		Resources:    d.Spec.Resources,
		Constraints:  constraints,
		NeedsRuntime: d.Spec.Engine != External,
	}
	if d.Spec.Engine == External {
		own.work.AdoptedModel = d.Spec.Model
	}
	return own
}

// digestOf is the same for two specs when a replica of the one is as good as a
// replica of the other. It is part of the ids of replicas, so that those of an
// older spec are told apart without keeping their spec.
func digestOf(s *Spec) string {
	data, err := json.Marshal(Spec{Model: s.Model, Engine: s.Engine, Image: s.Image, Args: slices.Clip(s.Args), Resources: s.Resources})
	if err != nil {
		data = []byte(s.Model) // plain structs always encode
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:3])
}

func (d *deployment) touch() { d.changed = true }

// public is the deployment with its replicas, for readers.
func (d *deployment) public() Deployment {
	p := d.Deployment
	p.Replicas = make([]Replica, 0, len(d.replicas))
	for _, r := range d.replicas {
		p.Replicas = append(p.Replicas, r.Replica)
	}
	return p
}

func (d *deployment) outdated(r *replica) bool {
	return !strings.HasPrefix(r.ID, d.Name+"-"+d.digest+"-")
}

// holder names a replica in the cluster.
func holder(replicaID string) string { return "replica/" + replicaID }

// reconcile does what is to be done now and answers when there is more to do;
// zero: when something happens.
func (m *Manager) reconcile(now time.Time) (next time.Time) {
	wake := wakeup{}
	search := now.Sub(m.scanned) >= scanPause
	if search {
		m.rescan = false
	}
	for _, d := range m.ordered() {
		m.reconcileOne(d, now, search, &wake)
	}
	if search {
		m.scanned = now
	} else if m.rescan || wake.unplaced {
		wake.at(m.scanned.Add(scanPause))
	}
	if grace := m.startedAt.Add(m.cfg.StartGrace); now.Before(grace) && len(m.replicas) > 0 {
		wake.at(grace)
	}
	return wake.next
}

// wakeup collects when there is more to do.
type wakeup struct {
	next     time.Time
	unplaced bool // something is to be placed that was not tried
}

func (w *wakeup) at(t time.Time) {
	if w.next.IsZero() || t.Before(w.next) {
		w.next = t
	}
}

// reconcileOne brings one deployment's replicas to their wanted number.
func (m *Manager) reconcileOne(d *deployment, now time.Time, search bool, wake *wakeup) {
	m.clearStopped(d, now, wake)
	m.retryFailed(d, now, wake)

	want := d.Spec.Replicas
	if d.Deleting {
		want = 0
	}
	steady, displaced, unplaced := m.sort(d, now)
	m.replaceOutdated(d, steady, unplaced)
	m.shrink(d, want, steady, displaced, unplaced)
	m.clearStopped(d, now, wake)

	steady, displaced, unplaced = m.sort(d, now)
	if len(steady) < want {
		m.grow(d, want, steady, displaced, unplaced, search, wake)
	}
	if d.Deleting && len(d.replicas) == 0 {
		m.finishDelete(d, now, wake)
	}
}

// sort parts the wanted replicas into those on nodes that are there to stay,
// those on nodes that are gone or draining, and those without a node.
func (m *Manager) sort(d *deployment, now time.Time) (steady, displaced, unplaced []*replica) {
	for _, r := range d.replicas {
		switch {
		case r.Remove:
		case r.NodeID == "":
			unplaced = append(unplaced, r)
		case m.isSteady(r.NodeID, now):
			steady = append(steady, r)
		default:
			displaced = append(displaced, r)
		}
	}
	return steady, displaced, unplaced
}

func (m *Manager) isSteady(nodeID string, now time.Time) bool {
	n, there := m.cfg.Cluster.Node(nodeID)
	if !there {
		return m.isExpected(nodeID, now)
	}
	return n.State == node.Online && !n.Drain
}

// isExpected says whether a node that is not there is only late after our own
// restart.
func (m *Manager) isExpected(nodeID string, now time.Time) bool {
	return !m.seen[nodeID] && now.Before(m.startedAt.Add(m.cfg.StartGrace))
}

// clearStopped forgets replicas that are to go away and whose nodes need not be
// waited for.
func (m *Manager) clearStopped(d *deployment, now time.Time, wake *wakeup) {
	for _, r := range slices.Clone(d.replicas) {
		if !r.Remove {
			continue
		}
		_, there := m.cfg.Cluster.Node(r.NodeID)
		switch {
		case !there && !m.isExpected(r.NodeID, now):
			m.forget(r, "its node is gone")
		case !now.Before(r.stopBy):
			m.forget(r, "its node did not say in time that it is gone")
		}
		if m.replicas[r.ID] == r {
			wake.at(cmp.Or(r.stopBy, now.Add(storeRetry)))
		}
	}
}

// retryFailed replaces failed replicas whose time has come.
func (m *Manager) retryFailed(d *deployment, now time.Time, wake *wakeup) {
	if d.Deleting {
		return
	}
	for _, r := range slices.Clone(d.replicas) {
		if r.Remove || r.State != Failed {
			continue
		}
		if now.Before(r.retryAt) {
			wake.at(r.retryAt)
			continue
		}
		if !m.remove(d, r, now) {
			wake.at(now.Add(storeRetry))
			continue
		}
		next := m.add(d)
		next.failures, next.failure, next.avoid = r.failures, r.failure, r.NodeID
		next.Reason = "tried again after: " + r.failure
	}
}

// replaceOutdated removes one replica of an older spec when nothing else is
// under way; growing then makes one of the new spec.
func (m *Manager) replaceOutdated(d *deployment, steady, unplaced []*replica) {
	var old *replica
	for _, r := range steady {
		switch {
		case d.outdated(r):
			if old == nil || worse(r, old) {
				old = r
			}
		case r.State != Ready:
			return
		}
	}
	stopping := slices.ContainsFunc(d.replicas, func(r *replica) bool { return r.Remove })
	if old != nil && !d.Deleting && !stopping && len(unplaced) == 0 {
		m.remove(d, old, time.Now())
	}
}

// shrink removes what is too much: first what has no node, then what serves
// least. Replicas on nodes that are gone or draining are kept until others
// serve in their place, in case that their nodes are back before.
func (m *Manager) shrink(d *deployment, want int, steady, displaced, unplaced []*replica) {
	ready := 0
	for _, r := range steady {
		if r.State == Ready {
			ready++
		}
	}
	m.removeBeyond(d, steady, want)
	m.removeBeyond(d, displaced, want-ready)
	m.removeBeyond(d, unplaced, want-len(steady))
}

// removeBeyond removes the worst of some replicas until so many are left.
func (m *Manager) removeBeyond(d *deployment, replicas []*replica, allowed int) {
	live := slices.DeleteFunc(slices.Clone(replicas), func(r *replica) bool { return r.Remove })
	slices.SortFunc(live, func(a, b *replica) int {
		if worse(a, b) {
			return -1
		}
		return 1
	})
	for _, r := range live[:max(0, len(live)-max(allowed, 0))] {
		m.remove(d, r, time.Now())
	}
}

// worse says whether a rather than b is given up: what does not serve, then
// the newest.
func worse(a, b *replica) bool {
	if (a.State == Ready) != (b.State == Ready) {
		return b.State == Ready
	}
	if (a.State == Failed) != (b.State == Failed) {
		return a.State == Failed
	}
	return a.number > b.number
}

// grow places replicas until enough are on nodes that are there to stay. Of
// those that find no place as many are kept, waiting, as are missing even with
// the replicas on other nodes.
func (m *Manager) grow(d *deployment, want int, steady, displaced, unplaced []*replica, search bool, wake *wakeup) {
	missing := want - len(steady)
	if !search && len(unplaced) >= missing-len(displaced) {
		wake.unplaced = true
		return
	}
	for missing > 0 {
		var r *replica
		if len(unplaced) > 0 {
			r, unplaced = unplaced[0], unplaced[1:]
		} else {
			r = m.add(d)
		}
		if !m.place(d, r, wake) {
			break
		}
		missing--
	}
	waiting := 0
	reason := ""
	for _, r := range slices.Clone(d.replicas) {
		if r.Remove || r.NodeID != "" {
			continue
		}
		if waiting >= missing-len(displaced) {
			m.discard(d, r)
			continue
		}
		if reason == "" {
			reason = r.Reason
		}
		waiting++
	}
	for ; waiting < missing-len(displaced); waiting++ {
		m.add(d).Reason = reason
	}
}

// place finds a node for a replica and sends it there.
func (m *Manager) place(d *deployment, r *replica, wake *wakeup) bool {
	work := *d.work
	work.Avoid = make(map[string]string)
	// Replicas share a node only when each has GPUs of its own there.
	for _, other := range d.replicas {
		switch {
		case other.NodeID == "" || d.Spec.Resources.GPUs > 0:
		case other.Remove:
			work.Avoid[other.NodeID] = "still stops a replica of this deployment"
		default:
			work.Avoid[other.NodeID] = "already runs a replica of this deployment"
		}
	}
	nodeID, ok := m.cfg.Cluster.Place(m.awayFrom(&work, r.avoid), holder(r.ID))
	if !ok {
		nodeID, ok = m.cfg.Cluster.Place(&work, holder(r.ID))
	}
	if !ok {
		m.wait(d, r, scheduler.Summary(m.cfg.Cluster.Explain(&work)))
		return false
	}
	placed := r.Replica
	placed.NodeID = nodeID
	if err := m.write(func(ctx context.Context) error { return m.cfg.Store.PutReplica(ctx, placed) }); err != nil {
		m.cfg.Cluster.Release(holder(r.ID))
		m.cfg.Logger.Error("replica could not be placed", "replica", r.ID, "node", nodeID, "error", err)
		m.wait(d, r, "its place could not be stored; see the orchestrator's log")
		wake.at(time.Now().Add(storeRetry))
		return false
	}
	r.NodeID = nodeID
	if r.failure == "" {
		r.Reason = ""
	}
	d.touch()
	m.cfg.Logger.Info("replica placed", "replica", r.ID, "node", nodeID)
	m.cfg.Link.AssignReplica(nodeID, m.assignment(r))
	return true
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
	m.made++
	r := &replica{number: m.made}
	r.ID = d.Name + "-" + d.digest + "-" + strings.ToLower(rand.Text()[:8])
	r.Deployment = d.Name
	r.State = Pending
	d.replicas = append(d.replicas, r)
	m.replicas[r.ID] = r
	d.touch()
	return r
}

// remove has a replica stopped on its node. False: the store failed, and the
// replica stays.
func (m *Manager) remove(d *deployment, r *replica, now time.Time) bool {
	if r.NodeID == "" {
		m.discard(d, r)
		return true
	}
	going := r.Replica
	going.Remove = true
	if err := m.write(func(ctx context.Context) error { return m.cfg.Store.PutReplica(ctx, going) }); err != nil {
		m.cfg.Logger.Error("replica could not be removed", "replica", r.ID, "error", err)
		return false
	}
	r.Remove = true
	r.stopBy = now.Add(m.cfg.StopTimeout)
	m.set(r, Stopping, "")
	m.cfg.Link.RemoveReplica(r.NodeID, r.ID)
	return true
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
	d.touch()
	m.rerouted = true
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
	a := Assignment{ReplicaID: r.ID, Deployment: r.Deployment}
	if d := m.deployments[r.Deployment]; d != nil {
		a.Spec = d.Spec
	}
	return a
}
