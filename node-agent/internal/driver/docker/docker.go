// Package docker is the [driver.Driver] for Docker and Podman, both through the Docker
// API: Podman serves it too, and where the two differ the difference is handled here.
//
// Tested against Docker 20.10 and Podman 4.3, the oldest that are still common.
package docker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/system"
	"github.com/docker/docker/client"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// Driver drives one engine. Make it with Open.
type Driver struct {
	cli      *client.Client
	name     string // driver.NameDocker or driver.NamePodman
	version  string
	endpoint string
	// firstLook is the constant, but for tests.
	firstLook time.Duration
	// asksForLogs has it read no log from its files, for tests.
	asksForLogs bool

	mu sync.Mutex // guards what follows
	// noInit is set once the engine was found to lack the program that "init" runs.
	noInit bool
	// noQuota is set once its storage was found to bound no container's disk.
	noQuota bool
}

var _ driver.Driver = (*Driver)(nil)

// Open connects to the engine at endpoint, such as "unix:///var/run/docker.sock", asks
// which it is and agrees on a version of the API. The caller closes the driver.
func Open(ctx context.Context, endpoint string) (*Driver, error) {
	return open(ctx, endpoint)
}

func open(ctx context.Context, endpoint string, opts ...client.Opt) (*Driver, error) {
	d := &Driver{name: "container engine", endpoint: endpoint, firstLook: firstLook}
	if err := checkEndpoint(endpoint); err != nil {
		return nil, &driver.Error{Code: driver.CodeInvalid, Op: "connect to container engine", Err: err}
	}
	opts = append([]client.Opt{client.WithHost(endpoint), client.WithAPIVersionNegotiation()}, opts...)
	cli, err := client.NewClientWithOpts(opts...)
	if err != nil {
		return nil, &driver.Error{Code: driver.CodeInvalid, Op: "connect to container engine", Subject: endpoint, Err: err}
	}
	d.cli = cli
	version, err := cli.ServerVersion(ctx)
	if err != nil {
		return nil, errors.Join(d.fail(ctx, "connect", endpoint, err), cli.Close())
	}
	d.name, d.version = identify(version)
	if d.podman() && !versionAtLeast(d.version, podmanMajor, 0) {
		err := &driver.Error{
			Code: driver.CodeUnsupported, Engine: d.name, Op: "connect", Subject: endpoint,
			Err:  fmt.Errorf("version %s cannot keep the networks of jobs and models apart", d.version),
			Hint: fmt.Sprintf("install Podman %d.0 or newer, or use Docker", podmanMajor),
		}
		return nil, errors.Join(err, cli.Close())
	}
	if !d.podman() {
		sys, err := cli.Info(ctx)
		if err != nil {
			return nil, errors.Join(d.fail(ctx, "connect", endpoint, err), cli.Close())
		}
		// The daemon says so when it could not run docker-init (daemon/info_unix.go in moby);
		// an empty commit only means a build that does not know its own.
		d.noInit = sys.InitCommit.ID == "N/A"
	}
	return d, nil
}

func checkEndpoint(endpoint string) error {
	scheme, rest, found := strings.Cut(endpoint, "://")
	if !found || rest == "" {
		return fmt.Errorf("endpoint: %q must look like unix:///var/run/docker.sock", endpoint)
	}
	switch scheme {
	case "unix", "tcp", "npipe", "http", "https":
		return nil
	}
	return fmt.Errorf("endpoint: %q: %s:// is not one of unix://, npipe://, tcp://", endpoint, scheme)
}

// identify tells Podman from Docker by the components of the answer to /version.
func identify(v types.Version) (name, version string) {
	for _, c := range v.Components {
		if c.Name == "Podman Engine" {
			return driver.NamePodman, c.Version
		}
	}
	return driver.NameDocker, v.Version
}

// Close implements driver.Driver.
func (d *Driver) Close() error { return d.cli.Close() }

