package fit

import (
	"fmt"
	"slices"

	"github.com/orchion/orchion/orchestrator/internal/model"
	"github.com/orchion/orchion/orchestrator/internal/scheduler"
)

// Place says how a model fits on a node, the best first.
type Place int

// The places. The zero value is none of them.
const (
	OnGPU Place = iota + 1
	PartlyOnGPU
	OnCPU
	None
)

// NodeFit says how a model fits on a node.
type NodeFit struct {
	NodeID, Hostname                  string
	Place                             Place
	Reason                            string
	GPUFreeBytes, GPUTotalBytes       int64
	MemoryFreeBytes, MemoryTotalBytes int64
	MissingBytes                      int64 // with None; 0 when it is not about memory
	Serving                           bool
	TokensPerSecond                   float64 // 0: unknown
	SpeedSource                       string
}

// usableShare is how much of a GPU vLLM takes (--gpu-memory-utilization).
const usableShare = 0.9

// place holds what a model needs against what a node has left.
func place(a *Answer, space *scheduler.Space) NodeFit {
	n := NodeFit{
		NodeID: space.Node.ID, Hostname: space.Node.Hostname, MemoryFreeBytes: space.MemoryBytes,
		MemoryTotalBytes: space.Node.Capabilities.MemoryBytes,
	}
	for _, gpu := range space.GPUs {
		n.GPUFreeBytes += gpu.FreeBytes
		n.GPUTotalBytes += gpu.TotalBytes
	}
	switch {
	case !space.Connected:
		n.Place, n.Reason = None, "is not connected"
	case a.Engine == model.External:
		n.external(a, space)
	case len(space.Node.Capabilities.Runtimes) == 0:
		n.Place, n.Reason = None, "has neither Docker nor Podman"
	case a.Engine == model.VLLM:
		n.vllm(a, space)
	default:
		n.ollama(a)
	}
	return n
}

// ollama spreads a model over all GPUs and puts what is left over into the
// machine's memory.
func (n *NodeFit) ollama(a *Answer) {
	total := a.Need.Total()
	switch {
	case n.GPUFreeBytes >= total:
		n.Place = OnGPU
		n.Reason = fmt.Sprintf("needs %s of the %s that are free on its GPUs", size(total), size(n.GPUFreeBytes))
	case n.GPUFreeBytes > a.Need.Overhead && n.GPUFreeBytes+n.MemoryFreeBytes >= total:
		n.Place = PartlyOnGPU
		n.Reason = fmt.Sprintf("%s of %s fit on its GPUs; the CPU does the rest, which is slow", size(n.GPUFreeBytes), size(total))
	case n.MemoryFreeBytes >= total && n.GPUTotalBytes > 0:
		n.Place = OnCPU
		n.Reason = fmt.Sprintf("only on the CPU, which is slow: %s of its GPUs' memory are free", size(n.GPUFreeBytes))
	case n.MemoryFreeBytes >= total:
		n.Place = OnCPU
		n.Reason = "only on the CPU, which is slow: it has no GPU"
	default:
		n.missing(total, n.GPUFreeBytes+n.MemoryFreeBytes, "of memory")
	}
}

// vllm needs GPUs of one kind, and splits a model over 1, 2, 4 or 8 of them.
func (n *NodeFit) vllm(a *Answer, space *scheduler.Space) {
	if n.GPUTotalBytes == 0 {
		n.Place, n.Reason = None, "has no GPU, and vLLM needs one"
		return
	}
	total := a.Need.Total()
	if gpus := n.gpus(a, space); gpus != nil {
		n.Place, n.Reason = OnGPU, "fits on one of its GPUs"
		if len(gpus) > 1 {
			n.Reason = fmt.Sprintf("fits on %d of its GPUs together (--gpus %d)", len(gpus), len(gpus))
		}
		return
	}
	free := int64(0)
	for _, gpu := range mostFree(space.GPUs) {
		free += usable(gpu)
	}
	n.missing(total, min(free, total-1), "of GPU memory")
}

// gpus are those that the model would be on: with vLLM as few as do; nil: none do.
func (n *NodeFit) gpus(a *Answer, space *scheduler.Space) []scheduler.GPUSpace {
	gpus := mostFree(space.GPUs)
	if a.Engine != model.VLLM {
		return gpus
	}
	for count := 1; count <= len(gpus); count *= 2 {
		each := a.Need.Total() / int64(count)
		if usable(gpus[count-1]) >= each {
			return gpus[:count]
		}
	}
	return nil
}

// usable is what vLLM can have of a GPU: it refuses to start when less than its
// share is free.
func usable(gpu scheduler.GPUSpace) int64 {
	share := int64(float64(gpu.TotalBytes) * usableShare)
	if gpu.FreeBytes < share {
		return 0
	}
	return share
}

func mostFree(gpus []scheduler.GPUSpace) []scheduler.GPUSpace {
	gpus = slices.Clone(gpus)
	slices.SortStableFunc(gpus, func(a, b scheduler.GPUSpace) int {
		switch {
		case a.FreeBytes > b.FreeBytes:
			return -1
		case a.FreeBytes < b.FreeBytes:
			return 1
		}
		return 0
	})
	return gpus
}

// external is about engines that run without us: they have the model or not.
func (n *NodeFit) external(a *Answer, space *scheduler.Space) {
	for _, engine := range space.Node.Capabilities.Engines {
		for _, name := range engine.Models {
			if sameModel(name) != sameModel(a.Model) {
				continue
			}
			n.ollama(a)
			if n.Place == None { // it may be loaded already
				n.Place, n.Reason, n.MissingBytes = OnCPU, "its engine has the model; the memory that is free would not do if it is not loaded yet", 0
			}
			return
		}
	}
	n.Place, n.Reason = None, "no engine that runs there has the model"
}

func (n *NodeFit) missing(total, free int64, what string) {
	n.Place, n.MissingBytes = None, total-free
	n.Reason = fmt.Sprintf("needs %s %s; %s are missing", size(total), what, size(n.MissingBytes))
}

// size writes bytes for people.
func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d bytes", n)
}
