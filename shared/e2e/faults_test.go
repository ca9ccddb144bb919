package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/testbed/engine"
)

// The job of these tests prints 200 lines in ten seconds; the fault comes
// after some of them.
var longJob = []string{"lines", "200", "50ms"}

func TestOrchestratorIsKilledWhileAJobRuns(t *testing.T) {
	t.Parallel()
	forEachEngine(t, func(t *testing.T, e *engine.Engine) {
		c := newCluster(t)
		c.addAgent("stays", e)
		id := c.submit(longJob)
		c.waitLog(id, "line 20")

		c.orchestrator.kill()
		c.restartOrchestrator()

		job := c.waitJob(id, succeeded)
		if len(job.GetAttempts()) != 1 {
			t.Errorf("attempts %v, want the one that was running", job.GetAttempts())
		}
		wantLines(t, c.logText(id), 200)
	})
}

// TestOrchestratorIsAwayWhenAJobEnds keeps the orchestrator down until the
// container has ended: its exit code and its log wait for it.
func TestOrchestratorIsAwayWhenAJobEnds(t *testing.T) {
	t.Parallel()
	forEachEngine(t, func(t *testing.T, e *engine.Engine) {
		// A lease that outlives the absence: the node stops what it may no
		// longer run.
		c := newCluster(t, "--lease-ttl", "60s")
		a := c.addAgent("stays", e)
		id := c.submit([]string{"lines", "60", "50ms", "exit", "9"})
		c.waitLog(id, "line 10")

		c.orchestrator.kill()
		c.eventually("the container has ended", func() error {
			states, err := e.ContainerStates(context.Background(), "orchion.node="+a.id)
			if err != nil {
				return err
			}
			if fmt.Sprint(states) != "[exited]" {
				return fmt.Errorf("containers are %v", states)
			}
			return nil
		})
		c.restartOrchestrator()

		job := c.waitJob(id, failed)
		if job.GetResult().GetExitCode() != 9 || len(job.GetAttempts()) != 1 {
			t.Errorf("exit code %v after attempts %v, want 9 after one", job.GetResult().ExitCode, job.GetAttempts())
		}
		wantLines(t, c.logText(id), 60)
		c.eventually("the container is removed", func() error {
			states, err := e.ContainerStates(context.Background(), "orchion.node="+a.id)
			if err == nil && len(states) > 0 {
				err = fmt.Errorf("containers are %v", states)
			}
			return err
		})
	})
}

func TestAgentIsKilledWhileAJobRuns(t *testing.T) {
	t.Parallel()
	forEachEngine(t, func(t *testing.T, e *engine.Engine) {
		c := newCluster(t)
		a := c.addAgent("comes-back", e)
		id := c.submit(longJob)
		c.waitLog(id, "line 20")

		a.kill()
		a.program = a.start()

		job := c.waitJob(id, succeeded)
		if len(job.GetAttempts()) != 1 {
			t.Errorf("attempts %v, want the adopted one alone", job.GetAttempts())
		}
		wantLines(t, c.logText(id), 200)
	})
}

func TestAgentAndContainerAreKilled(t *testing.T) {
	t.Parallel()
	forEachEngine(t, func(t *testing.T, e *engine.Engine) {
		c := newCluster(t)
		agents := map[string]*agentProgram{}
		for _, name := range []string{"one", "two"} {
			a := c.addAgent(name, e)
			agents[a.id] = a
		}
		id := c.submit(longJob)
		c.waitLog(id, "line 20")
		first := agents[c.job(id).GetAttempts()[0].GetNodeId()]

		first.kill()
		if err := e.RemoveContainers(t.Context(), "orchion.node="+first.id); err != nil {
			t.Fatal(err)
		}

		job := c.waitJob(id, succeeded)
		attempts := job.GetAttempts()
		if len(attempts) != 2 || attempts[0].GetState() != orchionv1.AttemptState_ATTEMPT_STATE_LOST ||
			attempts[1].GetNodeId() == first.id || attempts[1].GetNumber() != 2 {
			t.Fatalf("attempts %v, want a lost one and a second elsewhere", attempts)
		}
		log := c.cli("job", "logs", "--attempt", "2", id)
		if got := strings.Count(log, "line "); got != 200 {
			t.Errorf("attempt 2 printed %d lines, want 200", got)
		}
	})
}

func TestAgentLeaves(t *testing.T) {
	t.Parallel()
	forEachEngine(t, func(t *testing.T, e *engine.Engine) {
		c := newCluster(t)
		leaver, other := c.addAgent("leaver", e), c.addAgent("other", e)
		c.cli("node", "drain", other.id)
		id := c.submit([]string{"hold"})
		c.waitJob(id, running)
		c.cli("node", "undrain", other.id)

		leaver.stop()
		// It says so: nobody has to wait for the heartbeat timeout or the lease.
		node := &orchionv1.Node{}
		if err := c.get("/api/nodes/"+leaver.id, node); err != nil || node.GetState() != orchionv1.NodeState_NODE_STATE_OFFLINE {
			t.Errorf("the node that left is %v, %v", node.GetState(), err)
		}
		c.eventually("the job runs again on the other node", func() error {
			job := c.job(id)
			if n := len(job.GetAttempts()); n != 2 || job.GetAttempts()[1].GetNodeId() != other.id || job.GetState() != running {
				return fmt.Errorf("it is %v with attempts %v", job.GetState(), job.GetAttempts())
			}
			return nil
		})
	})
}
