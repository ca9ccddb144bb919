package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/orchion/orchion/shared/cmd/dev/internal/repo"
	"github.com/orchion/orchion/shared/cmd/dev/internal/tools"
	"github.com/orchion/orchion/shared/testbed/bed"
	"github.com/orchion/orchion/shared/testbed/engine"
	"github.com/orchion/orchion/shared/testbed/offlinemodel"
	"github.com/orchion/orchion/shared/testbed/ollamaimage"
)

func testbedCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "testbed",
		Short: "Real engines for tests that are run by hand",
		Long: `Real engines for tests that are run by hand: Docker, Podman and Ollama, with the
offline Ollama image in them. test-all does this by itself.`,
		Example: `  go run ./shared/cmd/dev testbed up
  eval "$(go run ./shared/cmd/dev testbed env)"
  go test ./node-agent/...
  go run ./shared/cmd/dev testbed down`,
	}
	up := &cobra.Command{
		Use: "up", Short: "Start what is missing and leave it running", Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := findRepo()
			if err != nil {
				return err
			}
			engines := bringUp(cmd.Context(), r, true)
			for _, missing := range engines.missing {
				fmt.Println("not available:", missing)
			}
			if len(engines.vars) == 0 {
				return errors.New("no engine is available")
			}
			fmt.Println(strings.Join(engines.vars, "\n"))
			return nil
		},
	}
	env := &cobra.Command{
		Use: "env", Short: "Print the variables that tests read, for the shell's eval", Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := findRepo()
			if err != nil {
				return err
			}
			for _, v := range bringUp(cmd.Context(), r, false).vars {
				fmt.Println("export", v)
			}
			return nil
		},
	}
	down := &cobra.Command{
		Use: "down", Short: "Stop the engines that were started, and remove their containers", Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return bed.Default().Down(cmd.Context(), os.Stdout)
		},
	}
	cmd.AddCommand(up, env, down)
	return cmd
}

// testEngines are the real engines of this machine.
type testEngines struct {
	// vars are for the environment of tests, as KEY=value.
	vars []string
	// missing says for each engine that cannot be had why.
	missing []string
	// stop ends what bringUp started, and nothing else.
	stop func(context.Context) error
}

// bringUp starts the engines that do not run yet and builds the offline image
// in them; images may be left out.
func bringUp(ctx context.Context, r repo.Repo, images bool) testEngines {
	var t testEngines
	var stops []func(context.Context) error
	b := bed.Default()
	log := os.Stderr

	var engines []*engine.Engine
	add := func(variable, host string, started bool, err error, stop func(context.Context) error) {
		if started {
			stops = append(stops, stop)
		}
		if err == nil {
			var e *engine.Engine
			if e, err = engine.Connect(ctx, host); err == nil {
				engines = append(engines, e)
				t.vars = append(t.vars, variable+"="+host)
				return
			}
		}
		t.missing = append(t.missing, err.Error())
	}
	host, started, err := b.Docker(ctx, log)
	add(bed.DockerVar, host, started, err, func(ctx context.Context) error { return b.StopDocker(ctx, log) })
	host, started, err = b.Podman(ctx, log)
	add(bed.PodmanVar, host, started, err, func(ctx context.Context) error { return b.StopPodman(ctx, log) })
	t.stop = func(ctx context.Context) error {
		var errs []error
		for _, stop := range stops {
			errs = append(errs, stop(ctx))
		}
		return errors.Join(errs...)
	}

	binary, err := tools.Ensure(ctx, tools.Ollama(), log)
	switch {
	case err != nil:
		t.missing = append(t.missing, "ollama: "+err.Error())
	default:
		t.vars = append(t.vars, bed.OllamaVar+"="+binary)
		if images {
			if err := ollamaimage.Build(ctx, engines, r.Root, binary, log); err != nil {
				t.missing = append(t.missing, offlinemodel.Image+": "+err.Error())
			}
		}
	}
	for _, e := range engines {
		_ = e.Close() // it was only asked
	}
	return t
}
