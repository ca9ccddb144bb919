package vllm

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/driver/docker"
	"github.com/orchion/orchion/node-agent/internal/driver/drivertest"
	"github.com/orchion/orchion/node-agent/internal/driver/fake"
	"github.com/orchion/orchion/node-agent/internal/engine"
	"github.com/orchion/orchion/node-agent/internal/engine/enginetest"
	"github.com/orchion/orchion/shared/testbed/vllmstub"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const stubPath = "/bin/vllm-stub"

// stub runs the stub in a fake container.
func stub(p *fake.Process) int {
	s, err := vllmstub.New(p.Args(), p.Getenv)
	if err != nil {
		fmt.Fprintln(p.Stderr(), err)
		return 2
	}
	l, err := p.Listen(port)
	if err != nil {
		fmt.Fprintln(p.Stderr(), err)
		return 1
	}
	ctx, cancel := context.WithCancel(p.Context())
	defer cancel()
	go func() {
		select {
		case <-p.Terminate():
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := s.Serve(ctx, l); err != nil {
		fmt.Fprintln(p.Stderr(), err)
		return 1
	}
	return 0
}

func target(d driver.Driver, node string) enginetest.Target {
	replica := func(id, model string, args ...string) engine.Spec {
		return engine.Spec{ReplicaID: id, Model: model, Image: vllmstub.Image, Args: args}
	}
	return enginetest.Target{
		New: func(t *testing.T) engine.Engine {
			e := New(Config{Driver: d, NodeID: node, Env: map[string]string{vllmstub.LoadVar: "300ms"}})
			t.Cleanup(e.Close)
			return e
		},
		Spec:    replica("r1", "Qwen/Qwen3-0.6B", "--max-model-len", "2048"),
		Second:  replica("r2", "Qwen/Qwen3-1.7B", "--served-model-name", "other"),
		Missing: replica("r3", vllmstub.MissingModel), MissingCode: engine.CodeFailed,
		Driver: d, NodeID: node,
	}
}

func TestConformance(t *testing.T) {
	d := fake.New(fake.Options{Programs: map[string]fake.Program{stubPath: stub}, Listen: true})
	defer d.Close()
	d.AddImage(vllmstub.Image, fake.Image{Entrypoint: []string{stubPath}})
	enginetest.Run(t, target(d, "node-1"))
}

func TestDockerConformance(t *testing.T) { testReal(t, "ORCHION_TEST_DOCKER_HOST") }

func TestPodmanConformance(t *testing.T) { testReal(t, "ORCHION_TEST_PODMAN_HOST") }

func testReal(t *testing.T, variable string) {
	t.Parallel()
	host := os.Getenv(variable)
	if host == "" {
		t.Skipf("%s is not set: it names the socket of a real engine, such as unix:///var/run/docker.sock", variable)
	}
	d, err := docker.Open(t.Context(), host)
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(t.TempDir(), "stub")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary,
		"github.com/orchion/orchion/shared/testbed/cmd/vllm-stub")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, out)
	}
	program, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	err = d.ImportImage(t.Context(), driver.ImageImport{
		Ref: vllmstub.Image, Entrypoint: []string{stubPath},
		RootFS: bytes.NewReader(drivertest.RootFS(map[string][]byte{stubPath: program})),
	})
	if err != nil {
		t.Fatal(err)
	}
	node := "vllm-test-" + time.Now().Format("150405.000000")
	t.Cleanup(func() {
		if err := enginetest.RemoveVolumes(context.Background(), d, node); err != nil {
			t.Error(err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	enginetest.Run(t, target(d, node))
}

func TestContainer(t *testing.T) {
	e := New(Config{Driver: fake.New(fake.Options{}), NodeID: "n", Env: map[string]string{"HF_TOKEN": "secret"}})
	spec := engine.Spec{ReplicaID: "r", Model: "o/m", Args: []string{"--tensor-parallel-size", "2"}, Resources: driver.Resources{MemoryBytes: 1 << 30}}
	c := e.container(spec, DefaultImage, true)
	want := []string{"--model", "o/m", "--port", "8000", "--served-model-name", "o/m", "--tensor-parallel-size", "2"}
	if diff := cmp.Diff(want, c.Spec.Args); diff != "" {
		t.Errorf("args (-want +got):\n%s", diff)
	}
	if c.Spec.Resources.ShmBytes != shmBytes || c.Spec.Resources.MemoryBytes != 1<<30 || c.Spec.GPUs.Count != driver.AllGPUs || c.Spec.Env["HF_TOKEN"] != "secret" {
		t.Errorf("spec = %+v", c.Spec)
	}
	spec.Args = []string{"--served-model-name=short"}
	if args := e.container(spec, DefaultImage, false).Spec.Args; !slices.Equal(args, []string{"--model", "o/m", "--port", "8000", "--served-model-name=short"}) {
		t.Errorf("args = %q", args)
	}
	if model, _ := servedName(spec); model != "short" {
		t.Errorf("served as %q", model)
	}
}

func TestInvalid(t *testing.T) {
	for _, tt := range []struct {
		spec engine.Spec
		want string
	}{
		{engine.Spec{ReplicaID: "r", Model: "a b"}, `model: "a b"`},
		{engine.Spec{ReplicaID: "r", Model: "../m"}, `model: "../m"`},
		{engine.Spec{ReplicaID: "r", Model: "m", Args: []string{"--seed", "1", "--port=1"}}, "args[2]: --port is set by the node"},
		{engine.Spec{ReplicaID: "r", Model: "m", Args: []string{"--served_model_name", "x", "--ssl_keyfile", "y"}}, "args[2]: --ssl_keyfile"},
	} {
		_, err := check(tt.spec)
		if engine.CodeOf(err) != engine.CodeInvalid || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error = %v, want %q", err, tt.want)
		}
	}
}
