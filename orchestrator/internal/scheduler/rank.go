package scheduler

import (
	"fmt"

	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/node"
)

// Preferences are what makes one of the nodes that fit better than another.
// docs/adr/0013 says how they are weighed.
type Preferences struct {
	// Placement is Spread unless it says otherwise, or the Cluster does.
	Placement  job.Placement
	Affinities []Affinity
	// Image is the name of the container image that the work needs, as
	// SetImages has it; empty: none.
	Image string
	// holders are the nodes that have it, by id. The Cluster fills it in.
	holders map[string]struct{}
}

// fewHolders says whether some nodes have the image, and so few that each can
// be looked at.
func (p *Preferences) fewHolders() bool { return len(p.holders) > 0 && len(p.holders) <= enough }

// content says whether there is nothing more to like about a node, so that
// others like it need not be looked for.
func (p *Preferences) content(n *node.Node, most float64) bool {
	if len(p.Affinities) > 0 && p.affinity(n) < most {
		return false
	}
	if len(p.holders) <= enough {
		return true
	}
	_, has := p.holders[n.ID]
	return has
}

// Affinity gives points to nodes that meet a constraint, or takes them.
type Affinity struct {
	Constraint Constraint
	Points     float64
}

// most is the most that affinities can give.
func (p *Preferences) most() float64 {
	sum := 0.0
	for i := range p.Affinities {
		sum += max(p.Affinities[i].Points, 0)
	}
	return sum
}

// affinity is what a node's affinities give.
func (p *Preferences) affinity(n *node.Node) float64 {
	sum := 0.0
	for i := range p.Affinities {
		if p.Affinities[i].Constraint.Matches(n) {
			sum += p.Affinities[i].Points
		}
	}
	return sum
}

// ParseAffinities reads affinities. The error names the first that is wrong by
// its place, counted from 0.
func ParseAffinities(list []job.Affinity) ([]Affinity, error) {
	var affinities []Affinity
	for i, a := range list {
		c, err := ParseConstraint(a.Constraint)
		if err != nil {
			return nil, fmt.Errorf("affinities[%d].constraint: %w", i, err)
		}
		affinities = append(affinities, Affinity{Constraint: c, Points: float64(a.Weight)})
	}
	return affinities, nil
}

// ScorePart is one thing that speaks for a node, or against it.
type ScorePart struct {
	// Name is for people.
	Name   string
	Points float64
}

// The points that parts of a score give. How full a node is gives 0 to 100.
const (
	// gpuSpreadPoints is against a node with GPUs for work that needs none:
	// it goes there when the others are busier by so much.
	gpuSpreadPoints = -10
	// gpuPackPoints has to outweigh that a node whose GPUs are in use is fuller
	// than others, which is no reason to fill it with work that needs none.
	gpuPackPoints = -50
	// imagePoints are for a node that has the image. Pulling one takes longer than
	// most jobs lose on a node that is a fifth busier.
	imagePoints = 20
)

// rank scores a candidate that fits: the sum of what speaks for it and against
// it. parts, unless it is nil, gets what the sum is of.
func rank(w *Work, c *Candidate, parts *[]ScorePart) float64 {
	score := 0.0
	add := func(name string, points float64) {
		score += points
		if parts != nil {
			*parts = append(*parts, ScorePart{name, points})
		}
	}
	keepGPU := float64(gpuSpreadPoints)
	if w.Prefers.Placement == job.BinPack {
		keepGPU = gpuPackPoints
		add("room used", 100*fullness(w, c, &w.Resources))
	} else {
		add("room left", 100*(1-fullness(w, c, &job.Resources{})))
	}
	if len(c.Node.Capabilities.GPUs) > 0 && !w.needsGPU() {
		add("GPUs kept for others", keepGPU)
	}
	if len(w.Prefers.holders) > 0 {
		if _, has := w.Prefers.holders[c.Node.ID]; has {
			add("image present", imagePoints)
		}
	}
	for i := range w.Prefers.Affinities {
		if a := &w.Prefers.Affinities[i]; a.Constraint.Matches(c.Node) {
			add(a.Constraint.text, a.Points)
		}
	}
	return score
}

func (w *Work) needsGPU() bool { return w.Resources.GPUs > 0 || w.Resources.GPUMemoryBytes > 0 }

// fullness is the mean of the shares of a node that are taken, from 0 to 1,
// with more beside what it holds.
func fullness(w *Work, c *Candidate, more *job.Resources) float64 {
	load, parts := float64(c.Held.Slots)/float64(Slots(c.Node)), 1.0
	if total := cpuMillis(c.Node); total > 0 {
		load += float64(c.Held.CPUMillis+more.CPUMillis) / float64(total)
		parts++
	}
	if total := c.Node.Capabilities.MemoryBytes; total > 0 {
		load += float64(c.Held.MemoryBytes+c.others.memory+more.MemoryBytes) / float64(total)
		parts++
	}
	if gpus := len(c.Node.Capabilities.GPUs); gpus > 0 && w.needsGPU() {
		load += float64(len(c.Held.gpus)+more.GPUs) / float64(gpus)
		parts++
	}
	return min(load/parts, 1) // what was there before a restart may be too much
}
