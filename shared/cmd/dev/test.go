package main

import (
	"context"
	"fmt"
	"os"
	"sync"

	"github.com/spf13/cobra"

	"github.com/orchion/orchion/shared/cmd/dev/internal/repo"
	"github.com/orchion/orchion/shared/cmd/dev/internal/stage"
	"github.com/orchion/orchion/shared/cmd/dev/internal/tools"
)

type testOptions struct {
	only, skip []string
	list       bool
	yes        bool
}

func testCommand() *cobra.Command {
	var o testOptions
	cmd := &cobra.Command{
		Use:   "test-all",
		Short: "Check everything: format, lint, generated code, tests against real engines, browsers, editors",
		Long: `Checks everything, in stages, and closes with one table. A stage that cannot be
done on this machine is skipped with the reason; with CI=true that is a failure.

As root on Debian, --yes or CI=true installs the packages that are missing. Docker
and Podman are started for the tests unless they run, and stopped afterwards.`,
		Example: `  test-all.sh --list
  test-all.sh --only format,lint-go
  test-all.sh --skip browser,vscode`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := findRepo()
			if err != nil {
				return err
			}
			return testAll(cmd.Context(), r, o)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.only, "only", nil, "run these `stages` alone")
	f.StringSliceVar(&o.skip, "skip", nil, "leave these `stages` out")
	f.BoolVar(&o.list, "list", false, "list the stages and end")
	f.BoolVar(&o.yes, "yes", false, "install missing packages (root on Debian)")
	return cmd
}

// debianPackages are what the stages need beside Go and Node.js.
func debianPackages() []string {
	return []string{
		"gcc", "g++", "libc6-dev", "git", "ca-certificates", // race detector, Ollama
		"docker.io", "podman", "netavark", "aardvark-dns", "runc", "iptables", "tini",
		"chromium",
	}
}

func testAll(ctx context.Context, r repo.Repo, o testOptions) error {
	ctx, cancel := withParent(ctx)
	defer cancel()
	ci := os.Getenv("CI") == "true"
	t := newTestRun(r)
	selected, err := stage.Select(t.stages(), o.only, o.skip)
	if err != nil {
		return &usageError{err}
	}
	if o.list {
		for _, s := range selected {
			fmt.Printf("%-12s %s\n", s.Name, s.About)
		}
		return nil
	}
	if ci || o.yes {
		if err := installPackages(ctx, os.Stdout, debianPackages()...); err != nil {
			return err
		}
	}
	t.prepare(ctx, selected)
	results := stage.Runner{Out: os.Stdout, Strict: ci}.Run(ctx, selected)
	if err := t.close(context.WithoutCancel(ctx)); err != nil {
		fmt.Fprintln(os.Stderr, "clean up:", err)
	}
	stage.WriteTable(os.Stdout, results)
	if stage.AnyFailed(results) || ctx.Err() != nil {
		return errQuiet
	}
	return nil
}

// testRun is what the stages of one run share. Each thing is made when the
// first stage asks for it.
type testRun struct {
	repo repo.Repo

	mu      sync.Mutex // guards the rest
	npmDone *job
	linter  *job
	ollama  *job
	engines *testEngines
}

func newTestRun(r repo.Repo) *testRun { return &testRun{repo: r} }

// prepare starts the slow fetching and building that stages will need, so that
// it overlaps with the stages before them.
func (t *testRun) prepare(ctx context.Context, selected []stage.Stage) {
	for _, s := range selected {
		switch s.Name {
		case "format", "proto", "lint-ts", "check-ts", "test-ts", "powershell", "build", "browser", "vscode":
			t.npmJob(ctx)
		case "lint-go":
			t.linterJob(ctx)
		case "test-go", "e2e":
			t.ollamaJob(ctx)
		}
	}
}

// close waits for what was started and stops the engines that were.
func (t *testRun) close(ctx context.Context) error {
	t.mu.Lock()
	jobs := []*job{t.npmDone, t.linter, t.ollama}
	engines := t.engines
	t.mu.Unlock()
	for _, j := range jobs {
		if j != nil {
			<-j.done
		}
	}
	if engines == nil {
		return nil
	}
	return engines.stop(ctx)
}

func (t *testRun) npmJob(ctx context.Context) *job {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.npmDone == nil {
		t.npmDone = start(func() error { return npmPackages(ctx, t.repo) })
	}
	return t.npmDone
}

func (t *testRun) linterJob(ctx context.Context) *job {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.linter == nil {
		t.linter = start(func() error {
			_, err := tools.Ensure(ctx, tools.GolangciLint(), os.Stdout)
			return err
		})
	}
	return t.linter
}

func (t *testRun) ollamaJob(ctx context.Context) *job {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ollama == nil {
		t.ollama = start(func() error {
			_, err := tools.Ensure(ctx, tools.Ollama(), os.Stdout)
			return err
		})
	}
	return t.ollama
}

// npm waits for the npm packages. A machine without Node.js skips the stage.
func (t *testRun) npm(ctx context.Context) error {
	if err := checkNode(ctx); err != nil {
		return stage.Skip("%v", err)
	}
	return t.npmJob(ctx).wait()
}

// realEngines brings up the engines that tests run against, as far as this
// machine can have them.
func (t *testRun) realEngines(ctx context.Context) testEngines {
	_ = t.ollamaJob(ctx).wait() // bringUp meets the same error and reports it
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.engines == nil {
		engines := bringUp(ctx, t.repo, true)
		t.engines = &engines
	}
	return *t.engines
}

// job is something that is done beside the stages.
type job struct {
	done chan struct{}
	err  error // set before done is closed
}

func start(do func() error) *job {
	j := &job{done: make(chan struct{})}
	go func() {
		defer close(j.done)
		j.err = do()
	}()
	return j
}

func (j *job) wait() error {
	<-j.done
	return j.err
}
