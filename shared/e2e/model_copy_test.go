package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/testbed/offlinemodel"
)

// A second node gets a model from the first, and serves it by itself.
func TestModelsAreCopied(t *testing.T) {
	t.Parallel()
	needOllama(t)
	c := newCluster(t)
	first := c.addAgent("first", built.engines[0])
	c.deploy(offlinemodel.Tiny)
	second := c.addAgent("second", built.engines[len(built.engines)-1])
	name := strings.ReplaceAll(offlinemodel.Tiny, ":", "-")
	c.cli("model", "scale", name, "2")
	c.eventually("both nodes serve", func() error {
		d := &orchionv1.Deployment{}
		if err := c.get("/api/deployments/"+name, d); err != nil {
			return err
		}
		if d.GetState() != orchionv1.DeploymentState_DEPLOYMENT_STATE_READY || len(d.GetReplicas()) != 2 {
			return fmt.Errorf("it is %v: %v", d.GetState(), d.GetReplicas())
		}
		return nil
	})
	if log := c.orchestrator.log.String(); !strings.Contains(log, fmt.Sprintf("from=%s to=%s", first.id, second.id)) {
		t.Errorf("no file went from %s to %s:\n%s", first.id, second.id, log)
	}
	first.stop()
	c.eventually("the second answers", func() error {
		response, err := http.Post(c.url+"/v1/chat/completions", "application/json",
			strings.NewReader(`{"model":"tiny","messages":[{"role":"user","content":"hi"}]}`))
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK || response.Header.Get("X-Orchion-Node") != second.id {
			return fmt.Errorf("%s from %q", response.Status, response.Header.Get("X-Orchion-Node"))
		}
		return nil
	})
}
