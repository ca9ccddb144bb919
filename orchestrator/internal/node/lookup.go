package node

import (
	"cmp"
	"slices"

	"github.com/orchion/orchion/orchestrator/internal/label"
)

// Filter narrows List. Zero values do not narrow, except that States empty
// means the active ones.
type Filter struct {
	States []State
	Labels label.Selector
	// Limit is how many nodes a page holds; 0: all.
	Limit int
	// After is the id after which the page starts.
	After string
}

// Page is one page of nodes; Next is empty on the last. Total counts what
// matches over all pages.
type Page struct {
	Nodes []*Node
	Next  string
	Total int
}

// Get answers a node, active or known.
func (r *Registry) Get(id string) (*Node, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.entries[id]
	if !ok {
		return nil, false
	}
	return e.latest(), true
}

// Active answers the active nodes, ordered by id.
func (r *Registry) Active() []*Node {
	r.mu.Lock()
	defer r.mu.Unlock()
	nodes := make([]*Node, 0, r.active.size)
	for _, e := range r.sortedLocked() {
		if e.node.State.Active() {
			nodes = append(nodes, e.latest())
		}
	}
	return nodes
}

// Count answers how many nodes are in each state.
func (r *Registry) Count() map[State]int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	counts := map[State]int{Online: 0, Draining: 0, Offline: len(r.entries) - r.active.size}
	for e := r.active.front; e != nil; e = e.next {
		counts[e.node.State]++
	}
	return counts
}

// List answers one page of the nodes that match, ordered by id.
func (r *Registry) List(f Filter) Page {
	r.mu.Lock()
	nodes := make([]*Node, 0, len(r.entries))
	for _, e := range r.sortedLocked() {
		nodes = append(nodes, e.latest())
	}
	r.mu.Unlock()

	var page Page
	for _, n := range nodes {
		if !f.matches(n) {
			continue
		}
		page.Total++
		switch {
		case f.After != "" && n.ID <= f.After:
		case f.Limit > 0 && len(page.Nodes) == f.Limit:
			page.Next = page.Nodes[f.Limit-1].ID
		default:
			page.Nodes = append(page.Nodes, n)
		}
	}
	return page
}

func (f Filter) matches(n *Node) bool {
	if len(f.States) == 0 {
		if !n.State.Active() {
			return false
		}
	} else if !slices.Contains(f.States, n.State) {
		return false
	}
	return f.Labels.Matches(n.Labels)
}

func (r *Registry) sortedLocked() []*entry {
	if r.sorted == nil {
		r.sorted = make([]*entry, 0, len(r.entries))
		for _, e := range r.entries {
			r.sorted = append(r.sorted, e)
		}
		slices.SortFunc(r.sorted, func(a, b *entry) int { return cmp.Compare(a.node.ID, b.node.ID) })
	}
	return r.sorted
}
