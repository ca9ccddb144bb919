package model

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/scheduler"
)

// evictAfter is how long nobody must have asked for a model until a replica of
// it makes room for another. It keeps two models that are asked in turn from
// loading for each question.
const evictAfter = 5 * time.Second

// makeRoom has idle replicas of other deployments stopped, those that were used
// least recently, when a replica of d that fits nowhere does fit with their room.
// It answers what is waited for; empty: nothing that could be stopped would help.
func (m *Manager) makeRoom(d *deployment, now time.Time, wake *wakeup) (waitsFor string) {
	idle, ending := m.idleBeside(d, now, wake)
	victims := ending
	for rank, r := range idle {
		victims = append(victims, scheduler.Victim{NodeID: r.NodeID, Holder: holder(r.ID), Priority: rank})
	}
	if len(victims) == 0 {
		return ""
	}
	work := *d.work
	work.Avoid = m.avoided(d)
	// A replica of its own that still stops keeps a node from it only as long.
	maps.DeleteFunc(work.Avoid, func(_, why string) bool { return why == stillStops })
	relief := m.cfg.Cluster.Relieve(&work, victims)
	if relief == nil {
		return ""
	}
	for _, victim := range relief.End {
		i := slices.IndexFunc(idle, func(r *replica) bool { return holder(r.ID) == victim.Holder })
		m.evict(idle[i], d, now, wake)
	}
	return m.whoMakesRoom(d, relief.NodeID)
}

func makesRoomFor(d *deployment) string { return "makes room for deployment " + d.Name }

// whoMakesRoom names the deployments of which replicas on a node make room for d.
func (m *Manager) whoMakesRoom(d *deployment, nodeID string) string {
	var names []string
	for _, r := range m.on(nodeID) {
		if r.Remove && r.why == makesRoomFor(d) && !slices.Contains(names, r.Deployment) {
			names = append(names, r.Deployment)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf("idle replicas make room on node %s: of %s", nodeID, strings.Join(names, ", "))
}

// idleBeside answers the replicas of other deployments that may be stopped for
// d, the one used least recently first, and those that stop anyway.
func (m *Manager) idleBeside(d *deployment, now time.Time, wake *wakeup) (idle []*replica, ending []scheduler.Victim) {
	usedAt := make(map[*replica]time.Time)
	for _, other := range m.deployments {
		for _, r := range other.replicas {
			switch {
			case r.NodeID == "":
			case r.Remove:
				ending = append(ending, scheduler.Victim{NodeID: r.NodeID, Holder: holder(r.ID), Ending: true})
			case other == d || r.State != Ready || !m.isIdle(other, r):
			default:
				used := latest(other.scaling.neededAt[0], m.demands[other.Spec.Model].LastUsed, r.ReadyAt)
				if from := used.Add(evictAfter); now.Before(from) {
					wake.at(from)
					continue
				}
				usedAt[r] = used
				idle = append(idle, r)
			}
		}
	}
	slices.SortFunc(idle, func(a, b *replica) int {
		if by := usedAt[a].Compare(usedAt[b]); by != 0 {
			return by
		}
		return a.number - b.number
	})
	return idle, ending
}

// isIdle says whether a replica is one that may be without work, and is.
func (m *Manager) isIdle(d *deployment, r *replica) bool {
	if !d.Spec.Scales() || d.Spec.MinReplicas > 0 || d.Deleting {
		return false
	}
	demand := m.demands[d.Spec.Model]
	busy := m.cfg.Busy != nil && m.cfg.Busy(d.Spec.Model, r.NodeID, r.ID)
	return !busy && demand.InFlight == 0 && demand.Queued == 0
}

// evict has an idle replica stopped for another deployment.
func (m *Manager) evict(r *replica, beneficiary *deployment, now time.Time, wake *wakeup) {
	d := m.deployments[r.Deployment]
	r.why = makesRoomFor(beneficiary)
	if !m.remove(d, r, now) {
		r.why = ""
		return
	}
	d.scaling.forgo(now)
	d.setWant(d.scaling.want)
	d.evictedFor = beneficiary.Name
	d.touch()
	wake.at(now) // it may have been looked at in this round
	m.cfg.Logger.Info("idle replica makes room", "replica", r.ID, "node", r.NodeID, "for", beneficiary.Name)
}

func latest(times ...time.Time) time.Time {
	return slices.MaxFunc(times, time.Time.Compare)
}
