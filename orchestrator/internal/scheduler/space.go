package scheduler

import (
	"maps"
	"slices"

	"github.com/orchion/orchion/orchestrator/internal/node"
)

// Space is what a node has left now, counting what was promised and what others
// were measured to use.
type Space struct {
	Node *node.Node
	// Connected: it can be told what to run.
	Connected   bool
	MemoryBytes int64
	// Of GPUs that somebody was given as a whole nothing is left.
	GPUs []GPUSpace
}

// GPUSpace is what is left of a GPU's memory.
type GPUSpace struct {
	Model, Vendor         string
	FreeBytes, TotalBytes int64
}

// Space answers what active nodes have left, ordered by id.
func (cl *Cluster) Space() []Space {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	all := make([]Space, 0, len(cl.active))
	for _, c := range cl.active {
		all = append(all, spaceOf(c))
	}
	return all
}

func spaceOf(c *Candidate) Space {
	s := Space{Node: c.Node, Connected: c.Connected, MemoryBytes: max(freeMemory(c), 0)}
	named := map[string]node.GPU{}
	for i, name := range gpuNames(c.Node.Capabilities.GPUs) {
		named[name] = c.Node.Capabilities.GPUs[i]
	}
	for _, free := range freeGPUs(c.Node.Capabilities.GPUs, c.others.gpus, c.Held.gpus) {
		gpu := named[free.name]
		delete(named, free.name)
		s.GPUs = append(s.GPUs, GPUSpace{Model: gpu.Model, Vendor: gpu.Vendor, FreeBytes: max(free.memory, 0), TotalBytes: gpu.MemoryBytes})
	}
	for _, name := range slices.Sorted(maps.Keys(named)) { // given to somebody as a whole
		gpu := named[name]
		s.GPUs = append(s.GPUs, GPUSpace{Model: gpu.Model, Vendor: gpu.Vendor, TotalBytes: gpu.MemoryBytes})
	}
	return s
}
