package scheduler

// image is a container image that some nodes have. Each name is kept once,
// however many have it.
type image struct {
	name  string
	nodes map[string]struct{} // by id
}

// SetImages takes over which images a node has, by the names that work prefers
// them under. What it had before is replaced.
func (cl *Cluster) SetImages(nodeID string, names []string) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	p := cl.places[nodeID]
	if p == nil || p.Node == nil {
		return // it says it again when it is back
	}
	cl.dropImagesLocked(p, nodeID)
	p.images = make([]*image, 0, len(names))
	for _, name := range names {
		i := cl.images[name]
		if i == nil {
			i = &image{name: name, nodes: make(map[string]struct{})}
			cl.images[name] = i
		}
		if _, twice := i.nodes[nodeID]; twice {
			continue
		}
		i.nodes[p.Node.ID] = struct{}{}
		p.images = append(p.images, i)
	}
}

func (cl *Cluster) dropImagesLocked(p *place, nodeID string) {
	for _, i := range p.images {
		if delete(i.nodes, nodeID); len(i.nodes) == 0 {
			delete(cl.images, i.name)
		}
	}
	p.images = nil
}

// pickLocked is Pick among all active nodes. When few of them have the image
// that the work needs, those are looked at wherever the search begins.
func (cl *Cluster) pickLocked(w *Work, from int) *Candidate {
	best := cl.searchLocked(w, from)
	if len(cl.active) <= enough || !w.Prefers.fewHolders() {
		return best
	}
	having := make([]*Candidate, 0, len(w.Prefers.holders))
	for id := range w.Prefers.holders {
		having = append(having, &cl.places[id].Candidate)
	}
	other := Pick(w, having, 0)
	switch {
	case best == nil || other == nil:
		return best
	case rank(w, other, nil) > rank(w, best, nil):
		return other
	default:
		return best
	}
}
