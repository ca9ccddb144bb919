//go:build unix

package policy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestExecutable(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	in := func(elements ...string) string { return filepath.Join(append([]string{dir}, elements...)...) }
	for folder, mode := range map[string]os.FileMode{"closed": 0o755, "shared": 0o777, "sticky": 0o777 | os.ModeSticky, "shared/below": 0o755} {
		if err := os.MkdirAll(in(folder), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(in(folder), mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"good", "closed/good", "shared/x", "shared/below/x", "sticky/x"} {
		write(t, in(path), "x", 0o755)
	}
	write(t, in("open"), "x", 0o777)
	for link, to := range map[string]string{
		"link": "closed/../good", "absolute": in("closed", "good"), "folder": "closed",
		"into": "shared/x", "shared/out": in("good"), "twice": "shared/out", "loop": "loop",
	} {
		if err := os.Symlink(to, in(link)); err != nil {
			t.Fatal(err)
		}
	}
	const others = "can be written by others"
	for path, want := range map[string]struct{ at, err string }{
		"good":           {at: "good"},
		"sticky/x":       {at: "sticky/x"},
		"link":           {at: "good"},
		"absolute":       {at: "closed/good"},
		"folder/good":    {at: "closed/good"},
		"open":           {err: others},
		"shared/x":       {err: "the folder " + in("shared") + " " + others},
		"shared/below/x": {err: "the folder " + in("shared") + " " + others},
		"into":           {err: others},
		"shared/out":     {err: others},
		"twice":          {err: others},
		"loop":           {err: "more than 40 links"},
		"closed":         {err: "is no file"},
		"none":           {err: "is not there"},
		"none/x":         {err: "is not there"},
	} {
		at, err := Executable(in(path))
		if want.err == "" && (err != nil || at != in(want.at)) || want.err != "" && (err == nil || !strings.Contains(err.Error(), want.err)) {
			t.Errorf("%s: %q, %v, want %+v", path, at, err, want)
		}
	}
}
