package repo

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFindLooksUpwards(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	deep := filepath.Join(root, "a", "b")
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(dir, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(root, module+"\n\ngo 1.26\n")
	// Another module on the way up is not ours.
	write(filepath.Join(root, "a"), "module github.com/orchion/orchion-other\n")

	got, err := Find(deep)
	if err != nil {
		t.Fatal(err)
	}
	if got.Root != root {
		t.Errorf("Root = %q, want %q", got.Root, root)
	}
	if !got.Has("a", "b") || got.Has("c") {
		t.Error("Has does not tell what is there")
	}
}

func TestFindSaysWhereItLooked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := Find(dir)
	if err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("Find() = %v, want an error naming %s", err, dir)
	}
}
