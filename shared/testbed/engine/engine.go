// Package engine reaches the container engines of this machine, Docker and
// Podman, for the development tools and tests: to see which answer, and to
// build images in them without a registry.
package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
)

// answerTimeout is for an engine on this machine, which answers in milliseconds
// or not at all.
const answerTimeout = 3 * time.Second

// Engine is a container engine that answered.
type Engine struct {
	// Name is "docker" or "podman".
	Name string
	// Version is its own, such as "20.10.24".
	Version string
	// Arch is the processor that its containers run on, as in GOARCH.
	Arch string
	// Host is where it listens, as in DOCKER_HOST.
	Host string

	api *client.Client
}

// Connect returns the engine at host, such as unix:///var/run/docker.sock.
func Connect(ctx context.Context, host string) (*Engine, error) {
	api, err := client.NewClientWithOpts(client.WithHost(host), client.WithAPIVersionNegotiation())
	if err != nil {
		return nil, fmt.Errorf("container engine at %s: %w", host, err)
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	version, err := api.ServerVersion(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("container engine at %s: %w", host, err), api.Close())
	}
	e := &Engine{Name: "docker", Version: version.Version, Arch: version.Arch, Host: host, api: api}
	for _, part := range version.Components {
		if strings.HasPrefix(part.Name, "Podman") {
			e.Name, e.Version = "podman", part.Version
		}
	}
	return e, nil
}

// Close lets go of the connection; the engine goes on.
func (e *Engine) Close() error { return e.api.Close() }

// Find returns the engines of this machine that answer, each to be closed. When
// DOCKER_HOST is set, that is the only place it looks at.
func Find(ctx context.Context) []*Engine {
	var found []*Engine
	for _, host := range places() {
		if e, err := Connect(ctx, host); err == nil {
			found = append(found, e)
		}
	}
	return found
}

func places() []string {
	if host := os.Getenv("DOCKER_HOST"); host != "" {
		return []string{host}
	}
	if runtime.GOOS == "windows" {
		return []string{"npipe:////./pipe/podman-machine-default", client.DefaultDockerHost}
	}
	var sockets []string
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		sockets = append(sockets, filepath.Join(dir, "podman", "podman.sock"))
	}
	sockets = append(sockets, "/run/podman/podman.sock")
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		sockets = append(sockets, filepath.Join(dir, "docker.sock"))
	}
	if home, err := os.UserHomeDir(); err == nil {
		sockets = append(sockets,
			filepath.Join(home, ".docker", "run", "docker.sock"),
			filepath.Join(home, ".colima", "default", "docker.sock"))
	}
	sockets = append(sockets, "/var/run/docker.sock")

	var hosts []string
	for _, path := range sockets {
		if _, err := os.Stat(path); err == nil {
			hosts = append(hosts, "unix://"+path)
		}
	}
	return hosts
}

// RemoveContainers removes all containers with this label ("key" or
// "key=value"), or all there are when label is empty.
func (e *Engine) RemoveContainers(ctx context.Context, label string) error {
	list, err := e.api.ContainerList(ctx, container.ListOptions{All: true})
	if err != nil {
		return fmt.Errorf("list containers of %s: %w", e.Name, err)
	}
	key, value, hasValue := strings.Cut(label, "=")
	var errs []error
	for _, c := range list {
		got, has := c.Labels[key]
		if label != "" && (!has || hasValue && got != value) {
			continue
		}
		err := e.api.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true, RemoveVolumes: true})
		if err != nil && !cerrdefs.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("remove container %.12s from %s: %w", c.ID, e.Name, err))
		}
	}
	return errors.Join(errs...)
}

// RemoveImage removes an image. One that is not there is no error.
func (e *Engine) RemoveImage(ctx context.Context, ref string) error {
	_, err := e.api.ImageRemove(ctx, ref, image.RemoveOptions{Force: true})
	if err != nil && !cerrdefs.IsNotFound(err) {
		return fmt.Errorf("remove image %s from %s: %w", ref, e.Name, err)
	}
	return nil
}

// RemoveVolume removes a volume; one that is not there is no error.
func (e *Engine) RemoveVolume(ctx context.Context, name string) error {
	if err := e.api.VolumeRemove(ctx, name, true); err != nil && !cerrdefs.IsNotFound(err) {
		return fmt.Errorf("remove volume %s from %s: %w", name, e.Name, err)
	}
	return nil
}

// ContainerStates tells the states ("created", "running", "exited", ...) of the
// containers with these labels, as RemoveContainers takes one, sorted.
func (e *Engine) ContainerStates(ctx context.Context, labels ...string) ([]string, error) {
	wanted := filters.NewArgs()
	for _, label := range labels {
		wanted.Add("label", label)
	}
	list, err := e.api.ContainerList(ctx, container.ListOptions{All: true, Filters: wanted})
	if err != nil {
		return nil, fmt.Errorf("list containers of %s: %w", e.Name, err)
	}
	states := make([]string, len(list))
	for i, c := range list {
		states[i] = c.State
	}
	slices.Sort(states)
	return states, nil
}
