package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/orchion/orchion/shared/cmd/dev/internal/repo"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func execute(t *testing.T, args ...string) error {
	t.Helper()
	cmd := newCommand()
	cmd.SetArgs(args)
	cmd.SetOut(io.Discard)
	return cmd.ExecuteContext(t.Context())
}

func TestWrongUse(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args []string
		want string
	}{
		"unknown flag":      {[]string{"run-all", "--node", "2"}, "unknown flag: --node; dev run-all --help tells the options"},
		"argument":          {[]string{"build-all", "everything"}, `dev build-all takes no argument, got "everything"; --help tells its options`},
		"no number":         {[]string{"run-all", "--nodes", "two"}, `invalid argument "two" for "--nodes" flag`},
		"no nodes":          {[]string{"run-all", "--nodes", "0"}, "--nodes is 0: want 1 to 64"},
		"port":              {[]string{"run-all", "--port", "70000"}, "--port is 70000: want 1 to 65535"},
		"http port":         {[]string{"run-all", "--http-port", "0"}, "--http-port is 0: want 1 to 65535"},
		"same ports":        {[]string{"run-all", "--port", "8080"}, "--port and --http-port are both 8080: they must differ"},
		"offline alone":     {[]string{"run-all", "--offline"}, "--offline is for --demo: give both"},
		"model alone":       {[]string{"run-all", "--model", "x"}, "--model is for --demo: give both"},
		"no such stage":     {[]string{"test-all", "--only", "fomat"}, `--only: no stage is called "fomat"; there are: format, `},
		"testbed arguments": {[]string{"testbed", "up", "now"}, `dev testbed up takes no argument, got "now"`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := execute(t, tc.args...)
			var usage *usageError
			if !errors.As(err, &usage) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v (%T), want a usage error with %q", err, err, tc.want)
			}
		})
	}
}

func TestPlanEngine(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		os            string
		root, systemd bool
		programs      string
		want          string
	}{
		"Debian": {"linux", false, true, "apt-get", `    sudo apt-get update
    sudo apt-get -o DPkg::Lock::Timeout=500 install -y --no-install-recommends docker.io iptables
    sudo systemctl enable --now docker
    sudo usermod -aG docker ada
`},
		"Debian in a container, as root": {"linux", true, false, "apt-get", `    apt-get update
    apt-get -o DPkg::Lock::Timeout=500 install -y --no-install-recommends docker.io iptables
    dockerd &        (as root)
`},
		"Docker not running":       {"linux", true, false, "apt-get dockerd", "    dockerd &        (as root)\n"},
		"Docker stopped":           {"linux", true, true, "dockerd", "    systemctl enable --now docker\n"},
		"Fedora":                   {"linux", false, true, "dnf", "    sudo dnf install -y podman\n    systemctl --user enable --now podman.socket\n"},
		"macOS":                    {"darwin", false, false, "brew", "    brew install podman\n    podman machine init --now\n"},
		"Windows":                  {"windows", false, false, "winget", "    winget install --exact --id RedHat.Podman\n    podman machine init --now\n"},
		"macOS without Homebrew":   {"darwin", false, false, "", "    see https://podman.io/docs/installation or https://docs.docker.com/engine/install/\n"},
		"Linux of an unknown kind": {"linux", true, true, "", "    see https://podman.io/docs/installation or https://docs.docker.com/engine/install/\n"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plan := planEngine(machine{
				os: tc.os, root: tc.root, systemd: tc.systemd, user: "ada",
				found: func(p string) bool { return slices.Contains(strings.Fields(tc.programs), p) },
			})
			if plan.String() != tc.want {
				t.Errorf("plan:\n%s\nwant:\n%s", plan, tc.want)
			}
		})
	}
}

