// Command dev does what the scripts under shared/scripts are named after: sets
// up a checkout, builds, runs, tests, generates, formats, cleans. One program
// does it, so that Linux, macOS and Windows behave alike:
//
//	go run ./shared/cmd/dev run-all --demo
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/orchion/orchion/shared/cmd/dev/internal/repo"
)

// errQuiet ends the program with exit code 1 when all there is to say has been
// said.
var errQuiet = errors.New("failed")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newCommand().ExecuteContext(ctx)
	stop()
	if err == nil {
		return
	}
	if !errors.Is(err, errQuiet) {
		fmt.Fprintln(os.Stderr, "error:", err)
	}
	var usage *usageError
	if errors.As(err, &usage) {
		os.Exit(2)
	}
	os.Exit(1)
}

// usageError is a wrong use of the command line; the exit code tells it from a
// task that failed.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "dev",
		Short:         "Development tasks of Orchion",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{fmt.Errorf("%w; %s --help tells the options", err, cmd.CommandPath())}
	})
	for _, task := range []func() *cobra.Command{
		setupCommand, buildCommand, runCommand, testCommand, protoCommand, cleanCommand,
		dashboardCommand, formatCommand, lintCommand, testbedCommand,
	} {
		cmd := task()
		if cmd.Args == nil {
			cmd.Args = noArguments
		}
		root.AddCommand(cmd)
	}
	return root
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return &usageError{fmt.Errorf("%s takes no argument, got %q; --help tells its options", cmd.CommandPath(), args[0])}
	}
	return nil
}

// findRepo finds the checkout around this program, as the scripts build it into
// bin/, or around the working directory, as under `go run`.
func findRepo() (repo.Repo, error) {
	if exe, err := os.Executable(); err == nil {
		if r, err := repo.Find(filepath.Dir(exe)); err == nil {
			return r, nil
		}
	}
	return repo.Find(".")
}
