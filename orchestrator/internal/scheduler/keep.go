package scheduler

import (
	"fmt"
	"slices"
)

// Keep is room on a node that is kept for work which waits for it: other jobs
// go there only as far as they leave enough, as what is there ends. It is never
// changed. docs/adr/0014 says when there is one.
type Keep struct {
	// NodeID is the node's. It has at most one.
	NodeID string
	// JobID is the job that it is for.
	JobID string
	work  *Work
	gpus  []gpuGrant
}

func newKeep(nodeID, jobID string, w *Work) *Keep {
	return &Keep{NodeID: nodeID, JobID: jobID, work: w, gpus: grantsOf(w, nil)}
}

// isMine says whether room is kept for the work itself.
func (k *Keep) isMine(w *Work) bool { return k == w.Mine }

// leavesRoom says whether work leaves a node the room that is kept there.
// Replicas are not bound by it: they are not of the order of the queue.
func leavesRoom(w *Work, c *Candidate) bool {
	k := c.keep
	if k == nil || !w.TakesSlot || k.isMine(w) || slices.Contains(w.Passes, k) {
		return true
	}
	if k.work.mayAvoid(w) {
		return false
	}
	beside := *c
	beside.Held.add(k.work.Resources, 1, k.gpus...)
	return hasSlot(w, &beside) && hasRoom(w, &beside)
}

func whyNotLeft(_ *Work, c *Candidate) []string {
	return []string{fmt.Sprintf("keeps room for job %s, which goes first", c.keep.JobID)}
}

// whyKept says to work that waits that its time will come; empty: nobody keeps
// room for it there.
func whyKept(w *Work, c *Candidate) string {
	switch {
	case c.keep == nil || !c.keep.isMine(w):
		return ""
	case w.Job != nil && w.Job.ID == c.keep.JobID:
		return "its room is being kept for this job"
	default:
		return fmt.Sprintf("its room is being kept for job %s", c.keep.JobID)
	}
}

// fitsPassing says whether work fits if no room were kept.
func fitsPassing(w *Work, c *Candidate) bool {
	if c.keep == nil {
		return passes(w, c)
	}
	passing := *w
	passing.Passes = []*Keep{c.keep}
	return passes(&passing, c)
}

// suits says whether only what a node holds now can keep work away from it.
func suits(w *Work, c *Candidate) bool {
	return isConnected(w, c) && isTaking(w, c) && isTolerated(w, c) && hasRuntime(w, c) && allowsProcess(w, c) &&
		holdsCredentials(w, c) && isLargeEnough(w, c) && isNotAvoided(w, c) && servesModel(w, c) && meetsConstraints(w, c)
}

// excess is how much of a node that suits would have to be given back for work
// to fit, as the largest of the shares of what it has of one thing. Each job
// there that the work avoids counts as all of it.
func excess(w *Work, c *Candidate) float64 {
	most := 0.0
	over := func(needed, free, total int64) {
		if needed > 0 && needed > free && total > 0 {
			most = max(most, float64(needed-free)/float64(total))
		}
	}
	r, has := &w.Resources, &c.Node.Capabilities
	over(r.CPUMillis, cpuMillis(c.Node)-c.Held.CPUMillis, cpuMillis(c.Node))
	over(r.MemoryBytes, freeMemory(c), has.MemoryBytes)
	over(r.DiskBytes, freeDisk(c), has.Disk.TotalBytes)
	over(1, int64(Slots(c.Node)-c.Held.Slots), int64(Slots(c.Node)))
	if w.needsGPU() && !gpusLeft(w, c) {
		over(int64(max(r.GPUs, 1)), int64(len(has.GPUs)-len(c.Held.gpus)), int64(len(has.GPUs)))
		most = max(most, 1/float64(len(has.GPUs)))
	}
	return most + float64(c.tenants.countAvoided(w))
}

// KeepOn says on which nodes room may be kept.
type KeepOn struct {
	// Not is a node where it may not; empty: none.
	Not string
	// Below is what less than must be missing; 0: however much is.
	Below float64
	// Instead is other room, the keeping of which ends with it, if there is any.
	Instead *Keep
}

// KeepRoom begins to keep room for work that fits nowhere, on the node where
// the least is missing and no room is kept yet; nil: no node would do. lacks is
// how much is missing, as a share of the node.
func (cl *Cluster) KeepRoom(w *Work, jobID string, on KeepOn) (k *Keep, lacks float64) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	var best *Candidate
	for _, c := range cl.active {
		if c.keep != nil && c.keep != on.Instead || c.Node.ID == on.Not || !suits(w, c) {
			continue
		}
		missing := excess(w, c)
		if on.Below > 0 && missing >= on.Below {
			continue
		}
		if best == nil || missing < lacks {
			best, lacks = c, missing
		}
	}
	if best == nil {
		return nil, 0
	}
	cl.stopKeepingLocked(on.Instead)
	k = newKeep(best.Node.ID, jobID, w)
	best.keep = k
	return k, lacks
}

// Lacks says how much is missing until what room is kept for fits there, as in
// KeepRoom; false: it never will, since the node is no longer what it was.
func (cl *Cluster) Lacks(k *Keep) (lacks float64, suitable bool) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	p := cl.places[k.NodeID]
	if p == nil || p.Node == nil || p.keep != k || !suits(k.work, &p.Candidate) {
		return 0, false
	}
	return excess(k.work, &p.Candidate), true
}

// StopKeeping ends the keeping of room.
func (cl *Cluster) StopKeeping(k *Keep) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	cl.stopKeepingLocked(k)
}

func (cl *Cluster) stopKeepingLocked(k *Keep) {
	if k == nil {
		return
	}
	p := cl.places[k.NodeID]
	if p == nil || p.keep != k {
		return
	}
	p.keep = nil
	if p.Node != nil {
		cl.signalLocked(k.NodeID)
	}
}

// Len is how many nodes are active.
func (cl *Cluster) Len() int {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	return len(cl.active)
}
