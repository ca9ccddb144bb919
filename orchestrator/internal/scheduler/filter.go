package scheduler

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/label"
	"github.com/orchion/orchion/orchestrator/internal/node"
)

// Work is what is to be placed, as far as placing depends on it.
type Work struct {
	Resources   job.Resources
	Constraints []Constraint
	// Tolerations are taints that do not keep it away; "*" is all.
	Tolerations []string
	// NeedsRuntime: it runs in a container.
	NeedsRuntime bool
	// Process is a program that the node's policy must allow, by name or path;
	// empty: none.
	Process string
	// Credentials for a registry that the node must hold, by name; empty: none.
	Credentials string
	// Registry is what the credentials must be for: that of the image. Empty: any.
	Registry string
	// TakesSlot: it counts against the number of jobs that a node runs at once.
	TakesSlot bool
	// AdoptedModel: an engine that the node adopted must serve this model.
	AdoptedModel string
	// Avoid are nodes that it must not run on, by id, and why.
	Avoid map[string]string
	// AvoidJobs are those whose nodes it keeps away from. Each of its parts but
	// NotEquals is met only by jobs with labels, and it has such a part.
	AvoidJobs label.Selector
	// Job is the job that it is, as others may avoid it; nil: it is none, or one
	// whose labels are not known yet.
	Job *Job
	// Prefers keeps it from no node, but says which are the better ones.
	Prefers Preferences
	// Mine is room that is kept for it; nil: none is.
	Mine *Keep
	// Passes are those that room is kept for and that it goes before all the
	// same.
	Passes []*Keep
}

// Candidate is a node and what is already placed there.
type Candidate struct {
	Node *node.Node
	// Connected: it has an assignment stream, so that it can be told.
	Connected bool
	Held      Held
	others    others
	tenants   tenants
	at        int   // among the active nodes, while Cluster.blocks are there
	keep      *Keep // nil: no room is kept
}

// Held sums up what is placed on a node.
type Held struct {
	CPUMillis   int64
	MemoryBytes int64
	DiskBytes   int64
	Slots       int
	// gpus is never changed in place.
	gpus []gpuGrant
}

// add counts work with its GPUs; without, which ones it has is not known.
func (h *Held) add(r job.Resources, slots int, gpus ...gpuGrant) {
	h.CPUMillis += r.CPUMillis
	h.MemoryBytes += r.MemoryBytes
	h.DiskBytes += r.DiskBytes
	h.Slots += slots
	if len(gpus) == 0 {
		gpus = grantsOf(&Work{Resources: r}, nil)
	}
	if len(gpus) > 0 {
		h.gpus = slices.Concat(h.gpus, gpus)
	}
}

func (h *Held) remove(r job.Resources, slots int, gpus ...gpuGrant) {
	h.CPUMillis -= r.CPUMillis
	h.MemoryBytes -= r.MemoryBytes
	h.DiskBytes -= r.DiskBytes
	h.Slots -= slots
	if len(gpus) == 0 {
		return
	}
	h.gpus = slices.Clone(h.gpus)
	for _, grant := range gpus {
		if i := slices.Index(h.gpus, grant); i >= 0 {
			h.gpus = slices.Delete(h.gpus, i, i+1)
		}
	}
}

// Slots is how many jobs a node runs at once: two for each logical core, at
// least 4 and at most 256. Most agents wait for models more than they compute,
// and jobs that compute say so in their resources.
func Slots(n *node.Node) int {
	return min(max(2*n.Capabilities.CPU.LogicalCores, 4), 256)
}

// filter is one condition. passing says whether it holds; it is all that
// placing needs. why, called only when it does not hold, says so for people.
// transient filters are about what a node holds now and not about what it is.
type filter struct {
	passes    func(w *Work, c *Candidate) bool
	why       func(w *Work, c *Candidate) []string
	transient bool
}

// passes says whether a candidate can take the work: every filter holds.
func passes(w *Work, c *Candidate) bool {
	return isConnected(w, c) && isTaking(w, c) && isTolerated(w, c) && hasRuntime(w, c) && allowsProcess(w, c) && holdsCredentials(w, c) &&
		hasSlot(w, c) && isLargeEnough(w, c) && hasRoom(w, c) && isNotAvoided(w, c) && servesModel(w, c) && meetsConstraints(w, c) &&
		holdsNoneAvoided(w, c) && leavesRoom(w, c)
}

