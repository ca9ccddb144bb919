package process

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// create makes a process that is not started.
func create(t *testing.T, d *Driver, name string) string {
	t.Helper()
	s := program("/bin/true")
	s.Name = name
	id, err := d.Create(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Only what is damaged and has no supervisor is removed, and nothing of it hides the others.
func TestDamagedFolders(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	for _, tt := range []struct {
		name, file, text string
		held, stays      bool
	}{
		{name: "whole", file: "other", stays: true},
		{name: "spec-empty", file: specFile, text: "{}"},
		{name: "spec-of-another", file: specFile, text: `{"id":"whole","command":["/bin/true"]}`},
		{name: "spec-cut", file: specFile, text: `{"id":`},
		{name: "spec-held", file: specFile, text: "{}", held: true, stays: true},
		{name: "started-empty", file: startedFile, text: "{}"},
		{name: "started-cut", file: startedFile, text: "{"},
		{name: "started-held", file: startedFile, text: "{", held: true, stays: true},
		{name: "no-supervisor", file: startedFile, text: `{"supervisor":1,"startedAt":"2026-01-02T03:04:05Z"}`},
	} {
		id := create(t, d, tt.name)
		writeFile(t, d.path(id, tt.file), tt.text)
		if tt.held {
			lock, err := takeLock(d.path(id, lockFile))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = lock.Close() }) // nothing was written
		}
		list, err := d.List(t.Context(), nil)
		if err != nil || !slices.ContainsFunc(list, func(c driver.Container) bool { return c.ID == "whole" }) {
			t.Errorf("%s: listed are %v, %v", tt.name, list, err)
		}
		open(t, dir)
		if _, err := os.Stat(d.path(id)); (err == nil) != tt.stays {
			t.Errorf("%s: it is there: %v, want %v", tt.name, err == nil, tt.stays)
		}
	}
}

// What cannot be read now may be read later: it is neither the end of a process nor nothing.
func TestUnreadableIsNotGone(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	id := create(t, d, "p")
	// A folder in the file's place: reading it fails for root as well.
	if err := os.Mkdir(d.path(id, startedFile), 0o700); err != nil {
		t.Fatal(err)
	}
	d = open(t, dir)
	_, waitErr := d.Wait(t.Context(), id)
	_, listErr := d.List(t.Context(), nil)
	for name, err := range map[string]error{
		"wait": waitErr, "list": listErr, "stop": d.Stop(t.Context(), id, 1), "remove": d.Remove(t.Context(), id), "start": d.Start(t.Context(), id),
	} {
		if driver.CodeOf(err) != driver.CodeUnavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(d.path(id, specFile)); err != nil {
		t.Error(err)
	}
}

// Caches of packages have folders that nobody may write; root may all the same.
func TestRemoveOfReadOnlyFolders(t *testing.T) {
	d := open(t, t.TempDir())
	id := create(t, d, "p")
	at := d.path(id, workFolder, "cache", "module")
	if err := os.MkdirAll(at, 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(at, "file"), "x")
	if err := errors.Join(os.Chmod(at, 0o555), os.Chmod(filepath.Dir(at), 0)); err != nil {
		t.Fatal(err)
	}
	if err := d.Remove(t.Context(), id); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(d.dir); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}
