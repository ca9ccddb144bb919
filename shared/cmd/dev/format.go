package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/orchion/orchion/shared/cmd/dev/internal/program"
	"github.com/orchion/orchion/shared/cmd/dev/internal/repo"
)

func formatCommand() *cobra.Command {
	var check bool
	cmd := &cobra.Command{
		Use:   "format-all",
		Short: "Format all sources: gofmt for Go, prettier for the rest, buf for protos",
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := findRepo()
			if err != nil {
				return err
			}
			if err := npmPackages(cmd.Context(), r); err != nil {
				return err
			}
			return format(cmd.Context(), r, check)
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "change nothing, but fail when something would be changed")
	return cmd
}

// goFolders hold the Go sources; the root itself has none, and node_modules
// beside them has some that are not ours.
func goFolders(r repo.Repo) []string {
	var folders []string
	for _, f := range []string{"orchestrator", "node-agent", "shared", "dashboard/embed.go", "dashboard/embed_test.go"} {
		if r.Has(f) {
			folders = append(folders, f)
		}
	}
	return folders
}

func format(ctx context.Context, r repo.Repo, check bool) error {
	folders := goFolders(r)
	prettier := nodeProgram(r, "prettier", "--log-level=warn")
	buf := nodeProgram(r, "buf", "format", "shared/proto")
	if !check {
		prettier.Args = append(prettier.Args, "--write", ".")
		buf.Args = append(buf.Args, "--write")
		for _, c := range []program.Command{
			{Name: "gofmt", Args: append([]string{"-w"}, folders...), Dir: r.Root}, prettier, buf,
		} {
			if err := program.Run(ctx, c); err != nil {
				return err
			}
		}
		return nil
	}
	unformatted, err := program.Output(ctx, program.Command{Name: "gofmt", Args: append([]string{"-l"}, folders...), Dir: r.Root})
	if err != nil {
		return err
	}
	var errs []error
	if unformatted != "" {
		errs = append(errs, fmt.Errorf("gofmt: %s", strings.Join(strings.Fields(unformatted), ", ")))
	}
	prettier.Args = append(prettier.Args, "--check", ".")
	buf.Args = append(buf.Args, "--diff", "--exit-code")
	errs = append(errs, program.Run(ctx, prettier), program.Run(ctx, buf))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("run format-all: %w", err)
	}
	return nil
}
