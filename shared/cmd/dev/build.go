package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/orchion/orchion/shared/cmd/dev/internal/fresh"
	"github.com/orchion/orchion/shared/cmd/dev/internal/program"
	"github.com/orchion/orchion/shared/cmd/dev/internal/repo"
)

// target is a system to build for.
type target struct{ os, arch string }

func (t target) String() string { return t.os + "-" + t.arch }

// targets are the systems that orchestrator and node agent are made for.
func targets() []target {
	var all []target
	for _, system := range []string{"linux", "darwin", "windows"} {
		for _, arch := range []string{"amd64", "arm64"} {
			all = append(all, target{system, arch})
		}
	}
	return all
}

func host() target { return target{runtime.GOOS, runtime.GOARCH} }

type buildOptions struct {
	cross       bool
	noDashboard bool
}

func buildCommand() *cobra.Command {
	var o buildOptions
	cmd := &cobra.Command{
		Use:   "build-all",
		Short: "Build the dashboard and, with it inside, the programs into bin/",
		Example: `  build-all.sh
  build-all.sh --cross           # also for linux, darwin, windows on amd64, arm64, into bin/<os>-<arch>/`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := findRepo()
			if err != nil {
				return err
			}
			return buildAll(cmd.Context(), r, o)
		},
	}
	cmd.Flags().BoolVar(&o.cross, "cross", false, "also build orchestrator and node-agent for all six systems")
	cmd.Flags().BoolVar(&o.noDashboard, "no-dashboard", false, "leave the dashboard out; needs no Node.js")
	return cmd
}

func buildAll(ctx context.Context, r repo.Repo, o buildOptions) error {
	if err := goModules(ctx, r); err != nil {
		return err
	}
	if !o.noDashboard {
		if err := npmPackages(ctx, r); err != nil {
			return err
		}
		if err := buildDashboard(ctx, r); err != nil {
			return err
		}
	}
	if err := buildPrograms(ctx, r, host(), r.Path("bin"), "orchestrator", "node-agent", "orchion"); err != nil {
		return err
	}
	if !o.cross {
		return nil
	}
	return crossBuild(ctx, r)
}

func crossBuild(ctx context.Context, r repo.Repo) error {
	for _, t := range targets() {
		if err := buildPrograms(ctx, r, t, r.Path("bin", t.String()), "orchestrator", "node-agent"); err != nil {
			return err
		}
	}
	return nil
}

// packages is where the programs are; those that the checkout lacks are left
// out.
func packages(r repo.Repo, names ...string) (map[string]string, error) {
	places := map[string]string{
		"orchestrator": "orchestrator/cmd/orchestrator",
		"node-agent":   "node-agent/cmd/node-agent",
		"orchion":      "shared/cmd/orchion",
	}
	found := map[string]string{}
	for _, name := range names {
		if files, err := filepath.Glob(r.Path(places[name], "*.go")); err == nil && len(files) > 0 {
			found[name] = places[name]
		}
	}
	if len(found) == 0 {
		return nil, errors.New("there is no program to build yet")
	}
	return found, nil
}

func buildPrograms(ctx context.Context, r repo.Repo, t target, dir string, names ...string) error {
	found, err := packages(r, names...)
	if err != nil {
		return err
	}
	ldflags := "-s -w"
	if v := gitVersion(ctx, r); v != "" {
		ldflags += " -X github.com/orchion/orchion/shared/version.Version=" + v
	}
	// grpcnotrace leaves out gRPC's pages of traces, whose templates call methods
	// by name: with them the linker keeps every exported method of every type,
	// a fifth of the node agent.
	args := []string{"build", "-trimpath", "-tags", "grpcnotrace", "-ldflags", ldflags, "-o", dir + string(filepath.Separator)}
	for _, name := range names {
		if place, ok := found[name]; ok {
			args = append(args, "./"+place)
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("build for %s: %w", t, err)
	}
	fmt.Printf("building for %s into %s\n", t, r.Rel(dir))
	return program.Run(ctx, program.Command{
		Name: "go", Args: args, Dir: r.Root,
		Env: []string{"CGO_ENABLED=0", "GOOS=" + t.os, "GOARCH=" + t.arch},
	})
}

// gitVersion names the commit after the last tag; it is empty outside of git,
// where the build then knows nothing better.
func gitVersion(ctx context.Context, r repo.Repo) string {
	version, err := program.Output(ctx, program.Command{
		Name: "git", Args: []string{"describe", "--tags", "--always", "--dirty"}, Dir: r.Root,
	})
	if err != nil {
		return ""
	}
	return version
}

// buildDashboard makes the static build that the orchestrator embeds, unless it
// is up to date.
func buildDashboard(ctx context.Context, r repo.Repo) error {
	if !r.Has("dashboard", "svelte.config.js") {
		return nil
	}
	in := fresh.Inputs{
		Root: r.Root,
		Paths: []string{
			"dashboard/src", "dashboard/static", "dashboard/package.json", "dashboard/svelte.config.js",
			"dashboard/vite.config.ts", "dashboard/tsconfig.json", "shared/gen/ts", "package-lock.json",
		},
		Skip:  []string{"node_modules"},
		Extra: []string{os.Getenv("VITE_ORCHESTRATOR_URL")},
	}
	done := stamp(r, "dashboard")
	if !r.Has("dashboard", "build", "index.html") {
		if err := os.Remove(string(done)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("build the dashboard: %w", err)
		}
	}
	_, err := fresh.Unless(done, in, func() error {
		fmt.Println("building the dashboard")
		err := program.Run(ctx, program.Command{
			Name: "npm", Args: []string{"run", "--silent", "build", "-w", "dashboard", "--", "--logLevel", "warn"}, Dir: r.Root,
		})
		if err != nil {
			return err
		}
		// The build empties its folder; this file is the one that is committed.
		return os.WriteFile(r.Path("dashboard", "build", ".gitkeep"), nil, 0o644)
	})
	return err
}
