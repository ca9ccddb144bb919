package e2e

import (
	"fmt"
	"slices"
	"testing"

	"github.com/orchion/orchion/shared/testbed/engine"
)

// A job on a network that was ready outlives the agent with it, and no network is left when
// the agent leaves.
func TestNetworkIsReady(t *testing.T) {
	t.Parallel()
	forEachEngine(t, func(t *testing.T, e *engine.Engine) {
		c := newCluster(t)
		a := c.addAgent("keeps-networks", e)
		var id string
		c.eventually("a job is lent a network", func() error {
			id = c.submit(longJob)
			c.waitLog(id, "line 1")
			states, err := e.ContainerStates(t.Context(), "orchion.node="+a.id, "orchion.network")
			if err == nil && !slices.Contains(states, "running") {
				c.cli("job", "cancel", id)
				err = fmt.Errorf("containers that were lent one: %v", states)
			}
			return err
		})

		a.kill()
		a.program = a.start()
		if job := c.waitJob(id, succeeded); len(job.GetAttempts()) != 1 {
			t.Errorf("attempts %v, want the adopted one alone", job.GetAttempts())
		}
		wantLines(t, c.logText(id), 200)

		a.stop()
		for _, label := range []string{"orchion.node=", "orchion.network.node="} {
			if left, err := e.ContainerStates(t.Context(), label+a.id); err != nil || len(left) > 0 {
				t.Errorf("left with %s: %v, %v", label, left, err)
			}
		}
	})
}
