package scheduler

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/orchion/orchion/orchestrator/internal/node"
)

// containerVendor is whose GPUs container engines can give to containers.
const containerVendor = "nvidia"

// gpuClaim is what a piece of work takes of one GPU: all of it, or only so
// much of its memory.
type gpuClaim struct {
	whole  bool
	memory int64  // bytes; 0: does not matter
	vendor string // empty: does not matter
}

// gpuGrant is a claim and the GPU that it was given.
type gpuGrant struct {
	gpuClaim
	// gpu is the name of the GPU, as in gpuNames. Empty: which one is not
	// known, since it was given before that was kept.
	gpu string
}

// freeGPU is what is left of a GPU.
type freeGPU struct {
	name   string
	memory int64
	vendor string
	shared bool // somebody has a share of it
	busy   bool // other programs use it
}

// takes says whether the claim fits there.
func (c gpuClaim) takes(gpu freeGPU) bool {
	return gpu.memory >= c.memory && (c.vendor == "" || c.vendor == gpu.vendor) && (!c.whole || !gpu.shared)
}

// gpuClaims answers what w takes: that many whole GPUs, or, when it counts
// none but names memory, a share of one.
func gpuClaims(w *Work) []gpuClaim {
	r := &w.Resources
	if r.GPUs == 0 && r.GPUMemoryBytes == 0 {
		return nil
	}
	claim := gpuClaim{whole: r.GPUs > 0, memory: r.GPUMemoryBytes, vendor: r.GPUVendor}
	if claim.vendor == "" && w.NeedsRuntime {
		claim.vendor = containerVendor
	}
	return slices.Repeat([]gpuClaim{claim}, max(r.GPUs, 1))
}

// gpuNames are what the GPUs of a node are given out by: their UUIDs. One
// without, or with that of another, goes by its place among them, which is what
// container engines take as well.
func gpuNames(gpus []node.GPU) []string {
	names := make([]string, len(gpus))
	for i, gpu := range gpus {
		names[i] = gpu.UUID
		if gpu.UUID == "" || slices.Contains(names[:i], gpu.UUID) {
			names[i] = strconv.Itoa(i)
		}
	}
	return names
}

// freeGPUs is what grants leave of the GPUs, by the memory left. used is what
// was measured of each, nil when nothing was: whose that is cannot be told, so
// that of what was granted and what is used the larger counts. Those of which
// nobody knows what GPU they are of are left out, and so are those of a GPU
// that the node has no more.
func freeGPUs(gpus []node.GPU, used []int64, held []gpuGrant) []freeGPU {
	free := make([]freeGPU, 0, len(gpus))
	for i, name := range gpuNames(gpus) {
		left := freeGPU{name: name, memory: gpus[i].MemoryBytes, vendor: gpus[i].Vendor}
		taken := false
		for _, grant := range held {
			if grant.gpu != name {
				continue
			}
			taken = taken || grant.whole
			left.shared = true
			left.memory -= grant.memory
		}
		if i < len(used) {
			left.busy = gpus[i].MemoryBytes-used[i] < left.memory
			left.memory = min(left.memory, gpus[i].MemoryBytes-used[i])
		}
		if !taken {
			free = append(free, left)
		}
	}
	slices.SortStableFunc(free, byMemory)
	return free
}

// byMemory orders GPUs by what is left of them, those that other programs use
// last.
func byMemory(a, b freeGPU) int {
	if a.busy != b.busy {
		if b.busy {
			return -1
		}
		return 1
	}
	return cmp.Compare(a.memory, b.memory)
}

// packGPUs finds GPUs for claims beside what is held already, which stays where
// it is; false: they do not fit together. Whole GPUs are given out first, to
// the claims that care for the vendor before the others, the hungriest claim
// first and to each the smallest GPU that does; shares then go where the least
// memory is left over.
func packGPUs(gpus []node.GPU, used []int64, held []gpuGrant, claims []gpuClaim) ([]gpuGrant, bool) {
	if len(claims) == 0 {
		return nil, true
	}
	free := freeGPUs(gpus, used, held)
	// What was given without a name takes its part first of equals.
	type request struct {
		gpuClaim
		old bool
	}
	requests := make([]request, 0, len(claims))
	for _, grant := range held {
		if grant.gpu == "" {
			requests = append(requests, request{grant.gpuClaim, true})
		}
	}
	for _, claim := range claims {
		requests = append(requests, request{claim, false})
	}
	slices.SortStableFunc(requests, func(a, b request) int {
		if a.whole != b.whole {
			if a.whole {
				return -1
			}
			return 1
		}
		// An empty vendor sorts last this way.
		return cmp.Or(cmp.Compare(b.vendor, a.vendor), cmp.Compare(b.memory, a.memory))
	})
	grants := make([]gpuGrant, 0, len(claims))
	for _, r := range requests {
		i := slices.IndexFunc(free, r.takes)
		if i < 0 {
			return nil, false
		}
		left := free[i]
		if !r.old {
			grants = append(grants, gpuGrant{r.gpuClaim, left.name})
		}
		left.memory -= r.memory
		left.shared = true
		free = slices.Delete(free, i, i+1)
		if !r.whole {
			at, _ := slices.BinarySearchFunc(free, left, byMemory)
			free = slices.Insert(free, at, left)
		}
	}
	return grants, true
}

// grantsOf are grants as they were given out once, by the names of the GPUs. As
// long as not all names are known, none is.
func grantsOf(w *Work, names []string) []gpuGrant {
	claims := gpuClaims(w)
	grants := make([]gpuGrant, len(claims))
	for i, claim := range claims {
		grants[i].gpuClaim = claim
		if len(names) == len(claims) {
			grants[i].gpu = names[i]
		}
	}
	return grants
}
