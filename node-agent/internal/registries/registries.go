// Package registries holds the credentials for image registries that the owner of a machine
// keeps there. Jobs name them; they never leave the machine but for the registry that they
// are for.
package registries

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/ownfile"
)

// Limits on a file.
const (
	maxCredentials = 256
	maxSecret      = 16 << 10
)

var nameRE = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// Credentials are what a machine can show registries.
type Credentials struct{ entries []entry }

// entry is one of them, as it is written.
type entry struct {
	Name string `yaml:"name"`
	// Registry is a host, with a port if it has one.
	Registry string `yaml:"registry"`
	Username string `yaml:"username"`
	Password string `yaml:"password"`
	// PasswordFile holds the password on one line.
	PasswordFile string `yaml:"passwordFile"`
	// DockerConfig is a file such as ~/.docker/config.json that holds both.
	DockerConfig string `yaml:"dockerConfig"`
}

// Named is what may be told of credentials.
type Named struct{ Name, Registry string }

// Open reads a file of credentials and follows it as it changes.
func Open(path string, required bool, logger *slog.Logger) (*ownfile.File[*Credentials], error) {
	return ownfile.Open(ownfile.Config[*Credentials]{
		What: "the registries file", Path: path, Required: required, Secrets: true, Parse: Parse, Logger: logger,
		Same: func(a, b *Credentials) bool { return slices.Equal(a.Names(), b.Names()) },
	})
}

// Parse reads a file of credentials. Errors name the entry and never what is secret.
func Parse(data []byte) (*Credentials, error) {
	var f struct {
		Credentials []entry `yaml:"credentials"`
	}
	if err := ownfile.DecodeSecret(data, &f); err != nil {
		return nil, err
	}
	if len(f.Credentials) > maxCredentials {
		return nil, fmt.Errorf("credentials: has %d entries; at most %d are allowed", len(f.Credentials), maxCredentials)
	}
	for i := range f.Credentials {
		e := &f.Credentials[i]
		if err := e.validate(); err != nil {
			return nil, fmt.Errorf("credentials[%d].%w", i, err)
		}
		if slices.ContainsFunc(f.Credentials[:i], func(other entry) bool { return other.Name == e.Name }) {
			return nil, fmt.Errorf("credentials[%d].name: is %q, as that of an entry before it", i, e.Name)
		}
	}
	return &Credentials{f.Credentials}, nil
}

func (e *entry) validate() error {
	switch registry, err := driver.RegistryOf(e.Registry + "/a"); {
	case !nameRE.MatchString(e.Name):
		return fmt.Errorf("name: is %q; a name is 1 to 63 characters of A-Z a-z 0-9 . _ -, starting with a letter or digit", e.Name)
	case err != nil || registry != e.Registry:
		return fmt.Errorf("registry: is %q; it must be the host of a registry, such as ghcr.io or registry.example.org:5000, or docker.io", e.Registry)
	}
	ways := 0
	for _, way := range []string{e.Password, e.PasswordFile, e.DockerConfig} {
		if way != "" {
			ways++
		}
	}
	switch {
	case ways != 1:
		return errors.New("password: give one of password, passwordFile and dockerConfig")
	case e.DockerConfig != "" && e.Username != "":
		return errors.New("username: is in the file of dockerConfig already")
	case e.DockerConfig == "" && e.Username == "":
		return errors.New("username: must not be empty")
	case len(e.Password) > maxSecret:
		return fmt.Errorf("password: has %d bytes; at most %d are allowed", len(e.Password), maxSecret)
	}
	for field, path := range map[string]string{"passwordFile": e.PasswordFile, "dockerConfig": e.DockerConfig} {
		if path != "" && !filepath.IsAbs(path) {
			return fmt.Errorf("%s: must be an absolute path", field) // it may be the password itself
		}
	}
	return nil
}

// Names are all that may be told of the credentials.
func (c *Credentials) Names() []Named {
	var names []Named
	for _, e := range c.entries {
		names = append(names, Named{e.Name, e.Registry})
	}
	return names
}

