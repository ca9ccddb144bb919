package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/testbed/modelregistry"
	"github.com/orchion/orchion/shared/testbed/offlinemodel"
)

// TestAdoptedEngine has an Ollama that runs on the machine already, as its
// owner started it, serve through the gateway without being touched.
func TestAdoptedEngine(t *testing.T) {
	t.Parallel()
	needOllama(t)
	url := startOllama(t, offlinemodel.Tiny)
	c := newCluster(t)
	a := c.addAgent("adopts", built.engines[0], "--adopt", url)

	client := c.openAI()
	c.eventually("the engine's model is served", func() error {
		node := &orchionv1.Node{}
		if err := c.get("/api/nodes/"+a.id, node); err != nil {
			return err
		}
		engines := node.GetCapabilities().GetEngines()
		if len(engines) != 1 || engines[0].GetName() != "ollama" || engines[0].GetEndpoint() != url {
			return fmt.Errorf("the node has engines %v", engines)
		}
		models, err := client.Models.List(t.Context())
		if err == nil && len(models.Data) != 1 {
			err = fmt.Errorf("models are %v", models.Data)
		}
		return err
	})
	if text, err := streamChat(t.Context(), client, offlinemodel.Tiny); err != nil || text != offlinemodel.TinyText {
		t.Errorf("it says %q, %v", text, err)
	}

	answer, err := http.Post(c.url+"/v1/chat/completions", "application/json", strings.NewReader(`{"model":"tiny","messages":[{"role":"user","content":"hi"}]}`))
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("asked without a stream: %v, %v", answer, err)
	}
	answer.Body.Close()

	// What it needs is known from the engine, and how fast it is from the answer.
	fit := &orchionv1.ModelFit{}
	if err := c.get("/api/models/"+offlinemodel.Tiny+":fit", fit); err != nil {
		t.Fatal(err)
	}
	if len(fit.GetNodes()) != 1 || fit.GetSourceNodeId() != a.id || fit.GetArchitecture() != "llama" || fit.GetWeightBytes() < 1<<20 || fit.GetCacheBytes() <= 0 ||
		fit.GetNodes()[0].GetTokensPerSecond() <= 0 || !strings.HasPrefix(fit.GetNodes()[0].GetSpeedSource(), "measured, ") {
		t.Errorf("it fits as %v", fit)
	}
	if text := c.cli("model", "fit", offlinemodel.Tiny, "--engine", "external"); !strings.Contains(text, "Known from an Ollama that has it.") || !strings.Contains(text, a.id) {
		t.Errorf("the command line says %s", text)
	}

	// As a deployment too: the engine is used, nothing is started.
	d := &orchionv1.Deployment{}
	if err := c.call(http.MethodPost, "/api/deployments", &orchionv1.CreateDeploymentRequest{Spec: &orchionv1.DeploymentSpec{
		Model: offlinemodel.Tiny, Engine: orchionv1.Engine_ENGINE_EXTERNAL,
	}}, d); err != nil {
		t.Fatal(err)
	}
	c.eventually("the deployment is ready", func() error {
		if err := c.get("/api/deployments/"+d.GetName(), d); err != nil {
			return err
		}
		if d.GetState() != orchionv1.DeploymentState_DEPLOYMENT_STATE_READY {
			return fmt.Errorf("it is %v: %s", d.GetState(), d.GetReason())
		}
		return nil
	})
	c.cli("model", "rm", d.GetName())
	c.eventually("the deployment is gone", func() error {
		if err := c.get("/api/deployments/"+d.GetName(), d); err == nil {
			return fmt.Errorf("it is %v", d.GetState())
		}
		return nil
	})
	if text, err := streamChat(t.Context(), client, offlinemodel.Tiny); err != nil || text != offlinemodel.TinyText {
		t.Errorf("after the deployment was removed the engine says %q, %v", text, err)
	}
}

// startOllama starts a real Ollama on this machine that has pulled the models. It answers one
// request at a time with each.
func startOllama(t *testing.T, wanted ...string) (url string) {
	t.Helper()
	models, err := offlinemodel.All()
	if err != nil {
		t.Fatal(err)
	}
	registry, err := modelregistry.StartProxy(t.Context(), models, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := registry.Close(); err != nil {
			t.Errorf("closing the registry: %v", err)
		}
	})
	dir := t.TempDir()
	certificate := filepath.Join(dir, "registry.pem")
	if err := os.WriteFile(certificate, registry.Certificate(), 0o600); err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	_ = free.Close() // only its port is wanted
	cmd := exec.CommandContext(t.Context(), os.Getenv("ORCHION_TEST_OLLAMA_BIN"), "serve")
	cmd.Env = append(os.Environ(), "HOME="+dir, "OLLAMA_MODELS="+filepath.Join(dir, "models"), "OLLAMA_HOST="+address, "OLLAMA_NUM_PARALLEL=1",
		"HTTPS_PROXY="+registry.URL(), "SSL_CERT_FILE="+certificate)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // the context may have done it
		_ = cmd.Wait()         // it was killed
	})
	url = "http://" + address
	c := &cluster{t: t}
	for _, model := range wanted {
		c.eventually("Ollama has pulled "+model, func() error {
			response, err := http.Post(url+"/api/pull", "application/json", strings.NewReader(`{"model":"`+model+`","stream":false}`))
			if err != nil {
				return err
			}
			_ = response.Body.Close()
			if response.StatusCode != http.StatusOK {
				return fmt.Errorf("it answers %s", response.Status)
			}
			return nil
		})
	}
	return url
}