// Name is the engine's name: driver.NameDocker or driver.NamePodman.
func (d *Driver) Name() string { return d.name }

// Endpoint is where the engine listens, as given to Open.
func (d *Driver) Endpoint() string { return d.endpoint }

func (d *Driver) podman() bool { return d.name == driver.NamePodman }

// Info implements driver.Driver.
func (d *Driver) Info(ctx context.Context) (driver.Info, error) {
	sys, err := d.cli.Info(ctx)
	if err != nil {
		return driver.Info{}, d.fail(ctx, "describe engine", d.endpoint, err)
	}
	info := driver.Info{
		Name:       d.name,
		Version:    d.version,
		APIVersion: d.cli.ClientVersion(),
		Endpoint:   d.endpoint,
		OS:         sys.OSType,
		Arch:       goArch(sys.Architecture),
	}
	for _, option := range sys.SecurityOptions {
		info.Rootless = info.Rootless || option == "name=rootless"
	}
	if d.podman() {
		if info.Rootless, err = d.podmanRootless(ctx); err != nil {
			return driver.Info{}, d.fail(ctx, "describe engine", d.endpoint, err)
		}
	}
	info.GPUs, info.NoGPUReason = d.gpus(sys)
	return info, nil
}

// Ping implements driver.Driver.
func (d *Driver) Ping(ctx context.Context) error {
	if _, err := d.cli.Ping(ctx); err != nil {
		return d.fail(ctx, "ask engine", d.endpoint, err)
	}
	return nil
}

// podmanRootless reads a field that Podman adds to Docker's info.
func (d *Driver) podmanRootless(ctx context.Context) (bool, error) {
	var info struct{ Rootless bool }
	err := d.callPodman(ctx, http.MethodGet, "/v"+d.cli.ClientVersion()+"/info", nil, &info)
	return info.Rootless, err
}

// podmanMajor is the oldest version of Podman that is driven.
const podmanMajor = 4

// podmanGPUMajor and podmanGPUMinor are the first version of Podman whose Docker API
// passes CDI devices on (pkg/api/handlers/compat/containers_create.go, since v5.4).
const podmanGPUMajor, podmanGPUMinor = 5, 4

// gpus says whether NVIDIA GPUs can be given to containers, and if not why.
func (d *Driver) gpus(sys system.Info) (ok bool, reason string) {
	if d.podman() {
		if !versionAtLeast(d.version, podmanGPUMajor, podmanGPUMinor) {
			return false, fmt.Sprintf("Podman %s cannot pass GPUs through its Docker API: it takes %d.%d or newer",
				d.version, podmanGPUMajor, podmanGPUMinor)
		}
		for _, pattern := range []string{"/etc/cdi/nvidia*", "/var/run/cdi/nvidia*"} {
			if files, err := filepath.Glob(pattern); err == nil && len(files) > 0 {
				return true, ""
			}
		}
		return false, "no CDI specification of NVIDIA devices: run nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"
	}
	if _, found := sys.Runtimes["nvidia"]; found {
		return true, ""
	}
	for _, dev := range sys.DiscoveredDevices {
		if strings.HasPrefix(dev.ID, "nvidia.com/gpu") {
			return true, ""
		}
	}
	return false, "Docker has no runtime \"nvidia\": install the NVIDIA Container Toolkit and run nvidia-ctk runtime configure --runtime=docker"
}

func versionAtLeast(version string, major, minor int) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return false
	}
	a, errA := strconv.Atoi(parts[0])
	b, errB := strconv.Atoi(parts[1])
	return errA == nil && errB == nil && (a > major || (a == major && b >= minor))
}

// goArch translates what uname says into Go's names.
func goArch(machine string) string {
	switch machine {
	case "x86_64":
		return "amd64"
	case "aarch64":
		return "arm64"
	}
	return machine
}

// isPermission says whether err comes from a socket we may not open.
func isPermission(err error) bool { return errors.Is(err, os.ErrPermission) }
