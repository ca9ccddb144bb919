package scheduler

import "slices"

// Room is at least what any of some nodes has left, of each thing by itself. It
// tells quickly of most work that fits on none of them.
type Room struct {
	cpuMillis, memory, disk int64
	gpus                    int
	slot, runtime, any      bool
}

// raise takes a node into account.
func (r *Room) raise(c *Candidate) {
	if !c.Connected || !isTaking(nil, c) {
		return
	}
	r.any = true
	r.cpuMillis = max(r.cpuMillis, cpuMillis(c.Node)-c.Held.CPUMillis)
	r.memory = max(r.memory, freeMemory(c))
	r.disk = max(r.disk, freeDisk(c))
	r.gpus = max(r.gpus, len(c.Node.Capabilities.GPUs))
	r.slot = r.slot || c.Held.Slots < Slots(c.Node)
	r.runtime = r.runtime || len(c.Node.Capabilities.Runtimes) > 0
}

// MayFit is false only for work that fits on none of the nodes.
func (r *Room) MayFit(w *Work) bool {
	needs := &w.Resources
	return r.any && (r.slot || !w.TakesSlot) && (r.runtime || !w.NeedsRuntime) &&
		needs.CPUMillis <= r.cpuMillis && needs.MemoryBytes <= r.memory && needs.DiskBytes <= r.disk &&
		(!w.needsGPU() || max(needs.GPUs, 1) <= r.gpus)
}

// Room answers what some nodes have left now.
func (cl *Cluster) Room(nodeIDs []string) Room {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	var room Room
	for _, id := range nodeIDs {
		if p := cl.places[id]; p != nil && p.Node != nil {
			room.raise(&p.Candidate)
		}
	}
	return room
}

// blockSize is of how many active nodes in a row the room is known together.
const blockSize = 64

// block is the room of some active nodes. What they get is added to it at once;
// what is taken from them, when a search finds nothing there.
type block struct {
	room  Room
	stale bool
}

// blocksLocked are the blocks of the active nodes, made anew after one came or
// went.
func (cl *Cluster) blocksLocked() []block {
	if cl.blocks != nil || len(cl.active) == 0 {
		return cl.blocks
	}
	cl.blocks = make([]block, (len(cl.active)+blockSize-1)/blockSize)
	for i, c := range cl.active {
		c.at = i
		cl.blocks[i/blockSize].room.raise(c)
	}
	return cl.blocks
}

// changedLocked notes that a node has more or less room than before.
func (cl *Cluster) changedLocked(c *Candidate) {
	if cl.blocks == nil || c.Node == nil {
		return
	}
	b := &cl.blocks[c.at/blockSize]
	b.room.raise(c)
	b.stale = true
}

// searchLocked is Pick among all active nodes, past those of whose blocks it is
// known that they have no room.
func (cl *Cluster) searchLocked(w *Work, from int) *Candidate {
	s := newSearch(w)
	blocks := cl.blocksLocked()
	for looked := 0; looked < len(cl.active); {
		at := (from + looked) % len(cl.active)
		b := &blocks[at/blockSize]
		nodes := cl.active[at:min((at/blockSize+1)*blockSize, len(cl.active))]
		nodes = nodes[:min(len(nodes), len(cl.active)-looked)]
		looked += len(nodes)
		if !b.room.MayFit(w) {
			continue
		}
		if slices.ContainsFunc(nodes, s.look) {
			return s.best
		}
		if s.fitted == 0 && b.stale {
			cl.tightenLocked(b, at/blockSize)
		}
		s.fitted = 0
	}
	return s.best
}

// tightenLocked finds out what room a block really has.
func (cl *Cluster) tightenLocked(b *block, number int) {
	*b = block{}
	for _, c := range cl.active[number*blockSize : min((number+1)*blockSize, len(cl.active))] {
		b.room.raise(c)
	}
}
