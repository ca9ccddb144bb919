package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/orchion/orchion/shared/cmd/dev/internal/repo"
)

func cleanCommand() *cobra.Command {
	var data bool
	cmd := &cobra.Command{
		Use:   "clean-all",
		Short: "Remove what was built and installed into the checkout",
		Long: `Remove what was built and installed into the checkout: bin/, node_modules/, the
dashboard's and the extension's builds. The data of local runs (.orchion/) stays
unless --data is given.`,
		RunE: func(*cobra.Command, []string) error {
			r, err := findRepo()
			if err != nil {
				return err
			}
			return clean(r, data)
		},
	}
	cmd.Flags().BoolVar(&data, "data", false, "also remove .orchion/: the nodes, jobs and deployments of local runs")
	return cmd
}

func clean(r repo.Repo, data bool) error {
	paths := []string{"node_modules", ".orchion/stamps"}
	for _, pattern := range []string{
		"bin/*", "dashboard/build/*", "dashboard/.svelte-kit", "dashboard/node_modules",
		"dashboard/test-results", "dashboard/playwright-report",
		"vscode-extension/dist", "vscode-extension/out", "vscode-extension/node_modules", "vscode-extension/*.vsix",
		"shared/gen/ts/node_modules", "shared/examples/agent/agent",
	} {
		matches, err := filepath.Glob(r.Path(pattern))
		if err != nil {
			return fmt.Errorf("clean: %w", err)
		}
		for _, match := range matches {
			paths = append(paths, r.Rel(match))
		}
	}
	if data {
		paths = append(paths, ".orchion")
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("clean: %w", err)
	}
	for _, path := range paths {
		full := r.Path(path)
		// Windows does not let go of a running program; it is rebuilt anyway.
		if full == self || filepath.Base(full) == ".gitkeep" {
			continue
		}
		if _, err := os.Stat(full); errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err := os.RemoveAll(full); err != nil {
			return fmt.Errorf("clean: %w", err)
		}
		fmt.Println("removed", path)
	}
	return nil
}
