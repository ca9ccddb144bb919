package model

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
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
		Tolerations:  d.Spec.Tolerations,
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
	if m.unremoved {
		m.unremoved = false
		wake.at(now.Add(storeRetry))
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
	return n.State == node.Online && n.Drain == nil
}

// isExpected says whether a node that is not there is only late after our own
// restart, or silent while nothing is to be replaced.
func (m *Manager) isExpected(nodeID string, now time.Time) bool {
	return m.paused || !m.seen[nodeID] && now.Before(m.startedAt.Add(m.cfg.StartGrace))
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
		default:
			wake.at(r.stopBy)
			continue
		}
		if m.replicas[r.ID] == r { // the store failed
			wake.at(now.Add(storeRetry))
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
