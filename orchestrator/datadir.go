package orchestrator

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/orchion/orchion/shared/settings"
	"github.com/orchion/orchion/shared/version"
)

// SettingsFile is the name of the settings file that is looked for in the data
// directory.
const SettingsFile = "orchestrator.yaml"

// runFile in the data directory tells other programs of the same user about
// the orchestrator that runs.
const runFile = "orchestrator.json"

// DefaultDataDir is the usual data directory; see settings.DefaultDataDir.
func DefaultDataDir() (string, error) { return settings.DefaultDataDir("orchestrator") }

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
