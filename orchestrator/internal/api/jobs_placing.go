package api

import (
	"fmt"
	"slices"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/label"
	"github.com/orchion/orchion/orchestrator/internal/scheduler"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// maxAffinities bounds what is looked at for each node.
const maxAffinities = 16

func placementFromProto(field string, p orchionv1.Placement) (job.Placement, error) {
	if _, known := orchionv1.Placement_name[int32(p)]; !known {
		return 0, fault.BadField(field, "is %d; allowed are %s", p, allowed(orchionv1.Placement_value))
	}
	return job.Placement(p), nil
}

func affinitiesFromProto(field string, list []*orchionv1.Affinity) ([]job.Affinity, error) {
	if err := checkCount(field, len(list), maxAffinities); err != nil {
		return nil, err
	}
	var affinities []job.Affinity
	for i, a := range list {
		at := fmt.Sprintf("%s[%d]", field, i)
		if err := checkRequired(at+".constraint", a.GetConstraint(), maxConstraint); err != nil {
			return nil, err
		}
		if _, err := scheduler.ParseConstraint(a.GetConstraint()); err != nil {
			return nil, fault.BadField(at+".constraint", "%v", err)
		}
		if w := a.GetWeight(); w == 0 || w < -job.MaxAffinity || w > job.MaxAffinity {
			return nil, fault.BadField(at+".weight", "is %d; it must be from 1 to %d, or negative down to -%d for nodes that are worse",
				w, job.MaxAffinity, job.MaxAffinity)
		}
		affinities = append(affinities, job.Affinity{Constraint: a.GetConstraint(), Weight: int(a.GetWeight())})
	}
	return affinities, nil
}

func avoidJobsFromProto(field, text string) (string, error) {
	selector, err := checkSelector(field, text)
	if err != nil {
		return "", err
	}
	// Who avoids only by what others do not have avoids all jobs without labels.
	if len(selector) > 0 && !slices.ContainsFunc(selector, func(r label.Requirement) bool { return r.Op != label.NotEquals }) {
		return "", fault.BadField(field, "is %q, which only says what jobs must not have; add key=value or key", clip(text))
	}
	return selector.String(), nil
}

func affinitiesToProto(list []job.Affinity) []*orchionv1.Affinity {
	var affinities []*orchionv1.Affinity
	for _, a := range list {
		affinities = append(affinities, &orchionv1.Affinity{Constraint: a.Constraint, Weight: int32(a.Weight)})
	}
	return affinities
}
