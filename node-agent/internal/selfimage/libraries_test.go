package selfimage

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLibrariesOf(t *testing.T) {
	notELF := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(notELF, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := librariesOf(notELF); err == nil || !strings.Contains(err.Error(), "is not a program for Linux") {
		t.Errorf("error = %v", err)
	}
	shell, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Skip("this machine has no /bin/sh to look at")
	}
	files, err := librariesOf(shell)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !filepath.IsAbs(f.target) {
			t.Errorf("%s lands at %s", f.source, f.target)
		}
		if _, err := os.Stat(f.source); err != nil {
			t.Error(err)
		}
	}
}