// filters are the same filters with their words, in the order in which people
// want to hear of them.
func filters() []filter {
	return []filter{
		{passes: isConnected, why: says("its node agent is registered but not connected")},
		{passes: isTaking, why: whyNotTaking},
		{passes: isTolerated, why: whyNotTolerated},
		{passes: isNotAvoided, why: func(w *Work, c *Candidate) []string { return []string{w.Avoid[c.Node.ID]} }},
		{passes: meetsConstraints, why: whyConstraints},
		{passes: hasRuntime, why: says("no container engine answers on it: install Podman or Docker there, or restart the one that hangs")},
		{passes: allowsProcess, why: whyProcess},
		{passes: holdsCredentials, why: whyCredentials},
		{passes: servesModel, why: whyModel},
		{passes: isLargeEnough, why: whyTooSmall},
		{passes: holdsNoneAvoided, why: whyHoldsAvoided},
		{passes: hasSlot, why: whyNoSlot, transient: true},
		{passes: hasRoom, why: whyNoRoom, transient: true},
		{passes: leavesRoom, why: whyNotLeft, transient: true},
	}
}

func says(reason string) func(*Work, *Candidate) []string {
	return func(*Work, *Candidate) []string { return []string{reason} }
}

func isConnected(_ *Work, c *Candidate) bool { return c.Connected }

func isTaking(_ *Work, c *Candidate) bool {
	return c.Node.State == node.Online && c.Node.Drain == nil && !c.Node.Cordoned && c.Node.CoolDown == nil
}

func whyNotTaking(_ *Work, c *Candidate) []string {
	var reasons []string
	switch d := c.Node.Drain; {
	case d != nil && d.Reason != "":
		reasons = append(reasons, "is draining: it takes no new work ("+d.Reason+")")
	case d != nil || c.Node.State == node.Draining:
		reasons = append(reasons, "is draining: it takes no new work")
	}
	if c.Node.Cordoned {
		reasons = append(reasons, "is cordoned: it takes no new work until it is uncordoned")
	}
	if cool := c.Node.CoolDown; cool != nil {
		reasons = append(reasons, fmt.Sprintf("is cooling down: %s; it takes no new work until %s UTC",
			cool.Reason(), cool.Until.UTC().Format(time.TimeOnly)))
	}
	return reasons
}

func isTolerated(w *Work, c *Candidate) bool {
	for _, taint := range c.Node.Taints {
		if !w.tolerates(taint) {
			return false
		}
	}
	return true
}

// AllTaints tolerates every taint.
const AllTaints = "*"

func (w *Work) tolerates(taint string) bool {
	return slices.Contains(w.Tolerations, taint) || slices.Contains(w.Tolerations, AllTaints)
}

func whyNotTolerated(w *Work, c *Candidate) []string {
	var taints []string
	for _, taint := range c.Node.Taints {
		if !w.tolerates(taint) {
			taints = append(taints, taint)
		}
	}
	kind := "taint "
	if len(taints) > 1 {
		kind = "taints "
	}
	return []string{"has the " + kind + list(taints) + ", to be tolerated in spec.tolerations"}
}

func isNotAvoided(w *Work, c *Candidate) bool {
	if len(w.Avoid) == 0 {
		return true
	}
	_, avoided := w.Avoid[c.Node.ID]
	return !avoided
}

func hasRuntime(w *Work, c *Candidate) bool {
	return !w.NeedsRuntime || len(c.Node.Capabilities.Runtimes) > 0
}

func allowsProcess(w *Work, c *Candidate) bool {
	if w.Process == "" {
		return true
	}
	return slices.ContainsFunc(c.Node.Capabilities.Processes, func(p node.AllowedProcess) bool {
		return p.Name == w.Process || p.Path == w.Process
	})
}

func whyProcess(w *Work, c *Candidate) []string {
	allowed := c.Node.Capabilities.Processes
	if len(allowed) == 0 {
		return []string{"allows no process jobs: its owner can allow programs in its policy file"}
	}
	names := collect(allowed, func(p node.AllowedProcess) string { return p.Name })
	return []string{fmt.Sprintf("does not allow %s; its policy allows %s", w.Process, list(names))}
}

