package orchestrator

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/orchion/orchion/shared/version"
)

// SettingsFile is the name of the settings file that is looked for in the data
// directory.
const SettingsFile = "orchestrator.yaml"

// runFile in the data directory tells other programs of the same user about
// the orchestrator that runs.
const runFile = "orchestrator.json"

// DefaultDataDir is the folder for data of this user's orchestrator:
// $XDG_DATA_HOME/orchion/orchestrator (by default below ~/.local/share) on
// Linux and other Unix systems, ~/Library/Application Support/... on macOS,
// %LocalAppData%\... on Windows.
func DefaultDataDir() (string, error) {
	base, err := dataHome()
	if err != nil {
		return "", fmt.Errorf("find the folder for user data; name one with --data-dir: %w", err)
	}
	return filepath.Join(base, "orchion", "orchestrator"), nil
}

func dataHome() (string, error) {
	switch runtime.GOOS {
	case "windows":
		if dir := os.Getenv("LocalAppData"); dir != "" {
			return dir, nil
		}
		return "", errors.New("the variable LocalAppData is not set")
	case "darwin":
		home, err := os.UserHomeDir()
		return filepath.Join(home, "Library", "Application Support"), err
	default:
		if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
			return dir, nil
		}
		home, err := os.UserHomeDir()
		return filepath.Join(home, ".local", "share"), err
	}
}

// running is the content of runFile.
type running struct {
	Addresses
	PID       int       `json:"pid"`
	Version   string    `json:"version"`
	StartedAt time.Time `json:"startedAt"`
}

// writeRunFile says in the data directory where the orchestrator listens, and
// answers how to take that back.
func writeRunFile(dir string, addresses Addresses, startedAt time.Time) (remove func(), err error) {
	data, err := json.MarshalIndent(running{addresses, os.Getpid(), version.String(), startedAt.UTC()}, "", "  ")
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, runFile)
	// Renamed into place, so that nobody reads half of it.
	if err := os.WriteFile(path+".new", append(data, '\n'), 0o600); err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	return func() { os.Remove(path) }, nil
}