// Has says whether there are credentials of a name.
func (c *Credentials) Has(name string) bool { return c.find(name) != nil }

func (c *Credentials) find(name string) *entry {
	i := slices.IndexFunc(c.entries, func(e entry) bool { return e.Name == name })
	if i < 0 {
		return nil
	}
	return &c.entries[i]
}

// ErrOtherRegistry says that credentials are for another registry than that of the image.
var ErrOtherRegistry = errors.New("they are shown to no other registry")

// Login gives what to show the registry of an image. It is an error to ask for what is for
// another registry.
func (c *Credentials) Login(name, image string) (*driver.Login, error) {
	e := c.find(name)
	if e == nil {
		return nil, fmt.Errorf("this node holds no registry credentials %q", name)
	}
	registry, err := driver.RegistryOf(image)
	if err != nil {
		return nil, err
	}
	if registry != e.Registry {
		return nil, fmt.Errorf("the registry credentials %s are for %s, and the image %s is at %s: %w", name, e.Registry, image, registry, ErrOtherRegistry)
	}
	login := &driver.Login{Registry: e.Registry, Username: e.Username, Password: e.Password}
	switch {
	case e.PasswordFile != "":
		login.Password, err = readPassword(e.PasswordFile)
	case e.DockerConfig != "":
		err = fromDockerConfig(e.DockerConfig, login)
	}
	if err != nil {
		return nil, fmt.Errorf("the registry credentials %s: %w", name, err)
	}
	return login, nil
}

func readPassword(path string) (string, error) {
	data, err := ownfile.Read(path, true)
	if err != nil {
		return "", fmt.Errorf("passwordFile: %s: %w", path, err)
	}
	password := string(bytes.TrimRight(data, "\r\n"))
	if password == "" || strings.ContainsAny(password, "\r\n") || len(password) > maxSecret {
		return "", fmt.Errorf("passwordFile: %s: must hold one line of at most %d bytes", path, maxSecret)
	}
	return password, nil
}

// hubServer is how Docker's own file calls Docker Hub.
const hubServer = "https://index.docker.io/v1/"

// fromDockerConfig reads what "docker login" wrote down.
func fromDockerConfig(path string, login *driver.Login) error {
	data, err := ownfile.Read(path, true)
	if err != nil {
		return fmt.Errorf("dockerConfig: %s: %w", path, err)
	}
	var config struct {
		Auths map[string]struct {
			Auth          string `json:"auth"`
			IdentityToken string `json:"identitytoken"`
		} `json:"auths"`
		CredsStore  string            `json:"credsStore"`
		CredHelpers map[string]string `json:"credHelpers"`
	}
	if json.Unmarshal(data, &config) != nil {
		return fmt.Errorf("dockerConfig: %s: is no JSON of a Docker configuration", path)
	}
	keys := []string{login.Registry, "https://" + login.Registry, "https://" + login.Registry + "/v1/", "https://" + login.Registry + "/v2/"}
	if login.Registry == "docker.io" {
		keys = []string{hubServer, "index.docker.io", "docker.io"}
	}
	for _, key := range keys {
		found, ok := config.Auths[key]
		if !ok {
			continue
		}
		login.Token = found.IdentityToken
		plain, err := base64.StdEncoding.DecodeString(found.Auth)
		username, password, split := strings.Cut(strings.TrimRight(string(plain), "\x00"), ":")
		if err == nil && split {
			login.Username, login.Password = username, password
		}
		if login.Token != "" || login.Password != "" {
			return nil
		}
	}
	if config.CredsStore != "" || len(config.CredHelpers) > 0 {
		return fmt.Errorf("dockerConfig: %s: keeps its passwords with a helper program, which is not asked; give username and passwordFile instead", path)
	}
	return fmt.Errorf("dockerConfig: %s: has no login at %s: docker login %s", path, login.Registry, login.Registry)
}
