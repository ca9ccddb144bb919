package model

import "time"

// Demand takes over what clients want of a model, by the name that its
// deployments have. Say it when it changes, not for each request. It does not
// block, and costs next to nothing when no deployment of the model scales.
func (m *Manager) Demand(model string, d Demand) {
	if !m.published.Load().scaling[model] {
		return
	}
	m.box.Post(func() { m.demands[model] = d })
}

// scale has the wanted numbers of the deployments that scale follow the demand.
// Several of one model share it, by their names.
func (m *Manager) scale(ordered []*deployment, now time.Time, wake *wakeup) {
	var rest map[string]Demand
	for _, d := range ordered {
		if !d.Spec.Scales() || d.Deleting {
			continue
		}
		demand, shared := rest[d.Spec.Model]
		if !shared {
			demand = m.demands[d.Spec.Model].beside(m.others(d.Spec.Model), d.Spec.target())
		}
		before := d.scaling.want
		want, next := d.scaling.decide(&d.Spec, demand, d.serving(), now)
		if want != before {
			m.cfg.Logger.Info("deployment scales", "deployment", d.Name, "from", before, "to", want,
				"queued", demand.Queued, "in_flight", demand.InFlight)
		}
		if !next.IsZero() {
			wake.at(next)
		}
		left := demand.beside(want, d.Spec.target())
		if want < d.Spec.MaxReplicas {
			left.Queued = 0 // this one grows for those
		}
		if rest == nil {
			rest = make(map[string]Demand)
		}
		rest[d.Spec.Model] = left
	}
}

// beside is what is left of a demand beside so many replicas that serve it.
func (d Demand) beside(replicas, target int) Demand {
	if replicas > 0 {
		d.InFlight = max(0, d.InFlight-replicas*target)
		d.LastUsed = time.Time{}
	}
	return d
}

// others counts the ways to a model that do not scale: those of other
// deployments and those to engines that nodes have adopted.
func (m *Manager) others(model string) int {
	others := 0
	for _, r := range m.published.Load().routes[model] {
		if d := m.deployments[r.Deployment]; d == nil || !d.Spec.Scales() {
			others++
		}
	}
	return others
}

// serving counts the replicas that serve.
func (d *deployment) serving() int {
	serving := 0
	for _, r := range d.replicas {
		if r.State == Ready && !r.Remove {
			serving++
		}
	}
	return serving
}
