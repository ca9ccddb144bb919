//go:build unix

package program

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Build compiles the orchestrator and the node agent into dir, with the bugs of
// shared/plantedbug in them or not.
func Build(ctx context.Context, dir string, bugs bool) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	for name, pkg := range map[string]string{
		"orchestrator": "./orchestrator/cmd/orchestrator", "node-agent": "./node-agent/cmd/node-agent",
	} {
		args := []string{"build", "-o", filepath.Join(dir, name)}
		if bugs {
			args = append(args, "-tags=plantedbugs")
		}
		cmd := exec.CommandContext(ctx, "go", append(args, pkg)...)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w: %s", pkg, err, out)
		}
	}
	return nil
}

// moduleRoot is the folder of go.mod.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("run it within the repository: there is no go.mod here or above")
		}
	}
}
