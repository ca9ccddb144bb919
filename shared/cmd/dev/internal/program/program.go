// Package program runs other programs to their end: compilers, npm, linters.
// For programs that stay, see package supervise.
package program

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// interruptGrace is how long an interrupted program may take to clean up after
// itself before it is killed.
const interruptGrace = 10 * time.Second

// Command is one program to run.
type Command struct {
	// Name is looked up in PATH unless it has a slash.
	Name string
	Args []string
	// Dir is the working directory; empty means ours.
	Dir string
	// Env is added to our environment, as KEY=value.
	Env []string
	// Stdout and Stderr default to our own.
	Stdout, Stderr io.Writer
}

// String is the command as a person would type it, for messages.
func (c Command) String() string {
	return strings.Join(append([]string{c.Name}, c.Args...), " ")
}

// Run runs the command to its end. Cancelling ctx interrupts it, and kills it
// when that does not help. The error names the command and its exit code.
func Run(ctx context.Context, c Command) error {
	cmd := build(ctx, c)
	cmd.Stdout, cmd.Stderr = c.Stdout, c.Stderr
	if cmd.Stdout == nil {
		cmd.Stdout = os.Stdout
	}
	if cmd.Stderr == nil {
		cmd.Stderr = os.Stderr
	}
	return explain(ctx, c, cmd.Run())
}

// Output runs the command and returns what it wrote to its standard output,
// less surrounding white space. What it wrote to standard error is part of the
// error when it fails.
func Output(ctx context.Context, c Command) (string, error) {
	cmd := build(ctx, c)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := explain(ctx, c, cmd.Run())
	if said := strings.TrimSpace(stderr.String()); err != nil && said != "" {
		err = fmt.Errorf("%w: %s", err, said)
	}
	return strings.TrimSpace(stdout.String()), err
}

// Found tells whether name can be run.
func Found(name string) bool {
	_, err := exec.LookPath(name)
	return err == nil
}

func build(ctx context.Context, c Command) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.Name, c.Args...)
	cmd.Dir = c.Dir
	cmd.Env = append(os.Environ(), c.Env...)
	setGroup(cmd)
	cmd.Cancel = func() error { return interruptGroup(cmd) }
	cmd.WaitDelay = interruptGrace
	return cmd
}

func explain(ctx context.Context, c Command, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: stopped: %w", c, context.Cause(ctx))
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("%s: exit code %d", c, exit.ExitCode())
	}
	return fmt.Errorf("%s: %w", c, err)
}
