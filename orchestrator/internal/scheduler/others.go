package scheduler

import (
	"fmt"
	"slices"

	"github.com/orchion/orchion/orchestrator/internal/node"
)

// others is what programs that are not ours use of a node, as it was measured,
// in steps: machines breathe, and that is no reason to look at a node anew.
type others struct {
	memory int64
	// gpus is what is used of each GPU's memory, by whomever; nil: nothing that
	// counts. It is never changed in place.
	gpus []int64
}

// steps are how many there are in all of a node's memory.
const steps = 32

// measure takes over what a node measured and says whether it has more room
// than before.
func (o *others) measure(n *node.Node) (freed bool) {
	memory := stepUp(o.memory, n.Usage.MemoryOthersBytes, n.Capabilities.MemoryBytes/steps)
	freed = memory < o.memory
	o.memory = memory
	if len(n.Capabilities.GPUs) == 0 {
		o.gpus = nil
		return freed
	}
	var gpus []int64
	for i, gpu := range n.Capabilities.GPUs {
		before := int64(0)
		if i < len(o.gpus) {
			before = o.gpus[i]
		}
		step := gpu.MemoryBytes / steps
		used := int64(0)
		for _, usage := range n.Usage.GPUs {
			if usage.UUID != "" && usage.UUID == gpu.UUID {
				used = usage.MemoryUsedBytes
			}
		}
		// Down instead of up: the driver and a desktop always use a little, and
		// who asks for 24 GiB means a GPU of that size.
		now := stepUp(before, max(used-step, 0), step)
		freed = freed || now < before
		if now > 0 && gpus == nil {
			gpus = make([]int64, len(n.Capabilities.GPUs))
		}
		if gpus != nil {
			gpus[i] = now
		}
	}
	o.gpus = gpus
	return freed
}

// stillUsed is what will be measured of GPUs when grants of them have ended:
// nothing where all have. What is used beside others that stay cannot be told
// apart, and so stays as well. measured is not changed.
func stillUsed(gpus []node.GPU, measured []int64, before, left []gpuGrant) []int64 {
	if len(measured) == 0 || len(left) == len(before) {
		return measured
	}
	on := func(name string) func(gpuGrant) bool {
		return func(grant gpuGrant) bool { return grant.gpu == name }
	}
	still := slices.Clone(measured)
	for i, name := range gpuNames(gpus) {
		if i < len(still) && slices.ContainsFunc(before, on(name)) && !slices.ContainsFunc(left, on(name)) {
			still[i] = 0
		}
	}
	return still
}

// stepUp rounds up to whole steps. It goes up at once, and down when it is worth
// more than half a step.
func stepUp(before, now, step int64) int64 {
	if step <= 0 {
		return now
	}
	rounded := (now + step - 1) / step * step
	if rounded < before && now > before-step-step/2 {
		return before
	}
	return rounded
}

func freeMemory(c *Candidate) int64 {
	return c.Node.Capabilities.MemoryBytes - c.Held.MemoryBytes - c.others.memory
}

func whyNoMemory(needed int64, c *Candidate) string {
	total := c.Node.Capabilities.MemoryBytes
	if c.others.memory == 0 {
		return fmt.Sprintf("needs %s of memory; %s of %s are taken",
			formatBytes(needed), formatBytes(c.Held.MemoryBytes), formatBytes(total))
	}
	return fmt.Sprintf("needs %s of memory; %s of %s are free: %s are promised to jobs and models, %s used by other programs",
		formatBytes(needed), formatBytes(max(freeMemory(c), 0)), formatBytes(total), formatBytes(c.Held.MemoryBytes), formatBytes(c.others.memory))
}

func whyNoGPU(w *Work, c *Candidate) string {
	if _, left := packGPUs(c.Node.Capabilities.GPUs, nil, c.Held.gpus, gpuClaims(w)); left {
		return fmt.Sprintf("needs %s of GPU memory; other programs use too much of its GPUs' memory", formatBytes(w.Resources.GPUMemoryBytes))
	}
	return "its GPUs are taken by other work"
}
