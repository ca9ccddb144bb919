package docker

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

func TestCandidates(t *testing.T) {
	env := func(pairs ...string) func(string) string {
		return func(name string) string {
			for i := 0; i < len(pairs); i += 2 {
				if pairs[i] == name {
					return pairs[i+1]
				}
			}
			return ""
		}
	}
	for _, tt := range []struct {
		name  string
		where Where
		want  []string
		named bool
	}{
		{"endpoints", Where{Endpoints: []string{"tcp://h:1"}, Getenv: env("DOCKER_HOST", "tcp://other:1")}, []string{"tcp://h:1"}, true},
		{"DOCKER_HOST", Where{Getenv: env("DOCKER_HOST", "unix:///mine.sock")}, []string{"unix:///mine.sock"}, true},
		{"linux", Where{GOOS: "linux", Home: "/home/u", Getenv: env("XDG_RUNTIME_DIR", "/run/user/1000")}, []string{
			"unix:///run/user/1000/podman/podman.sock",
			"unix:///run/podman/podman.sock",
			"unix:///run/user/1000/docker.sock",
			"unix:///home/u/.docker/desktop/docker.sock",
			"unix:///var/run/docker.sock",
		}, false},
		{"darwin", Where{GOOS: "darwin", Home: "/Users/u", Getenv: env()}, []string{
			"unix:///run/podman/podman.sock",
			"unix:///Users/u/.local/share/containers/podman/machine/podman.sock",
			"unix:///Users/u/.local/share/containers/podman/machine/qemu/podman.sock",
			"unix:///Users/u/.docker/run/docker.sock",
			"unix:///Users/u/.colima/default/docker.sock",
			"unix:///Users/u/.orbstack/run/docker.sock",
			"unix:///Users/u/.rd/docker.sock",
			"unix:///var/run/docker.sock",
		}, false},
		{"windows", Where{GOOS: "windows", Home: `C:\Users\u`, Getenv: env()}, []string{
			"npipe:////./pipe/podman-machine-default",
			"npipe:////./pipe/docker_engine",
			"npipe:////./pipe/dockerDesktopLinuxEngine",
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, named := tt.where.candidates()
			if diff := cmp.Diff(tt.want, got); diff != "" || named != tt.named {
				t.Errorf("named %v, candidates (-want +got):\n%s", named, diff)
			}
		})
	}
}

// engineAt answers at a socket as an engine that says just enough to be recognised.
func engineAt(t *testing.T, socket, component, version string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(socket), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.41")
		var body any = map[string]any{}
		if strings.HasSuffix(r.URL.Path, "/version") {
			body = map[string]any{"Version": version, "Components": []any{map[string]any{"Name": component, "Version": version}}}
		}
		if err := json.NewEncoder(w).Encode(body); err != nil {
			t.Error(err)
		}
	}))
	srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	t.Cleanup(srv.Close)
}

func TestDiscover(t *testing.T) {
	dir, err := os.MkdirTemp("", "orchion") // t.TempDir is too long for a socket's name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	engineAt(t, filepath.Join(dir, "docker.sock"), "Engine", "20.10.24")
	engineAt(t, filepath.Join(dir, "podman/podman.sock"), "Podman Engine", "4.3.1")
	old := filepath.Join(dir, "old/podman.sock")
	engineAt(t, old, "Podman Engine", "3.4.4")

	getenv := func(name string) string {
		if name == "XDG_RUNTIME_DIR" {
			return dir
		}
		return ""
	}
	found := Discover(t.Context(), Where{Getenv: getenv, Home: dir, GOOS: "linux"})
	var got []string
	for _, d := range found.Drivers {
		if strings.HasPrefix(d.Endpoint(), "unix://"+dir) { // the machine may have engines of its own
			got = append(got, d.Name()+" "+d.version)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff([]string{"podman 4.3.1", "docker 20.10.24"}, got); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}

	found = Discover(t.Context(), Where{Endpoints: []string{"unix://" + old}})
	if len(found.Drivers) != 0 || len(found.Problems) != 1 || driver.CodeOf(found.Problems[0]) != driver.CodeUnsupported ||
		!strings.Contains(found.Problems[0].Error(), "install Podman 4.0") {
		t.Errorf("an old Podman: %v, %v", found.Drivers, found.Problems)
	}
}

func TestDiscoverProblems(t *testing.T) {
	missing := "unix://" + filepath.Join(t.TempDir(), "none.sock")
	found := Discover(t.Context(), Where{Endpoints: []string{missing, "ssh://host", "nonsense"}})
	if len(found.Drivers) != 0 || len(found.Problems) != 3 {
		t.Fatalf("found %v, problems %v", found.Drivers, found.Problems)
	}
	for i, want := range []struct {
		code  driver.Code
		parts []string
	}{
		{driver.CodeUnavailable, []string{missing, "check that the engine"}},
		{driver.CodeInvalid, []string{"ssh://", "unix://"}},
		{driver.CodeInvalid, []string{"nonsense", "unix:///var/run/docker.sock"}},
	} {
		err := found.Problems[i]
		if driver.CodeOf(err) != want.code {
			t.Errorf("code = %s, want %s: %v", driver.CodeOf(err), want.code, err)
		}
		for _, part := range want.parts {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("error %q does not say %q", err, part)
			}
		}
	}
}
