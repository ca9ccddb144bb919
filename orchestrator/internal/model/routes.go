package model

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// snapshot is what readers see. It is never changed, only replaced.
type snapshot struct {
	deployments []Deployment // ordered by name
	routes      map[string][]Route
	scaling     map[string]bool // models with deployments that scale
	models      []ModelInfo     // ordered by id
	// replaced is closed when there is a newer one.
	replaced chan struct{}
}

func newSnapshot() *snapshot {
	return &snapshot{routes: make(map[string][]Route), replaced: make(chan struct{})}
}

func (s *snapshot) deployment(name string) (Deployment, bool) {
	i, found := slices.BinarySearchFunc(s.deployments, name, func(d Deployment, name string) int {
		return strings.Compare(d.Name, name)
	})
	if !found {
		return Deployment{}, false
	}
	return s.deployments[i], true
}

// Routes answers the ways to a model by the name that clients use, ready ones
// only. What it answers is shared and not to be changed.
func (m *Manager) Routes(model string) []Route { return m.published.Load().routes[model] }

// Models answers the models that have a route, ordered by id. What it answers
// is shared and not to be changed.
func (m *Manager) Models() []ModelInfo { return m.published.Load().models }

// Changed gives a channel that is closed when what List, Routes or Models answer has changed
// since Changed was called.
func (m *Manager) Changed() <-chan struct{} { return m.published.Load().replaced }

// publish makes what has changed visible to readers, and tells of it.
func (m *Manager) publish() {
	last := m.published.Load()
	var changed []Deployment
	next := &snapshot{routes: last.routes, models: last.models, replaced: make(chan struct{})}
	for _, d := range m.ordered() {
		known, ok := last.deployment(d.Name)
		if d.changed || !ok {
			known = d.public()
			d.changed = false
			changed = append(changed, known)
		}
		next.deployments = append(next.deployments, known)
	}
	removed := m.removed
	m.removed = nil
	if m.rerouted {
		m.rerouted = false
		next.routes, next.models = m.route(next.deployments)
	} else if len(changed) == 0 && len(removed) == 0 {
		return
	}
	next.scaling = scalingModels(next.deployments)
	maps.DeleteFunc(m.demands, func(model string, _ Demand) bool { return !next.scaling[model] })
	m.published.Store(next)
	close(last.replaced)
	for i := range changed {
		m.cfg.Events(&changed[i])
	}
	for _, name := range removed {
		m.cfg.Removed(name)
	}
}

// route makes the routes from the replicas that are ready and from the engines
// that nodes have adopted.
func (m *Manager) route(deployments []Deployment) (map[string][]Route, []ModelInfo) {
	infos := make(map[string]*ModelInfo)
	add := func(r Route, created time.Time) {
		info := infos[r.Model]
		if info == nil {
			info = &ModelInfo{ID: r.Model, Created: created}
			infos[r.Model] = info
		}
		if created.Before(info.Created) {
			info.Created = created
		}
		info.Routes = append(info.Routes, r)
	}
	type served struct{ nodeID, model string }
	external := make(map[served]bool)
	for i := range deployments {
		d := &deployments[i]
		for _, r := range d.Replicas {
			if _, there := m.cfg.Cluster.Node(r.NodeID); r.State != Ready || r.Remove || !there {
				continue
			}
			if d.Spec.Engine == External {
				external[served{r.NodeID, d.Spec.Model}] = true
			}
			add(Route{
				Model: d.Spec.Model, ServedModel: cmp.Or(r.ServedModel, d.Spec.Model), NodeID: r.NodeID,
				ReplicaID: r.ID, Deployment: d.Name, Engine: d.Spec.Engine.String(),
				MaxInFlight: d.Spec.maxInFlight(), MaxQueued: d.Spec.maxQueued(),
			}, d.CreatedAt)
		}
	}
	for _, n := range m.adopted {
		for _, engine := range n.Capabilities.Engines {
			for _, name := range engine.Models {
				// An external deployment is the same engine under another name.
				if !external[served{n.ID, name}] {
					add(Route{Model: name, ServedModel: name, NodeID: n.ID, EngineEndpoint: engine.Endpoint, Engine: engine.Name}, n.RegisteredAt)
				}
			}
		}
	}
	routes := make(map[string][]Route, len(infos))
	models := make([]ModelInfo, 0, len(infos))
	for _, id := range slices.Sorted(maps.Keys(infos)) {
		info := infos[id]
		slices.SortFunc(info.Routes, func(a, b Route) int {
			return cmp.Or(strings.Compare(a.NodeID, b.NodeID), strings.Compare(a.ReplicaID, b.ReplicaID), strings.Compare(a.EngineEndpoint, b.EngineEndpoint))
		})
		routes[id] = info.Routes
		models = append(models, *info)
	}
	return routes, models
}

// scalingModels are the models of the deployments that scale.
func scalingModels(deployments []Deployment) map[string]bool {
	models := make(map[string]bool)
	for i := range deployments {
		if d := &deployments[i]; d.Spec.Scales() && !d.Deleting {
			models[d.Spec.Model] = true
		}
	}
	return models
}
