package bed

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestPodmanComesAndGoes(t *testing.T) {
	if os.Getenv(PodmanVar) == "" {
		t.Skipf("%s is not set: this starts a Podman of its own; test-all sets it where that works", PodmanVar)
	}
	if _, err := os.Stat(podman().system); err == nil {
		t.Skip("the system's own Podman would be used")
	}
	// Not t.TempDir: its name makes a socket's path too long.
	dir, err := os.MkdirTemp("", "bed")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err) // a mount was left behind
		}
	})
	b := Bed{Dir: dir}

	host, started, err := b.Podman(t.Context(), t.Output())
	if err != nil || !started || host != "unix://"+filepath.Join(dir, "podman.sock") {
		t.Fatalf("Podman() = %q, %v, %v; want one started in %s", host, started, err, dir)
	}
	again, started, err := b.Podman(t.Context(), t.Output())
	if err != nil || started || again != host {
		t.Errorf("a second Podman() = %q, %v, %v; want the first one", again, started, err)
	}
	for range 2 { // the second has nothing to do
		if err := b.StopPodman(t.Context(), t.Output()); err != nil {
			t.Fatal(err)
		}
	}
	if answers(t.Context(), host) {
		t.Error("Podman answers after StopPodman")
	}
}

func TestStartSaysWhyItFailed(t *testing.T) {
	t.Parallel()
	d := daemon{name: "broken", program: "sh", command: func(Bed) (*exec.Cmd, error) {
		return exec.Command("sh", "-c", "echo no such bridge >&2; exit 3"), nil
	}}
	err := Bed{Dir: t.TempDir()}.start(t.Context(), d)
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "no such bridge") {
		t.Errorf("start() = %v, want exit status and last words", err)
	}
}

func TestUnavailable(t *testing.T) {
	t.Parallel()
	d := daemon{name: "ghost", program: "no-such-program", install: "apt-get install ghost", system: filepath.Join(t.TempDir(), "none")}
	_, _, err := Bed{Dir: t.TempDir()}.up(t.Context(), d, t.Output())
	var unavailable *UnavailableError
	if !errors.As(err, &unavailable) {
		t.Fatalf("up() = %v, want an UnavailableError", err)
	}
	want := "ghost: not installed; on Debian: apt-get install ghost"
	if os.Geteuid() != 0 {
		want = "ghost: none answers at " + d.system + ", and starting one needs root"
	}
	if err.Error() != want {
		t.Errorf("up() = %q, want %q", err, want)
	}
}

func TestStopLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := daemon{name: "other", program: "some-program-that-we-are-not"}
	b := Bed{Dir: dir}
	// The id is that of a living process, but of another program.
	if err := os.WriteFile(b.pidFile(d), []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	if err := b.stop(t.Context(), d, &log); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b.pidFile(d), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := b.stop(t.Context(), d, &log); err == nil || !strings.Contains(err.Error(), "holds no process id") {
		t.Errorf("stop() = %v, want an error about the file", err)
	}
}

func TestRegistriesOfPodman(t *testing.T) {
	t.Parallel()
	conf := registriesConf()
	for _, port := range []string{"25500", "25531"} {
		if !strings.Contains(conf, "location = \""+net.JoinHostPort("127.0.0.1", port)+"\"\ninsecure = true\n") {
			t.Errorf("port %s is not an insecure registry in:\n%s", port, conf)
		}
	}
}
