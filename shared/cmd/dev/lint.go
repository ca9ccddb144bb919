package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/orchion/orchion/shared/cmd/dev/internal/program"
	"github.com/orchion/orchion/shared/cmd/dev/internal/repo"
	"github.com/orchion/orchion/shared/cmd/dev/internal/tools"
)

func lintCommand() *cobra.Command {
	var fix bool
	cmd := &cobra.Command{
		Use:   "lint-all",
		Short: "Lint all sources: golangci-lint for Go, eslint for TypeScript and Svelte, buf for protos",
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := findRepo()
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			if err := setup(ctx, r); err != nil {
				return err
			}
			return errors.Join(lintGo(ctx, r, fix), lintTypeScript(ctx, r, fix), program.Run(ctx, nodeProgram(r, "buf", "lint")))
		},
	}
	cmd.Flags().BoolVar(&fix, "fix", false, "repair what can be repaired")
	return cmd
}

func lintGo(ctx context.Context, r repo.Repo, fix bool) error {
	linter, err := tools.Ensure(ctx, tools.GolangciLint(), os.Stdout)
	if err != nil {
		return err
	}
	c := program.Command{Name: linter, Args: []string{"run", "--allow-parallel-runners"}, Dir: r.Root}
	if fix {
		c.Args = append(c.Args, "--fix")
	}
	if err := program.Run(ctx, c); err != nil {
		return fmt.Errorf("lint Go: %w", err)
	}
	return nil
}

func lintTypeScript(ctx context.Context, r repo.Repo, fix bool) error {
	c := nodeProgram(r, "eslint", ".")
	if fix {
		c.Args = append(c.Args, "--fix")
	}
	if err := program.Run(ctx, c); err != nil {
		return fmt.Errorf("lint TypeScript: %w", err)
	}
	return nil
}
