package scheduler

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// enough is how many nodes that fit are compared before the best of them is
// taken. In larger clusters looking further costs more than it gains.
const enough = 128

// plenty is how many are compared at most to find as many that have an image or
// meet the affinities: it is worth no more than that.
const plenty = 8 * enough

// Fit is what the scheduler thinks of one node for one piece of work.
type Fit struct {
	NodeID   string
	Hostname string
	Fits     bool
	// Full: only what the node already holds is in the way.
	Full bool
	// Reasons are all the reasons why it does not fit.
	Reasons []string
	// Score is the sum of its parts, higher being better; 0 when the node does
	// not fit.
	Score      float64
	ScoreParts []ScorePart
}

// Pick answers the best candidate that can take the work; nil: none
// can. It looks at the candidates in turn, beginning with the one at from, and
// stops when it has found enough that are all that the work likes, or plenty
// that fit. Of equals it takes the first by id.
func Pick(w *Work, candidates []*Candidate, from int) *Candidate {
	s := newSearch(w)
	for i := range candidates {
		at := from + i
		if at >= len(candidates) {
			at -= len(candidates)
		}
		if s.look(candidates[at]) {
			break
		}
	}
	return s.best
}

// search is one under way.
type search struct {
	work  *Work
	most  float64 // that affinities can give
	best  *Candidate
	score float64 // of the best
	// found counts those that fit and are all that the work likes, seen those
	// that fit, fitted those since somebody set it to 0.
	found, seen, fitted int
}

func newSearch(w *Work) *search { return &search{work: w, most: w.Prefers.most()} }

// look looks at a candidate and says whether that was enough.
func (s *search) look(c *Candidate) (done bool) {
	if !passes(s.work, c) {
		return false
	}
	score := rank(s.work, c, nil)
	if s.best == nil || score > s.score || score == s.score && c.Node.ID < s.best.Node.ID {
		s.best, s.score = c, score
	}
	// Nodes that are not what the work likes best say nothing of whether there
	// are such; it is worth looking at more of them, but not at all for each job.
	if s.work.Prefers.content(c.Node, s.most) {
		s.found++
	}
	s.seen++
	s.fitted++
	return s.found >= enough || s.seen >= plenty
}

// Explain says of every candidate whether it fits, and of those that do not,
// why: those that fit first, the best of them at the top, the rest by id.
func Explain(w *Work, candidates []Candidate) []Fit {
	fits := make([]Fit, 0, len(candidates))
	all := filters()
	for i := range candidates {
		fits = append(fits, explainOne(w, &candidates[i], all))
	}
	slices.SortStableFunc(fits, func(a, b Fit) int {
		if a.Fits != b.Fits {
			return cmp.Compare(len(a.Reasons), len(b.Reasons)) // none or some
		}
		return cmp.Or(cmp.Compare(b.Score, a.Score), strings.Compare(a.NodeID, b.NodeID))
	})
	return fits
}

func explainOne(w *Work, c *Candidate, all []filter) Fit {
	fit := Fit{NodeID: c.Node.ID, Hostname: c.Node.Hostname}
	lasting, passing := false, false
	for _, f := range all {
		if f.passes(w, c) {
			continue
		}
		// What a node will never have room for need not be said twice.
		if f.transient && lasting {
			continue
		}
		fit.Reasons = append(fit.Reasons, f.why(w, c)...)
		lasting = lasting || !f.transient
		passing = passing || f.transient
	}
	fit.Full = passing && !lasting
	if kept := whyKept(w, c); fit.Full && kept != "" {
		fit.Reasons = append(fit.Reasons, kept)
	}
	fit.Fits = len(fit.Reasons) == 0
	if fit.Fits {
		fit.Score = rank(w, c, &fit.ScoreParts)
	}
	return fit
}

// maxSummaryReasons is how many different reasons a summary names.
const maxSummaryReasons = 3

// Summary says in one sentence what keeps work from being placed; it is empty
// when a node fits.
func Summary(fits []Fit) string {
	if len(fits) == 0 {
		return "no node is online: start a node agent, for example with: node-agent --orchestrator localhost:50051"
	}
	full := 0
	for _, fit := range fits {
		if fit.Fits {
			return ""
		}
		if fit.Full {
			full++
		}
	}
	considered, words := fits, "the only node cannot take it"
	switch {
	case full > 0:
		considered = slices.DeleteFunc(slices.Clone(fits), func(f Fit) bool { return !f.Full })
		words = "1 node fits but is full"
		if full > 1 {
			words = fmt.Sprintf("%d nodes fit but are full", full)
		}
	case len(fits) > 1:
		words = fmt.Sprintf("none of the %d nodes can take it", len(fits))
	}
	return words + ": " + commonReasons(considered)
}

// commonReasons names the reasons that keep the most nodes out.
func commonReasons(fits []Fit) string {
	type reason struct {
		text  string
		nodes int
	}
	var reasons []reason
	at := make(map[string]int)
	for _, fit := range fits {
		for _, text := range fit.Reasons {
			i, known := at[text]
			if !known {
				i = len(reasons)
				at[text] = i
				reasons = append(reasons, reason{text: text})
			}
			reasons[i].nodes++
		}
	}
	slices.SortStableFunc(reasons, func(a, b reason) int { return cmp.Compare(b.nodes, a.nodes) })
	more := len(reasons) - maxSummaryReasons
	texts := make([]string, 0, maxSummaryReasons+1)
	for _, r := range reasons[:min(len(reasons), maxSummaryReasons)] {
		if r.nodes > 1 {
			r.text += fmt.Sprintf(" (%d nodes)", r.nodes)
		}
		texts = append(texts, r.text)
	}
	if more > 0 {
		texts = append(texts, "and more")
	}
	return strings.Join(texts, "; ")
}

// list joins texts for people: "a, b and c".
func list(texts []string) string {
	if len(texts) < 2 {
		return strings.Join(texts, "")
	}
	return strings.Join(texts[:len(texts)-1], ", ") + " and " + texts[len(texts)-1]
}
