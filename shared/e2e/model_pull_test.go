package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/testbed/engine"
	"github.com/orchion/orchion/shared/testbed/offlinemodel"
)

// A node gets a model that it does not serve; serving it brings nothing more.
func TestModelPull(t *testing.T) {
	t.Parallel()
	needOllama(t)
	forEachEngine(t, func(t *testing.T, e *engine.Engine) {
		c := newCluster(t)
		a := c.addAgent("pulls", e)
		if out := c.cli("model", "pull", offlinemodel.Tiny, "--image", offlinemodel.Image); !strings.Contains(out, a.id) || !strings.Contains(out, "pulled") {
			t.Errorf("it says\n%s", out)
		}
		states, err := e.ContainerStates(t.Context(), "orchion.node="+a.id)
		if err != nil || len(states) > 0 {
			t.Errorf("containers are left: %v, %v", states, err)
		}
		client := c.openAI()
		if models, err := client.Models.List(t.Context()); err != nil || len(models.Data) > 0 {
			t.Errorf("models are served: %v, %v", models, err)
		}

		pull := &orchionv1.ModelPull{}
		if err := c.call(http.MethodPost, "/api/models/nope:pull", &orchionv1.PullModelRequest{NodeIds: []string{a.id}, Image: offlinemodel.Image}, pull); err != nil {
			t.Fatal(err)
		}
		c.eventually("a model that there is not cannot be got", func() error {
			if err := c.get("/api/models/nope:pull", pull); err != nil {
				return err
			}
			if n := pull.GetNodes()[0]; n.GetState() != orchionv1.ModelPullState_MODEL_PULL_STATE_FAILED || !strings.Contains(n.GetReason(), "nope") {
				return fmt.Errorf("it is %v", n)
			}
			return nil
		})
		var refused *httpError
		if err := c.call(http.MethodPost, "/api/models/tiny:pull", &orchionv1.PullModelRequest{NodeIds: []string{"nowhere"}}, pull); !errors.As(err, &refused) || refused.status != http.StatusNotFound {
			t.Errorf("a node that there is not: %v", err)
		}
		if seen := c.deploy(offlinemodel.Tiny); seen != 0 {
			t.Errorf("it was pulled again, to %v %%", seen)
		}
	})
}
