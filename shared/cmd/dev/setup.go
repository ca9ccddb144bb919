package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/orchion/orchion/shared/cmd/dev/internal/fresh"
	"github.com/orchion/orchion/shared/cmd/dev/internal/program"
	"github.com/orchion/orchion/shared/cmd/dev/internal/repo"
)

// minNode is the oldest Node.js that the dashboard's tools run on.
const minNode = 20

func setupCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "setup-all",
		Short: "Fetch what building needs: Go modules and npm packages",
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := findRepo()
			if err != nil {
				return err
			}
			return setup(cmd.Context(), r)
		},
	}
}

func setup(ctx context.Context, r repo.Repo) error {
	if err := goModules(ctx, r); err != nil {
		return err
	}
	return npmPackages(ctx, r)
}

func goModules(ctx context.Context, r repo.Repo) error {
	in := fresh.Inputs{Root: r.Root, Paths: []string{"go.mod", "go.sum"}}
	_, err := fresh.Unless(stamp(r, "go-modules"), in, func() error {
		fmt.Println("fetching Go modules")
		return program.Run(ctx, program.Command{Name: "go", Args: []string{"mod", "download"}, Dir: r.Root})
	})
	return err
}

// npmPackages installs exactly what package-lock.json says.
func npmPackages(ctx context.Context, r repo.Repo) error {
	if err := checkNode(ctx); err != nil {
		return err
	}
	in := fresh.Inputs{Root: r.Root, Paths: []string{
		"package.json", "package-lock.json", ".npmrc",
		"dashboard/package.json", "vscode-extension/package.json", "shared/gen/ts/package.json",
	}}
	// Kept where npm itself cleans up: a removed node_modules is stale at once.
	_, err := fresh.Unless(fresh.Stamp(r.Path("node_modules", ".orchion-stamp")), in, func() error {
		fmt.Println("installing npm packages")
		return program.Run(ctx, program.Command{
			Name: "npm", Args: []string{"ci", "--no-audit", "--no-fund", "--loglevel=error"}, Dir: r.Root,
		})
	})
	return err
}

func checkNode(ctx context.Context) error {
	const get = "install Node.js %d or newer from https://nodejs.org/ (npm comes with it)"
	if !program.Found("node") || !program.Found("npm") {
		return fmt.Errorf("node and npm are missing: "+get+", or go without the dashboard (--no-dashboard)", minNode)
	}
	version, err := program.Output(ctx, program.Command{Name: "node", Args: []string{"--version"}})
	if err != nil {
		return err
	}
	major, err := nodeMajor(version)
	if err != nil {
		return err
	}
	if major < minNode {
		return fmt.Errorf("node is %s: "+get, version, minNode)
	}
	return nil
}

func nodeMajor(version string) (int, error) {
	major, _, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	n, err := strconv.Atoi(major)
	if err != nil {
		return 0, fmt.Errorf("node --version says %q: %w", version, err)
	}
	return n, nil
}

// stamp is the place of the stamps of things whose own folder cannot hold one.
func stamp(r repo.Repo, name string) fresh.Stamp {
	return fresh.Stamp(r.Path(".orchion", "stamps", name))
}
