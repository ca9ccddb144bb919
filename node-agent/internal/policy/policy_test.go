package policy

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/orchion/orchion/node-agent/internal/ownfile"
)

const example = `
processes:
  - name: ffmpeg
    path: /usr/bin/ffmpeg
    args: ["-i", "[a-z]+\\.mp4", "-c:v=.*"]
    env: ["FFREPORT", "AV_.*"]
    workingDirs: [WORK]
  - name: true
    path: /bin/true
  - {name: quiet, path: /bin/quiet, args: []}
`

func TestAllow(t *testing.T) {
	work := t.TempDir()
	work, err := filepath.EvalSymlinks(work)
	if err != nil {
		t.Fatal(err)
	}
	inside, outside := filepath.Join(work, "in"), t.TempDir()
	for _, make := range []error{os.Mkdir(inside, 0o700), os.Symlink(outside, filepath.Join(work, "out")), os.Symlink(inside, filepath.Join(work, "link"))} {
		if make != nil {
			t.Fatal(make)
		}
	}
	p, err := Parse([]byte(strings.ReplaceAll(example, "WORK", work)))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, command string
		args          []string
		env           map[string]string
		dir           string
		grant         Grant
		refusal       string // of the policy
	}{
		{name: "by name", command: "ffmpeg", args: []string{"-i", "cat.mp4"}, grant: Grant{Path: "/usr/bin/ffmpeg"}},
		{name: "by path", command: "/usr/bin/ffmpeg", grant: Grant{Path: "/usr/bin/ffmpeg"}},
		{name: "any arguments", command: "true", args: []string{"--", "\x00"}, grant: Grant{Path: "/bin/true"}},
		{name: "no arguments", command: "quiet", args: []string{"x"}, refusal: `does not allow args[0] of quiet, "x": nothing in processes[2].args matches it`},
		{name: "other program", command: "bash", refusal: `does not allow "bash"; it allows ffmpeg, true, quiet`},
		{name: "other path", command: "/usr/bin/../bin/ffmpeg", refusal: "does not allow"},
		{name: "part of an argument", command: "ffmpeg", args: []string{"-i", "cat.mp4 -y"}, refusal: `args[1] of ffmpeg, "cat.mp4 -y"`},
		{name: "lines", command: "ffmpeg", args: []string{"x\ncat.mp4"}, refusal: "args[0]"},
		{name: "variable", command: "ffmpeg", env: map[string]string{"AV_LOG": "1"}, grant: Grant{Path: "/usr/bin/ffmpeg"}},
		{name: "other variable", command: "ffmpeg", env: map[string]string{"LD_PRELOAD": "/tmp/x.so"}, refusal: "does not allow the variable LD_PRELOAD for ffmpeg"},
		{name: "no variables", command: "true", env: map[string]string{"A": "b"}, refusal: "nothing in processes[1].env matches it"},
		{name: "folder", command: "ffmpeg", dir: inside, grant: Grant{Path: "/usr/bin/ffmpeg", WorkingDir: inside}},
		{name: "link within", command: "ffmpeg", dir: filepath.Join(work, "link"), grant: Grant{Path: "/usr/bin/ffmpeg", WorkingDir: inside}},
		{name: "link out", command: "ffmpeg", dir: filepath.Join(work, "out"), refusal: "is no folder in one of processes[0].workingDirs"},
		{name: "dots", command: "ffmpeg", dir: work + "/in/../..", refusal: "workingDirs"},
		{name: "other folder", command: "true", dir: inside, refusal: "processes[1].workingDirs"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			grant, err := p.Allow(tt.command, tt.args, tt.env, tt.dir)
			var refusal *RefusalError
			switch {
			case tt.refusal == "" && (err != nil || grant != tt.grant):
				t.Errorf("grant = %+v, %v, want %+v", grant, err, tt.grant)
			case tt.refusal != "" && (!errors.As(err, &refusal) || !strings.HasPrefix(err.Error(), "this node's policy ") || !strings.Contains(err.Error(), tt.refusal)):
				t.Errorf("error = %v, want a refusal with %q", err, tt.refusal)
			}
		})
	}
	if _, err := new(Policy).Allow("x", nil, nil, ""); err == nil || err.Error() != "this node's policy allows no process jobs" {
		t.Errorf("of an empty policy: %v", err)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"unknown key":  {"processes:\n  - name: a\n    pth: /a\n", "line 3: there is no key pth here"},
		"unknown list": {"process: []\n", "line 1: there is no key process here"},
		"no yaml":      {"processes: [", "line 1"},
		"two":          {"processes: []\n---\nprocesses: []\n", "more than one document"},
		"name":         {"processes: [{name: 'a b', path: /a}]", `processes[0].name: is "a b"`},
		"name twice":   {"processes: [{name: a, path: /a}, {name: a, path: /b}]", "processes[1].name: is \"a\", as that of an entry before it"},
		"path twice":   {"processes: [{name: a, path: /a}, {name: b, path: /a}]", "processes[1].path: is /a, as that"},
		"no path":      {"processes: [{name: a}]", `processes[0].path: is ""; it must be an absolute path`},
		"dots":         {"processes: [{name: a, path: /a/../b}]", "without . and .."},
		"expression":   {"processes: [{name: a, path: /a, args: ['(']}]", `processes[0].args[0]: "(" is no regular expression`},
		"two halves":   {"processes: [{name: a, path: /a, args: ['foo)|(?:bar']}]", `processes[0].args[0]: "foo)|(?:bar" is no regular expression`},
		"empty args":   {"processes:\n  - name: a\n    path: /a\n    args:\n", "processes[0].args: line 4: has nothing after it; write [] to allow no arguments, or leave the key out"},
		"null args":    {"processes: [{name: a, path: /a, args: null}]", "processes[0].args: line 1: has nothing after it"},
		"args text":    {"processes: [{name: a, path: /a, args: -x}]", "processes[0].args: line 1: must be a list of regular expressions"},
		"folder":       {"processes: [{name: a, path: /a, workingDirs: [tmp]}]", "processes[0].workingDirs[0]"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse([]byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want %q", err, tt.want)
			}
		})
	}
	for _, empty := range []string{"", "# nothing\n", "processes:\n"} {
		if p, err := Parse([]byte(empty)); err != nil || len(p.Processes) > 0 {
			t.Errorf("%q: %v, %v", empty, p, err)
		}
	}
}

func write(t *testing.T, path, text string, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func TestFollow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.yaml")
	synctest.Test(t, func(t *testing.T) {
		f, err := Open(path, false, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		changes := 0
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go f.Follow(ctx, func() { changes++ })
		for _, step := range []struct {
			text    string
			mode    fs.FileMode
			allowed bool
			changes int
		}{
			{"processes: [{name: a, path: /a}]", 0o600, true, 1},
			{"processes: [{name: a, path: /a, args: []}]", 0o600, true, 1},
			{"processes: [{name: a, path: /a, args: [}]", 0o600, false, 2},
			{"processes: [{name: a, path: /a, env: [X]}]", 0o600, true, 3},
			{"processes: [{name: a, path: /a, env: [X]}]", 0o666, false, 4},
		} {
			write(t, path, step.text, step.mode)
			time.Sleep(ownfile.LookPeriod)
			synctest.Wait()
			if got := len(f.Current().Processes) > 0; got != step.allowed || changes != step.changes {
				t.Errorf("after %q (%o): allowed %v, %d changes", step.text, step.mode, got, changes)
			}
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	})
}
