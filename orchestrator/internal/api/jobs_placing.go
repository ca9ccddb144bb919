package api

import (
	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

func placementFromProto(field string, p orchionv1.Placement) (job.Placement, error) {
	if _, known := orchionv1.Placement_name[int32(p)]; !known {
		return 0, fault.BadField(field, "is %d; allowed are %s", p, allowed(orchionv1.Placement_value))
	}
	return job.Placement(p), nil
}
