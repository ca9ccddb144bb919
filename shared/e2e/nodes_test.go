package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/testbed/engine"
)

// TestDrainMovesAJob takes a job that may fail once off a node at once, and off
// the next at a deadline that passes while the orchestrator is dead.
func TestDrainMovesAJob(t *testing.T) {
	forEachEngine(t, func(t *testing.T, e *engine.Engine) {
		c := newCluster(t)
		a, b := c.addAgent("drain-a", e), c.addAgent("drain-b", e)
		c.cli("node", "cordon", b.id)
		id := c.submit([]string{"hold"})
		c.waitJob(id, running)
		c.waitLog(id, "holding")
		if got := c.cli("node", "show", b.id); !strings.Contains(got, "online, cordoned") {
			t.Errorf("the cordoned node is shown as\n%s", got)
		}
		c.cli("node", "uncordon", b.id)

		// on waits until the job runs on a node as its n-th attempt.
		on := func(nodeID string, n int) {
			t.Helper()
			c.eventually(fmt.Sprintf("attempt %d runs on %s", n, nodeID), func() error {
				job := c.job(id)
				attempts := job.GetAttempts()
				if job.GetState() != running || len(attempts) != n || attempts[n-1].GetNodeId() != nodeID {
					return fmt.Errorf("it is %v: %s; attempts %v", job.GetState(), job.GetReason(), attempts)
				}
				return nil
			})
		}
		on(a.id, 1)
		c.cli("node", "drain", a.id, "--move", "--reason", "new disk")
		on(b.id, 2)
		first := c.job(id).GetAttempts()[0]
		if first.GetState() != orchionv1.AttemptState_ATTEMPT_STATE_EVICTED || !strings.Contains(first.GetReason(), "is being drained: new disk") {
			t.Errorf("the first attempt is %v", first)
		}
		c.waitLog(id, "told to stop") // it had its grace

		c.cli("node", "drain", b.id, "--deadline", "2s", "--maintenance")
		c.orchestrator.kill()
		c.restartOrchestrator()
		c.eventually("the second attempt is evicted at the deadline", func() error {
			attempts := c.job(id).GetAttempts()
			if len(attempts) != 2 || attempts[1].GetState() != orchionv1.AttemptState_ATTEMPT_STATE_EVICTED {
				return fmt.Errorf("attempts are %v", attempts)
			}
			return nil
		})
		node := &orchionv1.Node{}
		if err := c.get("/api/nodes/"+b.id, node); err != nil {
			t.Fatal(err)
		}
		if d := node.GetDrain(); d.GetRemainingJobs() != 0 || !d.GetMaintenance() || d.GetDeadline() == nil {
			t.Errorf("after the restart the node's drain is %v", d)
		}
		c.cli("node", "undrain", a.id)
		on(a.id, 3)
		if err := c.call(http.MethodPost, "/api/jobs/"+id+":cancel", &orchionv1.CancelJobRequest{}, nil); err != nil {
			t.Fatal(err)
		}
		c.waitJob(id, cancelled)
	})
}