func holdsCredentials(w *Work, c *Candidate) bool {
	return w.Credentials == "" || slices.ContainsFunc(c.Node.Capabilities.Credentials, func(r node.RegistryCredentials) bool {
		return r.Name == w.Credentials && (w.Registry == "" || r.Registry == w.Registry)
	})
}

func whyCredentials(w *Work, c *Candidate) []string {
	held, wanted := c.Node.Capabilities.Credentials, w.Credentials
	if w.Registry != "" {
		wanted += " for " + w.Registry
	}
	if len(held) == 0 {
		return []string{fmt.Sprintf("holds no registry credentials %s: its owner can add them to its registries file", wanted)}
	}
	names := collect(held, func(r node.RegistryCredentials) string { return r.Name + " for " + r.Registry })
	return []string{fmt.Sprintf("holds no registry credentials %s; it holds %s", wanted, list(names))}
}

func servesModel(w *Work, c *Candidate) bool {
	if w.AdoptedModel == "" {
		return true
	}
	// Ollama lists the tag that a name without one implies.
	tagged := w.AdoptedModel
	if !strings.Contains(tagged, ":") {
		tagged += ":latest"
	}
	return slices.ContainsFunc(c.Node.Capabilities.Engines, func(e node.LocalEngine) bool {
		return slices.Contains(e.Models, w.AdoptedModel) || slices.Contains(e.Models, tagged)
	})
}

func whyModel(w *Work, c *Candidate) []string {
	if len(c.Node.Capabilities.Engines) == 0 {
		return []string{"has no running engine to adopt: start one there, or name it to its node agent with --adopt URL"}
	}
	names := collect(c.Node.Capabilities.Engines, func(e node.LocalEngine) string { return e.Name + " at " + e.Endpoint })
	return []string{fmt.Sprintf("none of its running engines lists the model %s; they are %s", w.AdoptedModel, list(names))}
}

func meetsConstraints(w *Work, c *Candidate) bool {
	for i := range w.Constraints {
		if !w.Constraints[i].Matches(c.Node) {
			return false
		}
	}
	return true
}

func whyConstraints(w *Work, c *Candidate) []string {
	var reasons []string
	for _, constraint := range w.Constraints {
		if !constraint.Matches(c.Node) {
			reasons = append(reasons, constraint.why(c.Node))
		}
	}
	return reasons
}

// isLargeEnough is about the node when it is empty.
func isLargeEnough(w *Work, c *Candidate) bool {
	r, has := &w.Resources, &c.Node.Capabilities
	if r.CPUMillis > cpuMillis(c.Node) || r.MemoryBytes > has.MemoryBytes || r.DiskBytes > has.Disk.TotalBytes {
		return false
	}
	if r.GPUs == 0 && r.GPUMemoryBytes == 0 {
		return true
	}
	// Most nodes have no GPU and need no packing to say so.
	return len(has.GPUs) > 0 && r.GPUs <= len(has.GPUs) && fitGPUs(w, has.GPUs)
}

// fitGPUs says whether GPUs would do for the work if nobody held any of them.
func fitGPUs(w *Work, gpus []node.GPU) bool {
	_, fit := packGPUs(gpus, nil, nil, gpuClaims(w))
	return fit
}

