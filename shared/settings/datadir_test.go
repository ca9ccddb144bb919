package settings

import (
	"path/filepath"
	"runtime"
	"testing"
)

func TestDefaultDataDir(t *testing.T) {
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		t.Skip("the variables below are those of other systems")
	}
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_DATA_HOME", "")
	for dir, want := range map[string]string{
		"":         filepath.Join(home, ".local", "share", "orchion", "node-agent"),
		"relative": filepath.Join(home, ".local", "share", "orchion", "node-agent"),
		"/data":    filepath.Join("/data", "orchion", "node-agent"),
	} {
		t.Setenv("XDG_DATA_HOME", dir)
		if got, err := DefaultDataDir("node-agent"); err != nil || got != want {
			t.Errorf("with XDG_DATA_HOME=%q: %q, %v; want %q", dir, got, err, want)
		}
	}
	t.Setenv("XDG_DATA_HOME", "")
	t.Setenv("HOME", "")
	if _, err := DefaultDataDir("node-agent"); err == nil {
		t.Error("no home was no error")
	}
}
