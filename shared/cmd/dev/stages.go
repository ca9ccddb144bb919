package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/orchion/orchion/shared/cmd/dev/internal/gotest"
	"github.com/orchion/orchion/shared/cmd/dev/internal/program"
	"github.com/orchion/orchion/shared/cmd/dev/internal/stage"
)

// chromium is where Debian puts it, and where the browser tests look.
const chromium = "/usr/bin/chromium"

// stages lists the checks of this checkout, cheap ones and those that overlap
// with preparations first.
func (t *testRun) stages() []stage.Stage {
	return []stage.Stage{
		{Name: "format", About: "gofmt, prettier, buf format", Run: t.withNPM(func(ctx context.Context) error {
			return format(ctx, t.repo, true)
		})},
		{Name: "proto", About: "protos linted, compatible, generated code current", Run: t.withNPM(func(ctx context.Context) error {
			return checkGenerated(ctx, t.repo)
		})},
		{Name: "vet", About: "go vet", Run: func(ctx context.Context) error {
			return program.Run(ctx, program.Command{Name: "go", Args: []string{"vet", "./..."}, Dir: t.repo.Root})
		}},
		{Name: "test-go", About: "Go tests with the race detector, against real Docker, Podman and Ollama", Run: t.testGo},
		{Name: "lint-go", About: "golangci-lint", Run: func(ctx context.Context) error {
			if err := t.linterJob(ctx).wait(); err != nil {
				return err
			}
			return lintGo(ctx, t.repo, false)
		}},
		{Name: "lint-ts", About: "eslint", Run: t.withNPM(func(ctx context.Context) error {
			return lintTypeScript(ctx, t.repo, false)
		})},
		{Name: "check-ts", About: "svelte-check, tsc", Run: t.withNPM(t.eachWorkspace("check"))},
		{Name: "test-ts", About: "unit tests of dashboard and extension", Run: t.withNPM(t.eachWorkspace("test:unit"))},
		{Name: "powershell", About: "syntax of the .ps1 scripts", Run: t.withNPM(t.powershell)},
		{Name: "build", About: "programs with the dashboard inside", Run: t.withNPM(func(ctx context.Context) error {
			return buildAll(ctx, t.repo, buildOptions{})
		})},
		{Name: "cross", About: "linux, darwin, windows on amd64, arm64", Run: func(ctx context.Context) error {
			return crossBuild(ctx, t.repo)
		}},
		{Name: "e2e", About: "the real programs, end to end", Run: t.withNPM(t.endToEnd)},
		{Name: "browser", About: "the dashboard in Chromium", Run: t.withBrowser("test:browser", "dashboard")},
		{Name: "vscode", About: "the extension in a real VS Code", Run: t.withBrowser("test", "vscode-extension")},
	}
}

func (t *testRun) withNPM(do func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := t.npm(ctx); err != nil {
			return err
		}
		return do(ctx)
	}
}

// eachWorkspace runs an npm script in all workspaces that have it.
func (t *testRun) eachWorkspace(script string) func(context.Context) error {
	return func(ctx context.Context) error {
		return program.Run(ctx, program.Command{
			Name: "npm", Args: []string{"run", "--silent", script, "--workspaces", "--if-present"}, Dir: t.repo.Root,
		})
	}
}

func (t *testRun) withBrowser(script, workspace string) func(context.Context) error {
	return t.withNPM(func(ctx context.Context) error {
		if _, err := os.Stat(chromium); err != nil {
			return stage.Skip("no %s; on Debian: apt-get install chromium", chromium)
		}
		return program.Run(ctx, program.Command{
			Name: "npm", Args: []string{"run", "--silent", script, "-w", workspace}, Dir: t.repo.Root,
		})
	})
}

