// Command orchestrator is Orchion's control plane.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// The exit codes: failed at run time, and started wrongly.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	err := newCommand(os.LookupEnv).ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintf(os.Stderr, "orchestrator: %v\n", err)
	if isUsage(err) {
		fmt.Fprintln(os.Stderr, "Run 'orchestrator --help' for the flags and examples.")
		return exitUsage
	}
	return exitFailed
}

// usageError is a mistake in how the program was started.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func isUsage(err error) bool {
	var usage usageError
	return errors.As(err, &usage)
}
