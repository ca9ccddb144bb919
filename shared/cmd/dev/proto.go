package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/orchion/orchion/shared/cmd/dev/internal/fresh"
	"github.com/orchion/orchion/shared/cmd/dev/internal/program"
	"github.com/orchion/orchion/shared/cmd/dev/internal/repo"
)

func protoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "proto-gen",
		Short: "Generate Go, OpenAPI and TypeScript from shared/proto into shared/gen",
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := findRepo()
			if err != nil {
				return err
			}
			if err := setup(cmd.Context(), r); err != nil {
				return err
			}
			return generate(cmd.Context(), r)
		},
	}
}

// generate works offline once setup was done: the generators are tools of
// go.mod and of package.json, and imported protos are vendored.
func generate(ctx context.Context, r repo.Repo) error {
	for _, c := range []program.Command{
		nodeProgram(r, "buf", "generate"),
		{Name: "go", Args: []string{
			"run", "./shared/cmd/openapi-merge",
			"-dir", "shared/gen/openapi/orchion/v1", "-out", "shared/gen/openapi/openapi.json",
		}},
		nodeProgram(r, "openapi-typescript", "shared/gen/openapi/openapi.json", "-o", "shared/gen/ts/src/schema.d.ts"),
	} {
		c.Dir = r.Root
		if err := program.Run(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// checkGenerated lints the protos, checks that they break nobody, and that
// shared/gen is what they generate.
func checkGenerated(ctx context.Context, r repo.Repo) error {
	if err := program.Run(ctx, nodeProgram(r, "buf", "lint")); err != nil {
		return err
	}
	if err := checkBreaking(ctx, r); err != nil {
		return err
	}
	in := fresh.Inputs{Root: r.Root, Paths: []string{"shared/gen"}, Skip: []string{"node_modules"}}
	before, err := in.Hash()
	if err != nil {
		return err
	}
	if err := generate(ctx, r); err != nil {
		return err
	}
	after, err := in.Hash()
	if err != nil {
		return err
	}
	if before != after {
		return errors.New("shared/gen was not what shared/proto generates; it is now: look at the changes and commit them")
	}
	return nil
}

// checkBreaking compares the protos with those before their last change: with
// the last commit when they are being changed, else with the commit before the
// one that changed them last.
func checkBreaking(ctx context.Context, r repo.Repo) error {
	git := func(args ...string) (string, error) {
		return program.Output(ctx, program.Command{Name: "git", Args: args, Dir: r.Root})
	}
	if _, err := git("rev-parse", "--verify", "HEAD"); err != nil {
		fmt.Println("no git history to compare the protos with")
		return nil //nolint:nilerr // a checkout without git is no failure of the protos
	}
	base := "HEAD"
	changes, err := git("status", "--porcelain", "--", "shared/proto")
	if err != nil {
		return err
	}
	if changes == "" {
		last, err := git("rev-list", "-1", "HEAD", "--", "shared/proto")
		if err != nil {
			return err
		}
		base = last + "~1"
	}
	before, err := git("ls-tree", "-d", "--name-only", base, "shared/proto")
	if err != nil || strings.TrimSpace(before) == "" {
		fmt.Println("the protos are new: there is nothing they could break")
		return nil //nolint:nilerr // the first commit, or a shallow clone: no commit before it
	}
	against, err := git("rev-parse", base)
	if err != nil {
		return err
	}
	return program.Run(ctx, nodeProgram(r, "buf", "breaking", "--against", ".git#ref="+against))
}

// nodeProgram runs a program of an installed npm package, in the root.
func nodeProgram(r repo.Repo, name string, args ...string) program.Command {
	path := r.Path("node_modules", ".bin", name)
	if runtime.GOOS == "windows" {
		path += ".cmd"
	}
	return program.Command{Name: path, Args: args, Dir: r.Root}
}
