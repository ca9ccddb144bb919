package e2e

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/durationpb"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/testbed/bed"
	"github.com/orchion/orchion/shared/testbed/engine"
)

const (
	registryUser     = "robot"
	registryPassword = "correct-horse-battery"
)

// privateImage serves an image of the test job from a registry that wants a login, as long
// as the test lasts.
func privateImage(t *testing.T) (ref string) {
	t.Helper()
	program, err := os.ReadFile(filepath.Join(built.bin, "testjob"))
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	archive := tar.NewWriter(&layer)
	if err := archive.WriteHeader(&tar.Header{Name: "program", Mode: 0o755, Size: int64(len(program)), Typeflag: tar.TypeReg}); err != nil {
		t.Fatal(err)
	}
	if _, err := archive.Write(program); err != nil {
		t.Fatal(err)
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	content := map[string][]byte{} // by digest
	put := func(data []byte) string {
		digest := fmt.Sprintf("sha256:%x", sha256.Sum256(data))
		content[digest] = data
		return digest
	}
	encode := func(v any) []byte {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	const prefix = "application/vnd.oci.image."
	part := func(kind string, data []byte) map[string]any {
		return map[string]any{"mediaType": prefix + kind, "digest": put(data), "size": len(data)}
	}
	blob := part("layer.v1.tar", layer.Bytes())
	manifest := encode(map[string]any{
		"schemaVersion": 2, "mediaType": prefix + "manifest.v1+json", "layers": []any{blob},
		"config": part("config.v1+json", encode(map[string]any{
			"architecture": runtime.GOARCH, "os": "linux",
			"config": map[string]any{"Entrypoint": []string{"/program"}},
			"rootfs": map[string]any{"type": "layers", "diff_ids": []any{blob["digest"]}},
		})),
	})
	digest := put(manifest)

	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/{$}", func(http.ResponseWriter, *http.Request) {})
	serve := func(w http.ResponseWriter, kind, digest string) {
		data, ok := content[digest]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Docker-Content-Digest", digest)
		_, _ = w.Write(data) // the engine's loss
	}
	mux.HandleFunc("GET /v2/private/job/manifests/{tag}", func(w http.ResponseWriter, _ *http.Request) {
		serve(w, prefix+"manifest.v1+json", digest)
	})
	mux.HandleFunc("GET /v2/private/job/blobs/{digest}", func(w http.ResponseWriter, r *http.Request) {
		serve(w, "application/octet-stream", r.PathValue("digest"))
	})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); !ok || user != registryUser || password != registryPassword {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	_ = server.Listener.Close() // another takes its place
	server.Listener = nil
	// Podman speaks plain HTTP with registries at these ports, Docker at any of loopback.
	for port := bed.FirstRegistryPort; port <= bed.LastRegistryPort && server.Listener == nil; port++ {
		if l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			server.Listener = l
		}
	}
	if server.Listener == nil {
		t.Fatalf("no free port between %d and %d", bed.FirstRegistryPort, bed.LastRegistryPort)
	}
	server.Start()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String() + "/private/job:1"
}

// A private image is pulled with the credentials that a job names and its node keeps, and
// with no others; they show nowhere.
func TestPrivateImage(t *testing.T) {
	t.Parallel()
	forEachEngine(t, func(t *testing.T, e *engine.Engine) {
		ref := privateImage(t)
		t.Cleanup(func() {
			if err := e.RemoveImage(context.Background(), ref); err != nil {
				t.Error(err)
			}
		})
		c := newCluster(t)
		data := filepath.Join(c.dir, "registry")
		if err := os.MkdirAll(data, 0o700); err != nil {
			t.Fatal(err)
		}
		const wrong = "wrong-horse"
		registry, _, _ := strings.Cut(ref, "/")
		text := fmt.Sprintf("credentials:\n"+
			"  - {name: right, registry: %q, username: %s, password: %s}\n"+
			"  - {name: wrong, registry: %q, username: %s, password: %s}\n"+
			"  - {name: other, registry: ghcr.io, username: %s, password: %s}\n",
			registry, registryUser, registryPassword, registry, registryUser, wrong, registryUser, registryPassword)
		if err := os.WriteFile(filepath.Join(data, "registries.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		a := c.addAgent("registry", e)
		submit := func(credentials string) string {
			return c.submit([]string{"exit", "0"}, func(r *orchionv1.SubmitJobRequest) {
				container := r.GetSpec().GetContainer()
				container.Image, container.RegistryCredentials = ref, credentials
				container.PullPolicy = orchionv1.PullPolicy_PULL_POLICY_IF_NOT_PRESENT
				r.Spec.Retry = &orchionv1.RetryPolicy{MaxAttempts: 3, InitialBackoff: durationpb.New(1e8)}
			})
		}
		var seen []string
		for _, tt := range []struct {
			credentials string
			class       orchionv1.FailureClass
		}{
			{"", orchionv1.FailureClass_FAILURE_CLASS_IMAGE},
			{"wrong", orchionv1.FailureClass_FAILURE_CLASS_IMAGE},
		} {
			job := c.waitJob(submit(tt.credentials), failed)
			if attempts := job.GetAttempts(); len(attempts) != 1 || attempts[0].GetFailure() != tt.class {
				t.Errorf("with %q it failed with %q after %v; want %v, once", tt.credentials, job.GetReason(), attempts, tt.class)
			}
			seen = append(seen, job.String())
		}
		for _, name := range []string{"absent", "other"} { // the other's are for another registry
			id := submit(name)
			c.eventually("it says why it waits", func() error {
				job := c.job(id)
				if want := "holds no registry credentials " + name + " for " + registry + "; it holds right for " + registry; !strings.Contains(job.GetReason(), want) {
					return fmt.Errorf("it is %v: %q", job.GetState(), job.GetReason())
				}
				return nil
			})
			c.cancel(id)
		}
		seen = append(seen, c.waitJob(submit("right"), succeeded).String())

		node := &orchionv1.Node{}
		if err := c.get("/api/nodes/"+a.id, node); err != nil {
			t.Fatal(err)
		}
		seen = append(seen, node.String(), a.log.String(), c.orchestrator.log.String())
		for _, text := range seen {
			if strings.Contains(text, registryPassword) || strings.Contains(text, wrong) {
				t.Errorf("a password shows in %s", text)
			}
		}
	})
}
