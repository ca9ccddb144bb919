// Package tools provides the programs that the checks need at the versions they
// were written for: built once from source into the user's cache, and shared by
// all checkouts.
package tools

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/orchion/orchion/shared/cmd/dev/internal/program"
)

// Tool is a Go program at a pinned version.
type Tool struct {
	// Name is the program's file name.
	Name string
	// Package is its import path, Version its module's version.
	Package, Version string
	// LDFlags are for the linker.
	LDFlags string
	// Needs are programs the build calls, such as a C compiler for cgo.
	Needs []string
}

// GolangciLint returns the linter behind .golangci.yml.
func GolangciLint() Tool {
	return Tool{
		Name:    "golangci-lint",
		Package: "github.com/golangci/golangci-lint/v2/cmd/golangci-lint",
		Version: "v2.15.0",
		LDFlags: "-s -w -X main.version=2.15.0",
	}
}

// Ollama returns the real Ollama, CPU engine included, for conformance tests.
// 0.6.5 is the newest whose engine builds from its Go module alone.
func Ollama() Tool {
	return Tool{
		Name:    "ollama",
		Package: "github.com/ollama/ollama",
		Version: "v0.6.5",
		LDFlags: "-s -w -X=github.com/ollama/ollama/version.Version=0.6.5",
		Needs:   []string{"gcc", "g++"},
	}
}

// Dir is where built tools are kept.
func Dir() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a cache folder for tools: %w", err)
	}
	return filepath.Join(cache, "orchion", "tools"), nil
}

// Ensure returns the path of the tool, building it first when it is not there.
// The version is part of the file's name, so that a new pin is a new build.
// Progress goes to log.
func Ensure(ctx context.Context, t Tool, log io.Writer) (string, error) {
	dir, err := Dir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, t.Name+"-"+t.Version+exeSuffix())
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	for _, need := range t.Needs {
		if !program.Found(need) {
			return "", fmt.Errorf("build %s: it needs %s: %w", t.Name, need, errors.ErrUnsupported)
		}
	}
	fmt.Fprintf(log, "building %s %s (once; this takes a few minutes)\n", t.Name, t.Version)

	// Built aside and renamed, so that an interrupted build leaves nothing that
	// looks whole, and two checkouts may build at once.
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("build %s: %w", t.Name, err)
	}
	tmp, err := os.MkdirTemp(dir, ".build-")
	if err != nil {
		return "", fmt.Errorf("build %s: %w", t.Name, err)
	}
	defer os.RemoveAll(tmp)
	err = program.Run(ctx, program.Command{
		Name:   "go",
		Args:   []string{"install", "-trimpath", "-ldflags", t.LDFlags, t.Package + "@" + t.Version},
		Dir:    tmp, // outside any module: the tool's own requirements decide
		Env:    []string{"GOBIN=" + tmp, "GOFLAGS=", "GOOS=" + runtime.GOOS, "GOARCH=" + runtime.GOARCH},
		Stdout: log, Stderr: log,
	})
	if err != nil {
		return "", fmt.Errorf("build %s: %w", t.Name, err)
	}
	if err := os.Rename(filepath.Join(tmp, t.Name+exeSuffix()), path); err != nil {
		return "", fmt.Errorf("build %s: %w", t.Name, err)
	}
	return path, nil
}

func exeSuffix() string {
	if runtime.GOOS == "windows" {
		return ".exe"
	}
	return ""
}
