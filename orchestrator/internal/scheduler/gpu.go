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
	memory int64 // bytes; 0: does not matter
}

// gpuClaims answers what r takes: that many whole GPUs, or, when it counts
// none but names memory, a share of one.
func gpuClaims(r job.Resources) []gpuClaim {
	switch {
	case r.GPUs > 0:
		return slices.Repeat([]gpuClaim{{whole: true, memory: r.GPUMemoryBytes}}, r.GPUs)
	case r.GPUMemoryBytes > 0:
		return []gpuClaim{{memory: r.GPUMemoryBytes}}
	default:
		return nil
	}
}

// packGPUs says whether the claims fit on the GPUs together. Whole GPUs are
// given out first, the hungriest claim first and to each the smallest GPU that
// does; shares then go where the least memory is left over.
func packGPUs(gpus []node.GPU, claims []gpuClaim) bool {
	if len(claims) == 0 {
		return true
	}
	free := make([]int64, len(gpus))
	for i, gpu := range gpus {
		free[i] = gpu.MemoryBytes
	}
	slices.Sort(free)
	claims = slices.Clone(claims)
	slices.SortFunc(claims, func(a, b gpuClaim) int {
		if a.whole != b.whole {
			if a.whole {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.memory, a.memory)
	})
	for _, claim := range claims {
		i, _ := slices.BinarySearch(free, claim.memory)
		if i == len(free) {
			return false
		}
		left := free[i] - claim.memory
		free = slices.Delete(free, i, i+1)
		if !claim.whole {
			at, _ := slices.BinarySearch(free, left)
			free = slices.Insert(free, at, left)
		}
	}
	return true
}
