package fresh

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestHashFollowsContents(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change func(t *testing.T, root string)
		same   bool
	}{
		"nothing": {func(*testing.T, string) {}, true},
		"touched": {func(t *testing.T, root string) {
			old := time.Unix(1, 0)
			if err := os.Chtimes(filepath.Join(root, "src", "a"), old, old); err != nil {
				t.Fatal(err)
			}
		}, true},
		"in a skipped folder": {func(t *testing.T, root string) {
			write(t, filepath.Join(root, "src", "node_modules", "x"), "new")
		}, true},
		"outside the paths": {func(t *testing.T, root string) { write(t, filepath.Join(root, "other"), "x") }, true},
		"changed":           {func(t *testing.T, root string) { write(t, filepath.Join(root, "src", "a"), "2") }, false},
		"added":             {func(t *testing.T, root string) { write(t, filepath.Join(root, "src", "b"), "") }, false},
		"created": {func(t *testing.T, root string) {
			write(t, filepath.Join(root, "lock"), "")
		}, false},
		"renamed": {func(t *testing.T, root string) {
			if err := os.Rename(filepath.Join(root, "src", "a"), filepath.Join(root, "src", "c")); err != nil {
				t.Fatal(err)
			}
		}, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			write(t, filepath.Join(root, "src", "a"), "1")
			in := Inputs{Root: root, Paths: []string{"src", "lock"}, Skip: []string{"node_modules"}}
			before, err := in.Hash()
			if err != nil {
				t.Fatal(err)
			}
			tc.change(t, root)
			after, err := in.Hash()
			if err != nil {
				t.Fatal(err)
			}
			if (before == after) != tc.same {
				t.Errorf("hash before %s, after %s; want the same: %v", before, after, tc.same)
			}
		})
	}
}

func TestExtraCounts(t *testing.T) {
	t.Parallel()
	a, errA := Inputs{Root: t.TempDir(), Extra: []string{"v1"}}.Hash()
	b, errB := Inputs{Root: t.TempDir(), Extra: []string{"v2"}}.Hash()
	if errA != nil || errB != nil || a == b {
		t.Errorf("hashes %s (%v) and %s (%v), want two different ones", a, errA, b, errB)
	}
}

func TestUnless(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	stamp := Stamp(filepath.Join(root, "out", ".stamp"))
	in := Inputs{Root: root, Paths: []string{"src"}}
	write(t, filepath.Join(root, "src"), "1")

	calls := 0
	var fail error
	attempt := func(wantMade bool, wantErr error) {
		t.Helper()
		made, err := Unless(stamp, in, func() error { calls++; return fail })
		if made != wantMade || !errors.Is(err, wantErr) {
			t.Fatalf("Unless() = %v, %v; want %v, %v", made, err, wantMade, wantErr)
		}
	}

	fail = errors.New("no disk")
	attempt(true, fail)
	fail = nil
	attempt(true, nil) // the failure was not remembered as done
	attempt(false, nil)
	write(t, filepath.Join(root, "src"), "2")
	attempt(true, nil)
	if calls != 3 {
		t.Errorf("made %d times, want 3", calls)
	}
}
