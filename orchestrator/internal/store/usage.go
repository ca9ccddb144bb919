package store

import (
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/usage"
)

// CheckUsage says whether rows can be stored.
func CheckUsage(rows []usage.Row) error {
	for i := range rows {
		r := &rows[i]
		if r.Step != time.Minute && r.Step != time.Hour {
			return fault.BadField("step", "is %v; allowed are %v and %v", r.Step, time.Minute, time.Hour)
		}
		if r.Start.UnixNano()%int64(r.Step) != 0 {
			return fault.BadField("start", "is %s; it must be the beginning of a step of %v", r.Start.UTC().Format(time.RFC3339Nano), r.Step)
		}
	}
	return nil
}
