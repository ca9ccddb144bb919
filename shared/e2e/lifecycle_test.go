package e2e

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/testbed/offlinemodel"
)

const tinyDeployment = "tiny"

// ask asks the tiny model and says what is wrong with the answer.
func (c *cluster) ask() error {
	response, err := http.Post(c.url+"/v1/chat/completions", "application/json",
		strings.NewReader(`{"model":"tiny","messages":[{"role":"user","content":"hi"}]}`))
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }() // only read from
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s, Retry-After %q: %s", response.Status, response.Header.Get("Retry-After"), body)
	}
	return nil
}

// replicas waits until the tiny model's deployment is settled with so many
// replicas that are not in old, and answers their ids.
func (c *cluster) replicas(count int, old ...string) []string {
	c.t.Helper()
	var ids []string
	c.eventually(fmt.Sprintf("%d replicas serve", count), func() error {
		d := &orchionv1.Deployment{}
		if err := c.get("/api/deployments/"+tinyDeployment, d); err != nil {
			return err
		}
		ids = ids[:0]
		for _, r := range d.GetReplicas() {
			if r.GetState() != orchionv1.ReplicaState_REPLICA_STATE_READY || slices.Contains(old, r.GetId()) {
				return fmt.Errorf("there is %v", r)
			}
			ids = append(ids, r.GetId())
		}
		if len(ids) != count || d.GetState() != orchionv1.DeploymentState_DEPLOYMENT_STATE_READY {
			return fmt.Errorf("there are %v, wanted %d, and it is %v: %s", ids, d.GetWantedReplicas(), d.GetState(), d.GetReason())
		}
		return nil
	})
	return ids
}

// engineLog looks at the end of the log of Ollama that serves a replica.
func (c *cluster) engineLog(replica string) {
	c.t.Helper()
	response, err := http.Get(c.url + "/api/deployments/" + tinyDeployment + "/logs?tail=3&replicaId=" + replica)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }() // only read from
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK || strings.Count(string(body), "\n") != 3 {
		c.t.Errorf("the end of the log is %s, %v:\n%s", response.Status, err, body)
	}
}

// A model goes when nobody asks for it, comes back for who does, and is replaced
// while it is asked.
func TestLifecycle(t *testing.T) {
	t.Parallel()
	needOllama(t)
	c := newCluster(t)
	c.addAgent("first", built.engines[0])
	c.cli("model", "deploy", offlinemodel.Tiny, "--name", tinyDeployment, "--image", offlinemodel.Image,
		"--min", "0", "--max", "2", "--idle-timeout", "1s")
	c.replicas(0)
	if err := c.ask(); err != nil {
		t.Errorf("a request does not bring it back, and is not answered then: %v", err)
	}

	c.addAgent("second", built.engines[len(built.engines)-1])
	c.cli("model", "scale", tinyDeployment, "all")
	old := c.replicas(2)
	if out := c.cli("model", "ps", tinyDeployment); strings.Count(out, " ready ") != 2 {
		t.Errorf("the copies are\n%s", out)
	}
	c.engineLog(old[1])
	updated := &orchionv1.Deployment{}
	if err := c.call(http.MethodPatch, "/api/deployments/"+tinyDeployment, &orchionv1.UpdateDeploymentRequest{
		Spec: &orchionv1.DeploymentSpec{Resources: &orchionv1.Resources{MemoryBytes: 64 << 20}},
	}, updated); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	asked := make(chan error, 1)
	go func() {
		defer close(asked)
		for {
			select {
			case <-done:
				return
			default:
			}
			if err := c.ask(); err != nil {
				asked <- err
				return
			}
		}
	}()
	c.replicas(2, old...)
	close(done)
	if err := <-asked; err != nil {
		t.Errorf("a request failed while replicas were replaced: %v", err)
	}
}

// An idle model makes room for another.
func TestIdleModelMakesRoom(t *testing.T) {
	t.Parallel()
	needOllama(t)
	c := newCluster(t)
	a := c.addAgent("only", built.engines[0])
	n := &orchionv1.Node{}
	if err := c.get("/api/nodes/"+a.id, n); err != nil {
		t.Fatal(err)
	}
	deploy := func(name string, size *orchionv1.DeploymentSpec) {
		t.Helper()
		size.Model, size.Engine, size.Image = offlinemodel.Tiny, orchionv1.Engine_ENGINE_OLLAMA, offlinemodel.Image
		// More than half of the node.
		size.Resources = &orchionv1.Resources{CpuMillis: int64(n.GetCapabilities().GetCpu().GetLogicalCores()) * 600}
		if err := c.call(http.MethodPost, "/api/deployments", &orchionv1.CreateDeploymentRequest{Name: name, Spec: size}, &orchionv1.Deployment{}); err != nil {
			t.Fatal(err)
		}
	}
	zero, one := int32(0), int32(1)
	deploy(tinyDeployment, &orchionv1.DeploymentSpec{MinReplicas: &zero, MaxReplicas: &one})
	c.replicas(1)
	deploy("other", &orchionv1.DeploymentSpec{})
	c.replicas(0)
	d := &orchionv1.Deployment{}
	if err := c.get("/api/deployments/"+tinyDeployment, d); err != nil || !strings.Contains(d.GetReason(), "made room for deployment other") {
		t.Errorf("the reason is %q, %v", d.GetReason(), err)
	}
	c.eventually("the other serves", c.ask)
}