func TestWaitUntil(t *testing.T) {
	t.Parallel()
	t.Run("ready at last", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			asked := 0
			err := waitUntil(t.Context(), "it", func(context.Context) (bool, error) {
				asked++
				return asked == 3, errors.New("not yet")
			})
			if err != nil || asked != 3 {
				t.Errorf("waitUntil() = %v after asking %d times, want nil after 3", err, asked)
			}
		})
	})
	t.Run("never ready", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			err := waitUntil(t.Context(), "node-1", func(context.Context) (bool, error) { return false, errors.New("connection refused") })
			if want := "node-1 is not ready after 1m0s: connection refused"; err == nil || err.Error() != want {
				t.Errorf("waitUntil() = %v, want %q", err, want)
			}
		})
	})
	t.Run("interrupted", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		err := waitUntil(ctx, "it", func(context.Context) (bool, error) { cancel(); return false, nil })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("waitUntil() = %v, want the context's end", err)
		}
	})
}

func TestNodeMajor(t *testing.T) {
	t.Parallel()
	if major, err := nodeMajor("v20.20.2"); err != nil || major != 20 {
		t.Errorf(`nodeMajor("v20.20.2") = %d, %v`, major, err)
	}
	if _, err := nodeMajor("twenty"); err == nil || !strings.Contains(err.Error(), `node --version says "twenty"`) {
		t.Errorf(`nodeMajor("twenty") = %v, want an error quoting it`, err)
	}
}

func TestScriptsAreInPairs(t *testing.T) {
	t.Parallel()
	err := checkPairs([]string{"a.ps1", "b.ps1"}, func(path ...string) bool { return path[0] == "a.sh" })
	if err == nil || err.Error() != "b.ps1 has no twin b.sh" {
		t.Errorf("checkPairs() = %v, want b.ps1 named", err)
	}
	if err := checkPairs(nil, nil); err == nil {
		t.Error("no scripts at all passes")
	}
}

// The scripts are called by the tasks' names; neither may be renamed alone.
func TestEveryTaskHasItsScripts(t *testing.T) {
	t.Parallel()
	r, err := repo.Find(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, cmd := range newCommand().Commands() {
		if cmd.Name() == "testbed" { // for the few who run single tests by hand
			continue
		}
		for _, ext := range []string{".sh", ".ps1"} {
			script, err := os.ReadFile(r.Path("shared", "scripts", cmd.Name()+ext))
			if err != nil {
				t.Error(err)
			} else if !strings.Contains(strings.ReplaceAll(string(script), "'", ""), "ev "+cmd.Name()+" ") {
				t.Errorf("%s%s does not call the task %s", cmd.Name(), ext, cmd.Name())
			}
		}
	}
}

func TestClean(t *testing.T) {
	t.Parallel()
	r := repo.Repo{Root: t.TempDir()}
	for _, file := range []string{
		"bin/orchestrator", "node_modules/x/y", "dashboard/build/index.html", "dashboard/build/.gitkeep",
		"dashboard/src/app.html", ".orchion/stamps/dashboard", ".orchion/node-1/id",
	} {
		path := r.Path(filepath.FromSlash(file))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check := func(gone, kept []string) {
		t.Helper()
		for _, path := range gone {
			if r.Has(path) {
				t.Errorf("%s is still there", path)
			}
		}
		for _, path := range kept {
			if !r.Has(path) {
				t.Errorf("%s is gone", path)
			}
		}
	}
	if err := clean(r, false); err != nil {
		t.Fatal(err)
	}
	check([]string{"bin/orchestrator", "node_modules", "dashboard/build/index.html", ".orchion/stamps"},
		[]string{"dashboard/build/.gitkeep", "dashboard/src/app.html", ".orchion/node-1/id"})
	if err := clean(r, true); err != nil {
		t.Fatal(err)
	}
	check([]string{".orchion"}, []string{"dashboard/src/app.html"})
}

func TestNodeIDsOfTwoRunsDiffer(t *testing.T) {
	one, again, other, second := nodeID("/a/.orchion", 1), nodeID("/a/.orchion", 1), nodeID("/b/.orchion", 1), nodeID("/a/.orchion", 2)
	if one != again || one == other || one == second {
		t.Errorf("ids are %s and %s of one run, %s of another, %s of its second node", one, again, other, second)
	}
}