func (t *testRun) powershell(ctx context.Context) error {
	var scripts []string
	for _, pattern := range []string{"shared/scripts/*.ps1", "shared/scripts/*/*.ps1"} {
		found, err := filepath.Glob(t.repo.Path(pattern))
		if err != nil {
			return err
		}
		for _, path := range found {
			scripts = append(scripts, t.repo.Rel(path))
		}
	}
	if err := checkPairs(scripts, t.repo.Has); err != nil {
		return err
	}
	return program.Run(ctx, program.Command{
		Name: "node", Args: append([]string{"--liftoff-only", "shared/scripts/check/check-ps1.mjs"}, scripts...), Dir: t.repo.Root,
	})
}

// checkPairs holds that each PowerShell script has its twin.
func checkPairs(scripts []string, has func(...string) bool) error {
	if len(scripts) == 0 {
		return errors.New("there are no .ps1 scripts")
	}
	var errs []error
	for _, script := range scripts {
		if twin := strings.TrimSuffix(script, ".ps1") + ".sh"; !has(twin) {
			errs = append(errs, fmt.Errorf("%s has no twin %s", script, twin))
		}
	}
	return errors.Join(errs...)
}

// testGo runs all Go tests but those that need the built programs.
func (t *testRun) testGo(ctx context.Context) error {
	list, err := program.Output(ctx, program.Command{Name: "go", Args: []string{"list", "./..."}, Dir: t.repo.Root})
	if err != nil {
		return err
	}
	args := []string{"-race", "-timeout=15m"}
	for pkg := range strings.FieldsSeq(list) {
		if !strings.Contains(pkg+"/", "/shared/e2e/") { // a stage of its own
			args = append(args, pkg)
		}
	}
	return t.goTest(ctx, t.realEngines(ctx), args...)
}

func (t *testRun) endToEnd(ctx context.Context) error {
	if !t.repo.Has("bin", "orchestrator") && !t.repo.Has("bin", "orchestrator.exe") {
		if err := buildAll(ctx, t.repo, buildOptions{noDashboard: !program.Found("npm")}); err != nil {
			return err
		}
	}
	engines := t.realEngines(ctx)
	if _, err := os.Stat(chromium); err != nil {
		engines.missing = append(engines.missing, "no "+chromium+" to look through")
	} else {
		engines.vars = append(engines.vars, "ORCHION_TEST_BROWSER=1")
	}
	// Each test has programs and names of its own, and waits more than it works.
	// The packages follow one another, so that their loads do not meet.
	return t.goTest(ctx, engines, "-count=1", "-p=1", "-parallel=4", "-timeout=30m", "./shared/e2e/...")
}

// goTest runs go test and judges it: failed, or passed in part when tests were
// skipped for want of an engine.
func (t *testRun) goTest(ctx context.Context, engines testEngines, args ...string) error {
	reader, writer := io.Pipe()
	var summary gotest.Summary
	var readErr error
	read := make(chan struct{})
	go func() {
		defer close(read)
		summary, readErr = gotest.Read(reader, os.Stdout)
		_ = reader.CloseWithError(readErr) // nil or not: nobody reads on
	}()
	err := program.Run(ctx, program.Command{
		Name: "go", Args: append([]string{"test", "-json"}, args...), Dir: t.repo.Root,
		Env: append([]string{"CGO_ENABLED=1"}, engines.vars...), Stdout: writer,
	})
	_ = writer.Close() // a pipe's end always closes
	<-read
	fmt.Println(summary)
	switch {
	case len(summary.FailedNames) > 0:
		return fmt.Errorf("failed: %s", strings.Join(summary.FailedNames, ", "))
	case err != nil:
		return fmt.Errorf("go test failed: %w", err)
	case readErr != nil:
		return readErr
	case summary.Passed == 0:
		return errors.New("no test ran")
	}
	if skipped := summary.SkippedFor("ORCHION_TEST_"); len(skipped) > 0 {
		why := strings.Join(engines.missing, "; ")
		if why == "" {
			why = strings.Join(skipped, "; ")
		}
		return stage.Partial("tests were skipped for want of an engine: %s", why)
	}
	if len(engines.missing) > 0 {
		return stage.Partial("not available: %s", strings.Join(engines.missing, "; "))
	}
	return nil
}
