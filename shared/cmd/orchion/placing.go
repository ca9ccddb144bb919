package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

const placementPrefix = "PLACEMENT_"

// placements are what --placement takes, by their names on the wire.
var placements = []string{"binpack", "spread"}

func parsePlacement(text string) (orchionv1.Placement, error) {
	if text == "" {
		return orchionv1.Placement_PLACEMENT_UNSPECIFIED, nil
	}
	if !slices.Contains(placements, text) {
		return 0, usagef("--placement is %q; it must be %s", text, strings.Join(placements, " or "))
	}
	return orchionv1.Placement(orchionv1.Placement_value[placementPrefix+strings.ToUpper(text)]), nil
}

// parseAffinities reads weights and what they are for.
func parseAffinities(list []string) ([]*orchionv1.Affinity, error) {
	var affinities []*orchionv1.Affinity
	for _, text := range list {
		number, constraint, _ := strings.Cut(text, ":")
		weight, err := strconv.ParseInt(strings.TrimSpace(number), 10, 32)
		if err != nil || constraint == "" {
			return nil, usagef("--affinity is %q; write WEIGHT:CONSTRAINT, such as '40:label.disk=ssd'", text)
		}
		affinities = append(affinities, &orchionv1.Affinity{Constraint: strings.TrimSpace(constraint), Weight: int32(weight)})
	}
	return affinities, nil
}

// placingFacts are where a job would rather run, as far as it says.
func placingFacts(spec *orchionv1.JobSpec) [][]string {
	var facts [][]string
	if p := spec.GetPlacement(); p != orchionv1.Placement_PLACEMENT_UNSPECIFIED {
		facts = append(facts, []string{"placement", strings.ToLower(strings.TrimPrefix(p.String(), placementPrefix))})
	}
	for _, a := range spec.GetAffinities() {
		facts = append(facts, []string{"affinity", fmt.Sprintf("%+d for %s", a.GetWeight(), a.GetConstraint())})
	}
	if avoid := spec.GetAvoidJobs(); avoid != "" {
		facts = append(facts, []string{"avoids jobs", avoid})
	}
	return facts
}

// whyText says why a node does not take a job, or what its score is made of.
func whyText(n *orchionv1.NodeFit) string {
	texts := slices.Clone(n.GetReasons())
	for _, part := range n.GetScoreParts() {
		texts = append(texts, part.GetName()+" "+pointsText(part.GetPoints()))
	}
	return cmp.Or(strings.Join(texts, "; "), "-")
}

// pointsText writes points with their sign, since they are added up.
func pointsText(points float64) string {
	text := strconv.FormatFloat(points, 'f', 1, 64)
	if points >= 0 {
		text = "+" + text
	}
	return text
}
