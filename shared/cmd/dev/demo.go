package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/orchion/orchion/shared/cmd/dev/internal/program"
	"github.com/orchion/orchion/shared/cmd/dev/internal/tools"
	"github.com/orchion/orchion/shared/testbed/engine"
	"github.com/orchion/orchion/shared/testbed/offlinemodel"
	"github.com/orchion/orchion/shared/testbed/ollamaimage"
)

const (
	demoModel = "qwen3:0.6b"
	// demoImage has a registry in its name that both engines take literally.
	demoImage = "localhost/orchion-example-agent:latest"
	demoTask  = "Which machine are you running on, and how much memory does it have? Use your tools, then answer in one sentence."
)

// demo does the main job with the commands that a user would type, and shows
// them.
func (s *session) demo(ctx context.Context) error {
	model := s.options.model
	deploy := []string{"model", "deploy"}
	engines, err := s.nodeEngines(ctx)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer func() {
		for _, e := range engines {
			_ = e.Close() // nothing was written through it that is not acknowledged
		}
	}()
	if s.options.offline {
		if err := s.buildOfflineImage(ctx, engines); err != nil {
			return fmt.Errorf("demo: %w", err)
		}
		if model == "" {
			model = offlinemodel.Tiny
		}
		deploy = append(deploy, "--image", offlinemodel.Image)
	}
	if model == "" {
		model = demoModel
	}
	s.say("demo, 1 of 3: a model on a node")
	if err := s.orchion(ctx, append(deploy, model)...); err != nil {
		return fmt.Errorf("demo: deploy %s: %w", model, err)
	}

	s.say("demo, 2 of 3: the example agent as a container image (%s)", demoImage)
	if err := s.buildAgentImage(ctx, engines); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	s.say("demo, 3 of 3: the agent as a job that may call the model")
	err = s.orchion(ctx, "job", "submit", "--follow", "--name", "demo-agent", "--image", demoImage, "--pull", "never",
		"--model", model, "--env", "AGENT_MODEL="+model, "--", demoTask)
	if err != nil {
		return fmt.Errorf("demo: run the agent: %w", err)
	}
	if err := s.orchion(ctx, "job", "ls"); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	s.say("demo done: everything goes on running. To go on yourself:")
	s.say("  bin/orchion%s chat %s \"Hello\"", s.urlFlag(), model)
	s.say("  curl %s/v1/models", s.options.url())
	s.say("  open %s/", s.options.url())
	return nil
}

// orchion runs the CLI as a user would, showing the command and its output.
func (s *session) orchion(ctx context.Context, args ...string) error {
	path := s.repo.Path("bin", "orchion")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	shown := make([]string, len(args))
	for i, arg := range args {
		shown[i] = arg
		if strings.ContainsAny(arg, " ?") {
			shown[i] = `"` + arg + `"`
		}
	}
	out := s.mux.Writer("demo")
	defer out.Flush()
	fmt.Fprintf(out, "$ bin/orchion%s %s\n", s.urlFlag(), strings.Join(shown, " "))
	return program.Run(ctx, program.Command{
		Name: path, Args: args, Dir: s.repo.Root, Stdout: out, Stderr: out,
		Env: []string{"ORCHION_URL=" + s.options.url()},
	})
}

// urlFlag is what a user has to add when the port is not the usual one.
func (s *session) urlFlag() string {
	if s.options.httpPort == 8080 {
		return ""
	}
	return " --url " + s.options.url()
}

// nodeEngines connects to the container engines that the nodes report. The demo
// builds its image in each of them, since there is no registry to get it from.
func (s *session) nodeEngines(ctx context.Context) ([]*engine.Engine, error) {
	nodes, err := s.nodes(ctx)
	if err != nil {
		return nil, err
	}
	var engines []*engine.Engine
	seen := map[string]bool{}
	for _, n := range nodes {
		for _, rt := range n.Capabilities.Runtimes {
			if seen[rt.Endpoint] {
				continue
			}
			seen[rt.Endpoint] = true
			e, err := engine.Connect(ctx, rt.Endpoint)
			if err != nil {
				return nil, fmt.Errorf("%s of node %s: %w", rt.Name, n.ID, err)
			}
			engines = append(engines, e)
		}
	}
	if len(engines) == 0 {
		return nil, errors.New("no node reports a container engine")
	}
	return engines, nil
}

func (s *session) buildOfflineImage(ctx context.Context, engines []*engine.Engine) error {
	if s.options.yes {
		if err := installPackages(ctx, os.Stdout, "gcc", "g++", "libc6-dev"); err != nil {
			return err
		}
	}
	out := s.mux.Writer("demo")
	defer out.Flush()
	binary, err := tools.Ensure(ctx, tools.Ollama(), out)
	if err != nil {
		return err
	}
	return ollamaimage.Build(ctx, engines, s.repo.Root, binary, out)
}

func (s *session) buildAgentImage(ctx context.Context, engines []*engine.Engine) error {
	source := s.repo.Path("shared", "examples", "agent")
	dockerfile, err := os.ReadFile(filepath.Join(source, "Dockerfile"))
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "orchion-agent-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	out := s.mux.Writer("demo")
	defer out.Flush()
	for _, e := range engines {
		agent := filepath.Join(dir, "agent-"+e.Arch)
		err = program.Run(ctx, program.Command{
			Name: "go", Args: []string{
				"build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-tags=timetzdata", "-o", agent, "./shared/examples/agent",
			},
			Dir: s.repo.Root, Stdout: out, Stderr: out,
			Env: []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + e.Arch},
		})
		if err != nil {
			return err
		}
		files := []engine.File{{Name: "agent", From: agent, Mode: 0o755}}
		if _, err := e.Build(ctx, demoImage, string(dockerfile), files, io.Discard); err != nil {
			return err
		}
	}
	return nil
}
