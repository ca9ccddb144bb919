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
	t.Parallel()
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

// TestAgentsThatVanishTogether kills all agents at once: their containers are
// kept for them, and taken over when they are back, however late that is.
func TestAgentsThatVanishTogether(t *testing.T) {
	t.Parallel()
	forEachEngine(t, func(t *testing.T, e *engine.Engine) {
		c := newCluster(t)
		agents := []*agentProgram{c.addAgent("vanish-a", e), c.addAgent("vanish-b", e)}
		var ids []string
		for range agents {
			id := c.submit([]string{"hold"})
			c.waitJob(id, running)
			c.waitLog(id, "holding")
			ids = append(ids, id)
		}
		vanish := func() {
			t.Helper()
			for _, a := range agents {
				a.kill()
			}
			c.eventually("the leases have run out and the jobs are kept", func() error {
				cluster := &orchionv1.Cluster{}
				if err := c.get("/api/cluster", cluster); err != nil {
					return err
				}
				if cluster.GetPause().GetKeptJobs() != 2 {
					return fmt.Errorf("the cluster is %v", cluster)
				}
				return nil
			})
		}
		vanish()
		if got := c.cli("node", "ls", "--all"); !strings.Contains(got, "Rescheduling is paused: 2 of 2 nodes went silent") {
			t.Errorf("the list of nodes does not tell of the pause:\n%s", got)
		}
		for _, a := range agents {
			a.program = a.start()
		}
		c.eventually("all are back and the pause is over", func() error {
			if got := c.cli("cluster", "show"); !strings.Contains(got, "works") || !strings.Contains(got, "2 online") {
				return fmt.Errorf("the cluster is\n%s", got)
			}
			return nil
		})
		for _, id := range ids {
			c.eventually("job "+id+" goes on", func() error {
				job := c.job(id)
				if job.GetState() != running || len(job.GetAttempts()) != 1 || job.GetReason() != "" {
					return fmt.Errorf("it is %v: %s; attempts %v", job.GetState(), job.GetReason(), job.GetAttempts())
				}
				return nil
			})
		}

		vanish()
		c.cli("cluster", "resume")
		for _, id := range ids {
			c.eventually("job "+id+" waits for another node", func() error {
				job := c.job(id)
				if job.GetState() != orchionv1.JobState_JOB_STATE_QUEUED || job.GetAttempts()[0].GetState() != orchionv1.AttemptState_ATTEMPT_STATE_LOST {
					return fmt.Errorf("it is %v; attempts %v", job.GetState(), job.GetAttempts())
				}
				return nil
			})
			if err := c.call(http.MethodPost, "/api/jobs/"+id+":cancel", &orchionv1.CancelJobRequest{}, nil); err != nil {
				t.Fatal(err)
			}
		}
	})
}
