package settings

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// DefaultDataDir is the folder for data that this user's run of a program
// keeps: $XDG_DATA_HOME/orchion/PROGRAM (by default below ~/.local/share) on
// Linux and other Unix systems, ~/Library/Application Support/... on macOS,
// %LocalAppData%\... on Windows.
func DefaultDataDir(program string) (string, error) {
	base, err := dataHome()
	if err != nil {
		return "", fmt.Errorf("find the folder for user data; name one with --data-dir: %w", err)
	}
	return filepath.Join(base, "orchion", program), nil
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
