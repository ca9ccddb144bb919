package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/orchion/orchion/shared/testbed/engine"
	"github.com/orchion/orchion/shared/testbed/ollamaimage"
)

const (
	jobImage   = "docker.io/orchion/testjob:e2e"
	agentImage = "docker.io/orchion/example-agent:e2e"
)

// built is what TestMain makes once for all tests; nothing changes it later.
var built struct {
	bin, root string
	engines   []*engine.Engine
	ollama    bool
}

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (code int, err error) {
	ctx := context.Background()
	if built.root, err = filepath.Abs("../.."); err != nil {
		return 1, err
	}
	dir, err := os.MkdirTemp("", "orchion-e2e-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	built.bin = dir
	for name, pkg := range map[string]string{
		"orchestrator": "./orchestrator/cmd/orchestrator",
		"node-agent":   "./node-agent/cmd/node-agent",
		"orchion":      "./shared/cmd/orchion",
		"testjob":      "./shared/e2e/testjob",
		"agent":        "./shared/examples/agent",
	} {
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-tags=timetzdata", "-o", filepath.Join(dir, name), pkg)
		build.Dir = built.root
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return 1, fmt.Errorf("building %s: %w: %s", pkg, err, out)
		}
	}
	if err := prepareEngines(ctx, dir); err != nil {
		return 1, err
	}
	defer func() {
		for _, e := range built.engines {
			err = errors.Join(err, e.Close())
		}
	}()
	return m.Run(), nil
}

// prepareEngines connects to the engines and builds the images in them.
func prepareEngines(ctx context.Context, bin string) error {
	for _, name := range []string{"ORCHION_TEST_DOCKER_HOST", "ORCHION_TEST_PODMAN_HOST"} {
		host := os.Getenv(name)
		if host == "" {
			continue
		}
		e, err := engine.Connect(ctx, host)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		built.engines = append(built.engines, e)
		for tag, program := range map[string]string{jobImage: "testjob", agentImage: "agent"} {
			dockerfile := "FROM scratch\nCOPY program /program\nENTRYPOINT [\"/program\"]\n"
			files := []engine.File{{Name: "program", From: filepath.Join(bin, program), Mode: 0o755}}
			if _, err := e.Build(ctx, tag, dockerfile, files, os.Stderr); err != nil {
				return err
			}
		}
	}
	if ollama := os.Getenv("ORCHION_TEST_OLLAMA_BIN"); ollama != "" && len(built.engines) > 0 {
		if err := ollamaimage.Build(ctx, built.engines, built.root, ollama, os.Stderr); err != nil {
			return err
		}
		built.ollama = true
	}
	return nil
}

// forEachEngine runs a test on every engine there is, on all of them at a time.
func forEachEngine(t *testing.T, test func(t *testing.T, e *engine.Engine)) {
	t.Helper()
	if len(built.engines) == 0 {
		t.Skip("needs a container engine: set ORCHION_TEST_DOCKER_HOST or ORCHION_TEST_PODMAN_HOST")
	}
	for _, e := range built.engines {
		t.Run(e.Name, func(t *testing.T) {
			t.Parallel()
			test(t, e)
		})
	}
}

// needOllama skips a test where no offline Ollama image could be built.
func needOllama(t *testing.T) {
	t.Helper()
	if !built.ollama {
		t.Skip("needs Ollama: set ORCHION_TEST_OLLAMA_BIN and a container engine")
	}
}
