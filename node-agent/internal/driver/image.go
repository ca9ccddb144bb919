package driver

import (
	"fmt"
	"io"
	"strings"

	"github.com/distribution/reference"
)

// PullPolicy says when an image is pulled.
type PullPolicy string

// The pull policies, by the names of the API. The zero value means PullIfNotPresent.
const (
	PullIfNotPresent PullPolicy = "IF_NOT_PRESENT"
	PullAlways       PullPolicy = "ALWAYS"
	PullNever        PullPolicy = "NEVER"
)

// Validate refuses a policy that does not exist.
func (p PullPolicy) Validate() error {
	switch p {
	case "", PullIfNotPresent, PullAlways, PullNever:
		return nil
	}
	return fmt.Errorf("pull policy: %q is not one of %s, %s, %s", string(p), PullIfNotPresent, PullAlways, PullNever)
}

// Pull says how an image is pulled. The zero value pulls what is not there, as nobody.
type Pull struct {
	Policy PullPolicy
	// Login is shown to the image's registry; nil: none.
	Login *Login
}

// Validate refuses a policy that does not exist and a login for another registry than that of
// the image.
func (p Pull) Validate(ref string) error {
	if err := p.Policy.Validate(); err != nil || p.Login == nil {
		return err
	}
	registry, err := RegistryOf(ref)
	if err != nil {
		return err
	}
	if p.Login.Registry != registry {
		return fmt.Errorf("login: is for the registry %s, and the image is at %s", p.Login.Registry, registry)
	}
	return nil
}

// Login is what a registry is shown. It prints as none of its secrets.
type Login struct {
	// Registry is the host, with a port if it has one, that it is for; see RegistryOf.
	Registry string
	Username string
	Password string
	// Token, an identity token, stands for both when it is not empty.
	Token string
}

// String implements fmt.Stringer.
func (l Login) String() string { return "login at " + l.Registry }

// GoString implements fmt.GoStringer.
func (l Login) GoString() string { return l.String() }

// RegistryOf is the host of an image's registry: docker.io for one that names none.
func RegistryOf(ref string) (string, error) {
	full, err := NormalizeReference(ref)
	if err != nil {
		return "", err
	}
	named, err := reference.ParseNormalizedNamed(full)
	if err != nil {
		return "", err
	}
	return reference.Domain(named), nil
}

// PullProgress is how far a pull has come.
type PullProgress struct {
	// Status is a short text for people, such as "downloading".
	Status string
	// CompletedBytes of TotalBytes have come. TotalBytes grows while the engine still learns
	// of layers, and is 0 until it knows of one. Podman does not always tell a layer's size.
	CompletedBytes, TotalBytes int64
	// Percent is between 0 and 100 and never falls; 100 only once the image is there.
	Percent float64
}

// ImageImport says how to make an image out of a root file system.
type ImageImport struct {
	// Ref is the name the image gets, with a tag.
	Ref string
	// RootFS is an uncompressed tar stream.
	RootFS io.Reader

	Entrypoint []string
	Cmd        []string
	Env        map[string]string
	WorkDir    string
	User       string
	Expose     []uint16 // TCP ports
	Volumes    []string // paths that get an anonymous volume
	Labels     map[string]string
}

const maxReferenceLength = 512

// NormalizeReference checks an image reference and writes it in full, with registry,
// repository and tag or digest: "ollama/ollama" becomes "docker.io/ollama/ollama:latest".
// Podman and Docker read a short name differently; a full one they read alike.
func NormalizeReference(ref string) (string, error) {
	if ref == "" {
		return "", fmt.Errorf("image: must not be empty")
	}
	if len(ref) > maxReferenceLength {
		return "", fmt.Errorf("image: %d characters are too many, at most %d", len(ref), maxReferenceLength)
	}
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return "", fmt.Errorf("image: %q is not an image reference such as ghcr.io/owner/name:tag: %w", ref, err)
	}
	return reference.TagNameOnly(named).String(), nil
}

// LocalReference gives the name under which "podman build -t" keeps an image that was
// named without a registry, and false when ref does name one.
func LocalReference(ref string) (string, bool) {
	first, _, found := strings.Cut(ref, "/")
	if found && (strings.ContainsAny(first, ".:") || first == "localhost") {
		return "", false
	}
	local, err := NormalizeReference("localhost/" + ref)
	return local, err == nil
}
