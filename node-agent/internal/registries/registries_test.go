package registries

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

func write(t *testing.T, name, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLogin(t *testing.T) {
	password := write(t, "password", "from a file\n", 0o600)
	open := write(t, "open", "x", 0o644)
	empty := write(t, "empty", "\n", 0o600)
	// robot:s3cret and hub:pass
	config := write(t, "config.json", `{"auths":{"ghcr.io":{"auth":"cm9ib3Q6czNjcmV0"},"https://index.docker.io/v1/":{"auth":"aHViOnBhc3M="},"quay.io":{"identitytoken":"tok"}}}`, 0o600)
	helper := write(t, "helper.json", `{"auths":{"ghcr.io":{}},"credsStore":"desktop"}`, 0o600)
	c, err := Parse([]byte(fmt.Sprintf(`
credentials:
  - {name: plain, registry: "registry.example.org:5000", username: robot, password: "p:w"}
  - {name: file, registry: ghcr.io, username: robot, passwordFile: %s}
  - {name: open, registry: ghcr.io, username: robot, passwordFile: %s}
  - {name: empty, registry: ghcr.io, username: robot, passwordFile: %s}
  - {name: gone, registry: ghcr.io, username: robot, passwordFile: /none}
  - {name: docker, registry: ghcr.io, dockerConfig: %s}
  - {name: hub, registry: docker.io, dockerConfig: %s}
  - {name: token, registry: quay.io, dockerConfig: %s}
  - {name: absent, registry: gcr.io, dockerConfig: %s}
  - {name: helper, registry: ghcr.io, dockerConfig: %s}
`, password, open, empty, config, config, config, config, helper)))
	if err != nil {
		t.Fatal(err)
	}
	if names := c.Names(); len(names) != 10 || names[0] != (Named{"plain", "registry.example.org:5000"}) {
		t.Errorf("names = %v", names)
	}
	for _, tt := range []struct {
		name, image string
		want        driver.Login
		err         string
	}{
		{name: "plain", image: "registry.example.org:5000/a/b:1", want: driver.Login{Registry: "registry.example.org:5000", Username: "robot", Password: "p:w"}},
		{name: "file", image: "ghcr.io/a/b", want: driver.Login{Registry: "ghcr.io", Username: "robot", Password: "from a file"}},
		{name: "docker", image: "ghcr.io/a/b", want: driver.Login{Registry: "ghcr.io", Username: "robot", Password: "s3cret"}},
		{name: "hub", image: "someone/private:2", want: driver.Login{Registry: "docker.io", Username: "hub", Password: "pass"}},
		{name: "token", image: "quay.io/a/b", want: driver.Login{Registry: "quay.io", Token: "tok"}},
		{name: "nobody", image: "a", err: `this node holds no registry credentials "nobody"`},
		{name: "plain", image: "registry.example.org/a/b:1", err: "are for registry.example.org:5000, and the image registry.example.org/a/b:1 is at registry.example.org"},
		{name: "plain", image: "evil.example.org/registry.example.org:5000", err: "is at evil.example.org: they are shown to no other registry"},
		{name: "hub", image: "ghcr.io/a", err: "they are shown to no other registry"},
		{name: "open", image: "ghcr.io/a", err: "holds secrets and can be read by others than its owner (mode 0644): chmod 0600 it"},
		{name: "empty", image: "ghcr.io/a", err: "must hold one line"},
		{name: "gone", image: "ghcr.io/a", err: "passwordFile: /none: no such file"},
		{name: "absent", image: "gcr.io/a", err: "has no login at gcr.io: docker login gcr.io"},
		{name: "helper", image: "ghcr.io/a", err: "keeps its passwords with a helper program"},
	} {
		t.Run(tt.name+" "+tt.image, func(t *testing.T) {
			login, err := c.Login(tt.name, tt.image)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error = %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil || *login != tt.want {
				t.Errorf("login = %#v, %v", login, err)
			}
			for _, text := range []string{fmt.Sprint(login), fmt.Sprintf("%+v %#v", *login, login)} {
				if strings.Contains(text, tt.want.Password) && tt.want.Password != "" {
					t.Errorf("it prints as %s", text)
				}
			}
		})
	}
	if _, err := c.Login("plain", "x/y"); !errors.Is(err, ErrOtherRegistry) {
		t.Errorf("error = %v", err)
	}
}

func TestParseRefuses(t *testing.T) {
	const good = "name: a, registry: ghcr.io"
	for name, tt := range map[string]struct{ text, want string }{
		"unknown key":   {"credentials:\n  - " + "{" + good + ", usr: x}", "line 2: there is no key usr here"},
		"name":          {"credentials: [{name: a b, registry: ghcr.io}]", `credentials[0].name: is "a b"`},
		"twice":         {"credentials: [{" + good + ", username: u, password: p}, {" + good + ", username: u, password: p}]", "credentials[1].name: is \"a\", as that"},
		"no registry":   {"credentials: [{name: a}]", "credentials[0].registry: is \"\""},
		"url":           {"credentials: [{name: a, registry: 'https://ghcr.io'}]", "credentials[0].registry: is \"https://ghcr.io\""},
		"repository":    {"credentials: [{name: a, registry: ghcr.io/me}]", "credentials[0].registry"},
		"no password":   {"credentials: [{" + good + ", username: u}]", "credentials[0].password: give one of"},
		"two ways":      {"credentials: [{" + good + ", username: u, password: s3cret, passwordFile: /a}]", "credentials[0].password: give one of"},
		"no user":       {"credentials: [{" + good + ", password: s3cret}]", "credentials[0].username: must not be empty"},
		"both":          {"credentials: [{" + good + ", username: u, dockerConfig: /a}]", "credentials[0].username: is in the file"},
		"relative":      {"credentials: [{" + good + ", username: u, passwordFile: s3cret}]", "credentials[0].passwordFile: must be an absolute path"},
		"secret quoted": {"credentials: [{" + good + ", username: u, password: [s3cret]}]", "line 1: is not written as it must be"},
		"secret alone":  {"credentials: s3cret", "line 1: is not written as it must be"},
		"no blank":      {"credentials:\n  - name: a\n    password:s3cret\n", "line 3: is not written"},
		"as a key":      {"credentials:\n  - name: a\n    s3cret: x\n", "line 3: is not written"},
		"in braces":     {"credentials: [{" + good + ", password:s3cret}]", "line 1: is not written"},
		"as an alias":   {"credentials: [{" + good + ", password: *s3cret}]", "is not written"},
		"twice a key":   {"credentials:\n  - s3cret: x\n    s3cret: x\n", "line 3: is not written"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("error = %v, want %q and no secret", err, tt.want)
			}
		})
	}
}

func TestFileIsSecret(t *testing.T) {
	path := write(t, "registries.yaml", "credentials: []\n", 0o640)
	if _, err := Open(path, true, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "the registries file "+path+": holds secrets and can be read by others than its owner (mode 0640)") {
		t.Errorf("error = %v", err)
	}
}
