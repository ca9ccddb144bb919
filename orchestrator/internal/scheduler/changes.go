package scheduler

import "slices"

// Changes collects the nodes that gained room, for one watcher.
type Changes struct {
	cluster *Cluster
	ready   chan struct{}
	nodes   map[string]struct{} // guarded by cluster.mu
}

// Ready receives when nodes may have gained room.
func (ch *Changes) Ready() <-chan struct{} { return ch.ready }

// Take moves the nodes that gained room since the last call into a set.
func (ch *Changes) Take(into map[string]struct{}) {
	ch.cluster.mu.Lock()
	defer ch.cluster.mu.Unlock()
	for id := range ch.nodes {
		into[id] = struct{}{}
	}
	clear(ch.nodes)
}

// Stop ends collecting.
func (ch *Changes) Stop() {
	ch.cluster.mu.Lock()
	defer ch.cluster.mu.Unlock()
	ch.cluster.changes = slices.DeleteFunc(ch.cluster.changes, func(other *Changes) bool { return other == ch })
}

// Watch begins to collect the nodes that gained room: they are new, changed,
// connected, or hold less.
func (cl *Cluster) Watch() *Changes {
	ch := &Changes{cluster: cl, ready: make(chan struct{}, 1), nodes: make(map[string]struct{})}
	cl.mu.Lock()
	defer cl.mu.Unlock()
	cl.changes = append(cl.changes, ch)
	return ch
}

func (cl *Cluster) signalLocked(nodeID string) {
	for _, ch := range cl.changes {
		ch.nodes[nodeID] = struct{}{}
		select {
		case ch.ready <- struct{}{}:
		default:
		}
	}
}