func whyTooSmall(w *Work, c *Candidate) []string {
	var reasons []string
	r, has := w.Resources, c.Node.Capabilities
	if total := cpuMillis(c.Node); r.CPUMillis > total {
		reasons = append(reasons, fmt.Sprintf("needs %s; this node has %s", formatCores(r.CPUMillis), formatCores(total)))
	}
	if r.MemoryBytes > has.MemoryBytes {
		reasons = append(reasons, fmt.Sprintf("needs %s of memory; this node has %s", formatBytes(r.MemoryBytes), formatBytes(has.MemoryBytes)))
	}
	if r.DiskBytes > has.Disk.TotalBytes {
		reasons = append(reasons, fmt.Sprintf("needs %s of disk; this node's has %s", formatBytes(r.DiskBytes), formatBytes(has.Disk.TotalBytes)))
	}
	if fitGPUs(w, has.GPUs) {
		return reasons
	}
	if vendor := gpuClaims(w)[0].vendor; vendor != "" {
		ours := slices.DeleteFunc(slices.Clone(has.GPUs), func(gpu node.GPU) bool { return gpu.Vendor != vendor })
		if len(ours) == 0 && len(has.GPUs) > 0 {
			return append(reasons, fmt.Sprintf("needs a GPU of %s; this node has none of theirs", vendor))
		}
		has.GPUs = ours
	}
	largest := int64(0)
	for _, gpu := range has.GPUs {
		largest = max(largest, gpu.MemoryBytes)
	}
	switch {
	case len(has.GPUs) == 0:
		reasons = append(reasons, "needs a GPU; this node has none")
	case r.GPUs > len(has.GPUs):
		reasons = append(reasons, fmt.Sprintf("needs %d GPUs; this node has %d", r.GPUs, len(has.GPUs)))
	case r.GPUMemoryBytes > largest:
		reasons = append(reasons, fmt.Sprintf("needs %s of GPU memory; this node's largest GPU has %s",
			formatBytes(r.GPUMemoryBytes), formatBytes(largest)))
	default:
		enough := 0
		for _, gpu := range has.GPUs {
			if gpu.MemoryBytes >= r.GPUMemoryBytes {
				enough++
			}
		}
		reasons = append(reasons, fmt.Sprintf("needs %d GPUs of %s; only %d of this node's GPUs are that large",
			r.GPUs, formatBytes(r.GPUMemoryBytes), enough))
	}
	return reasons
}

// hasRoom is about what is left beside what the node holds.
func hasRoom(w *Work, c *Candidate) bool {
	r := &w.Resources
	if r.CPUMillis > 0 && r.CPUMillis > cpuMillis(c.Node)-c.Held.CPUMillis {
		return false
	}
	if r.MemoryBytes > 0 && r.MemoryBytes > freeMemory(c) {
		return false
	}
	if r.DiskBytes > 0 && r.DiskBytes > freeDisk(c) {
		return false
	}
	return r.GPUs == 0 && r.GPUMemoryBytes == 0 || gpusLeft(w, c)
}

// freeDisk is what is left of a node's disk: what is not used now, less what
// the work that is there may yet write. Some of that it has written already,
// so that this errs on the side of an empty disk.
func freeDisk(c *Candidate) int64 {
	return c.Node.Capabilities.Disk.TotalBytes - c.Node.Usage.DiskUsedBytes - c.Held.DiskBytes
}

func gpusLeft(w *Work, c *Candidate) bool {
	_, left := packGPUs(c.Node.Capabilities.GPUs, c.others.gpus, c.Held.gpus, gpuClaims(w))
	return left
}

func whyNoRoom(w *Work, c *Candidate) []string {
	var reasons []string
	r := w.Resources
	if total := cpuMillis(c.Node); r.CPUMillis > 0 && r.CPUMillis > total-c.Held.CPUMillis {
		reasons = append(reasons, fmt.Sprintf("needs %s; %s of %s are taken",
			formatCores(r.CPUMillis), formatNumber(float64(c.Held.CPUMillis)/1000), formatCores(total)))
	}
	if r.MemoryBytes > 0 && r.MemoryBytes > freeMemory(c) {
		reasons = append(reasons, whyNoMemory(r.MemoryBytes, c))
	}
	if r.DiskBytes > 0 && r.DiskBytes > freeDisk(c) {
		reasons = append(reasons, fmt.Sprintf("needs %s of disk; %s are free there, less %s for the work it holds",
			formatBytes(r.DiskBytes), formatBytes(c.Node.Capabilities.Disk.TotalBytes-c.Node.Usage.DiskUsedBytes), formatBytes(c.Held.DiskBytes)))
	}
	if (r.GPUs > 0 || r.GPUMemoryBytes > 0) && !gpusLeft(w, c) {
		reasons = append(reasons, whyNoGPU(w, c))
	}
	return reasons
}

func hasSlot(w *Work, c *Candidate) bool {
	return !w.TakesSlot || c.Held.Slots < Slots(c.Node)
}

func whyNoSlot(_ *Work, c *Candidate) []string {
	return []string{fmt.Sprintf("already holds as many jobs as it runs at once (%d)", c.Held.Slots)}
}

func cpuMillis(n *node.Node) int64 { return int64(n.Capabilities.CPU.LogicalCores) * 1000 }
