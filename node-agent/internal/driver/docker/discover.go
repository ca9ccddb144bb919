package docker

import (
	"context"
	"errors"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/client"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// probeTimeout bounds how long one endpoint may take to answer: a socket of a daemon that
// hangs must not hold up the rest.
const probeTimeout = 3 * time.Second

// Where says where Discover looks. The zero value looks at this machine's usual places.
type Where struct {
	// Endpoints are tried instead of all else, when there are any.
	Endpoints []string
	// Getenv, Home and GOOS stand for the environment; empty: the process's own.
	Getenv func(string) string
	Home   string
	GOOS   string
}

// Discovery is what Discover found.
type Discovery struct {
	// Drivers are the engines that answer, Podman before Docker and otherwise in the order
	// tried. The caller closes them.
	Drivers []*Driver
	// Problems are the endpoints that are there and yet do not answer, or were asked for by
	// name: worth telling the user, as they say what to do.
	Problems []error
}

// Discover finds the container engines of this machine: $DOCKER_HOST and nothing else if
// it is set, otherwise the usual sockets of Podman and Docker, rootless ones first. All are
// asked at once.
func Discover(ctx context.Context, where Where) Discovery {
	endpoints, named := where.candidates()
	type answer struct {
		driver *Driver
		err    error
	}
	answers := make([]answer, len(endpoints))
	var wg sync.WaitGroup
	for i, endpoint := range endpoints {
		wg.Go(func() {
			if !named && !present(endpoint) {
				return
			}
			probe, cancel := context.WithTimeout(ctx, probeTimeout)
			defer cancel()
			var opts []client.Opt
			if named {
				opts = append(opts, client.WithTLSClientConfigFromEnv())
			}
			answers[i].driver, answers[i].err = open(probe, endpoint, opts...)
		})
	}
	wg.Wait()

	var found Discovery
	for _, a := range answers {
		if a.driver != nil {
			found.Drivers = append(found.Drivers, a.driver)
		}
		if a.err != nil && (named || !refused(a.err)) {
			found.Problems = append(found.Problems, a.err)
		}
	}
	slices.SortStableFunc(found.Drivers, func(a, b *Driver) int {
		return strings.Compare(b.Name(), a.Name()) // "podman" before "docker"
	})
	return found
}

// candidates lists the endpoints to try; named says that the user chose them.
func (w Where) candidates() (endpoints []string, named bool) {
	if len(w.Endpoints) > 0 {
		return w.Endpoints, true
	}
	getenv, goos, home := w.Getenv, w.GOOS, w.Home
	if getenv == nil {
		getenv = os.Getenv
	}
	if goos == "" {
		goos = runtime.GOOS
	}
	if home == "" {
		home, _ = os.UserHomeDir() // without one there is just nothing to try below it
	}
	if host := getenv("DOCKER_HOST"); host != "" {
		return []string{host}, true
	}
	if goos == "windows" {
		return []string{
			"npipe:////./pipe/podman-machine-default",
			"npipe:////./pipe/docker_engine",
			"npipe:////./pipe/dockerDesktopLinuxEngine",
		}, false
	}
	var paths []string
	below := func(dir string, names ...string) {
		if dir == "" {
			return
		}
		for _, name := range names {
			paths = append(paths, path.Join(dir, name))
		}
	}
	run := getenv("XDG_RUNTIME_DIR")
	below(run, "podman/podman.sock")
	below("/run", "podman/podman.sock")
	if goos == "darwin" {
		below(home,
			".local/share/containers/podman/machine/podman.sock",
			".local/share/containers/podman/machine/qemu/podman.sock",
			".docker/run/docker.sock", // Docker Desktop
			".colima/default/docker.sock",
			".orbstack/run/docker.sock",
			".rd/docker.sock", // Rancher Desktop
		)
	} else {
		below(run, "docker.sock")
		below(home, ".docker/desktop/docker.sock")
	}
	below("/var/run", "docker.sock")
	for _, p := range paths {
		endpoints = append(endpoints, "unix://"+p)
	}
	return endpoints, false
}

// present says whether there is a socket at all, so that the usual places that are empty
// cost nothing and are no problem.
func present(endpoint string) bool {
	file, isFile := strings.CutPrefix(endpoint, "unix://")
	if !isFile {
		return true // pipes of Windows: opening them is the only way to know
	}
	info, err := os.Stat(file)
	return err == nil && info.Mode()&os.ModeSocket != 0
}

// refused says whether nothing listens at the endpoint: a socket that was left behind.
func refused(err error) bool {
	var e *driver.Error
	return errors.As(err, &e) && e.Code == driver.CodeUnavailable && !errors.Is(err, context.DeadlineExceeded)
}
