package scheduler

import (
	"cmp"
	"slices"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/node"
)

// gpuClaim is what a piece of work takes of one GPU: all of it, or only so
// much of its memory.
type gpuClaim struct {
	whole  bool
	memory int64  // bytes; 0: does not matter
	vendor string // empty: does not matter
}

// freeGPU is what is left of a GPU.
type freeGPU struct {
	memory int64
	vendor string
}

// takes says whether the claim fits there.
func (c gpuClaim) takes(gpu freeGPU) bool {
	return gpu.memory >= c.memory && (c.vendor == "" || c.vendor == gpu.vendor)
}

// gpuClaims answers what r takes: that many whole GPUs, or, when it counts
// none but names memory, a share of one.
func gpuClaims(r job.Resources) []gpuClaim {
	switch {
	case r.GPUs > 0:
		return slices.Repeat([]gpuClaim{{whole: true, memory: r.GPUMemoryBytes, vendor: r.GPUVendor}}, r.GPUs)
	case r.GPUMemoryBytes > 0:
		return []gpuClaim{{memory: r.GPUMemoryBytes, vendor: r.GPUVendor}}
	default:
		return nil
	}
}

// packGPUs says whether the claims fit on the GPUs together. Whole GPUs are
// given out first, to the claims that care for the vendor before the others,
// the hungriest claim first and to each the smallest GPU that does; shares then
// go where the least memory is left over.
func packGPUs(gpus []node.GPU, claims []gpuClaim) bool {
	if len(claims) == 0 {
		return true
	}
	free := make([]freeGPU, len(gpus))
	for i, gpu := range gpus {
		free[i] = freeGPU{gpu.MemoryBytes, gpu.Vendor}
	}
	byMemory := func(a, b freeGPU) int { return cmp.Compare(a.memory, b.memory) }
	slices.SortFunc(free, byMemory)
	claims = slices.Clone(claims)
	slices.SortFunc(claims, func(a, b gpuClaim) int {
		if a.whole != b.whole {
			if a.whole {
				return -1
			}
			return 1
		}
		// An empty vendor sorts last this way.
		return cmp.Or(cmp.Compare(b.vendor, a.vendor), cmp.Compare(b.memory, a.memory))
	})
	for _, claim := range claims {
		i := slices.IndexFunc(free, claim.takes)
		if i < 0 {
			return false
		}
		left := free[i]
		left.memory -= claim.memory
		free = slices.Delete(free, i, i+1)
		if !claim.whole {
			at, _ := slices.BinarySearchFunc(free, left, byMemory)
			free = slices.Insert(free, at, left)
		}
	}
	return true
}
