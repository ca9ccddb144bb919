// Command orchion is the command line of Orchion: a client of the
// orchestrator's API and nothing else.
//
// Exit status: 0 done; 1 failed; 2 wrong use; 3 what was named does not exist;
// 4 the orchestrator cannot be reached. `job run` and `job submit --follow` end with the
// job's own exit code.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newRoot().ExecuteContext(ctx)
	stop()
	os.Exit(exitCode(err))
}

// Exit statuses; see the package's documentation.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitUnreachable = 4
)

// jobEndedError carries a job's exit code to the end of the program.
type jobEndedError struct{ code int }

func (e jobEndedError) Error() string { return fmt.Sprintf("the job ended with exit code %d", e.code) }

// usageError is a mistake on the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// exitCode says an error on stderr and answers the exit status for it.
func exitCode(err error) int {
	var (
		ended       jobEndedError
		usage       usageError
		api         *apiError
		unreachable *unreachableError
	)
	switch {
	case err == nil:
		return 0
	case errors.As(err, &ended):
		return ended.code
	case errors.Is(err, context.Canceled):
		return 130 // as a shell counts an interrupt
	}
	fmt.Fprintln(os.Stderr, "orchion:", err)
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &unreachable):
		return exitUnreachable
	case errors.As(err, &api) && api.notFound():
		return exitNotFound
	}
	return exitFailed
}
