package job

import (
	"fmt"

	"github.com/orchion/orchion/orchestrator/internal/fault"
)

// Evict marks the newest attempt as one that its node is to end, so that the
// job is queued again. The attempt ends as Evicted, whatever its node makes of
// the request, unless it succeeds before; if its node is lost meanwhile it ends
// as Lost. Neither counts against the retry policy or MaxLost. A job that is to
// be cancelled is not evicted as well, and evicting an attempt again changes
// nothing.
func (j *Job) Evict(attempt int, reason string) (changed bool, err error) {
	if reason == "" {
		return false, fault.BadField("reason", "is empty; an eviction says why")
	}
	current, err := j.current(attempt, EventEvict)
	if err != nil {
		return false, err
	}
	if j.CancelRequested || current.EvictReason != "" {
		return false, nil
	}
	if err := j.move(EventEvict, j.State); err != nil {
		return false, err
	}
	current.EvictReason = reason
	j.setCurrent(current)
	j.Reason = "being evicted: " + reason
	return true, nil
}

// completeEvicted ends an attempt that was to be evicted and did not succeed
// before.
func (j *Job) completeEvicted(current Attempt, end End) error {
	if err := j.move(EventComplete, Queued); err != nil {
		return err
	}
	current.State = AttemptEvicted
	current.FinishedAt = end.At
	current.ExitCode = end.ExitCode
	current.Reason = current.EvictReason
	j.setCurrent(current)
	j.Reason = fmt.Sprintf("attempt %d was evicted from node %s: %s; waits for a node",
		current.Number, current.NodeID, current.EvictReason)
	return nil
}
