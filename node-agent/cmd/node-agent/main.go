// An agent that rests need not see, each time it is woken, how many processors it may use now.
//go:debug updatemaxprocs=0

// Command node-agent offers a machine to an Orchion orchestrator: it runs jobs in
// containers there and serves models.
//
// Exit status: 0 ended as asked; 1 failed; 2 wrong use.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/orchion/orchion/node-agent/agent"
	"github.com/orchion/orchion/node-agent/internal/driver/process"
	"github.com/orchion/orchion/node-agent/internal/joblink"
	"github.com/orchion/orchion/node-agent/internal/jobnet"
)

// Exit statuses: failed at run time, and started wrongly.
const (
	exitFailed = 1
	exitUsage  = 2
)

// forwarderCommand makes this program the forwarder in a container that joblink started.
const forwarderCommand = "job-forwarder"

func main() { os.Exit(run()) }

func run() int {
	if len(os.Args) == 3 && os.Args[1] == agent.SuperviseCommand {
		// Before signals are taken: a supervisor has its own use for them.
		if err := process.Supervise(os.Args[2], os.Stdout); err != nil {
			fmt.Fprintf(os.Stderr, "node-agent %s: %v\n", agent.SuperviseCommand, err)
			return exitFailed
		}
		return 0
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	if len(os.Args) == 2 && os.Args[1] == forwarderCommand {
		// Before all else: a forwarder has little memory and none of the flags.
		if err := joblink.ForwarderMain(ctx, os.Getenv, os.Stderr); err != nil {
			fmt.Fprintf(os.Stderr, "node-agent %s: %v\n", forwarderCommand, err)
			return exitFailed
		}
		return 0
	}
	if len(os.Args) == 2 && os.Args[1] == jobnet.HolderCommand { // likewise
		if err := jobnet.HolderMain(ctx, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintf(os.Stderr, "node-agent %s: %v\n", jobnet.HolderCommand, err)
			return exitFailed
		}
		return 0
	}
	err := newCommand(os.LookupEnv).ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintf(os.Stderr, "node-agent: %v\n", err)
	if isUsage(err) {
		fmt.Fprintln(os.Stderr, "Run 'node-agent --help' for the flags and examples.")
		return exitUsage
	}
	return exitFailed
}

// usageError is a mistake in how the program was started.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func isUsage(err error) bool {
	var usage usageError
	return errors.As(err, &usage)
}
