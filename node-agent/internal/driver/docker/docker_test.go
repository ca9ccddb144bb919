package docker_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
	"go.uber.org/goleak"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/driver/docker"
	"github.com/orchion/orchion/node-agent/internal/driver/drivertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// openReal opens the engine that the environment variable names.
func openReal(t *testing.T, variable string) *docker.Driver {
	t.Helper()
	endpoint := os.Getenv(variable)
	if endpoint == "" {
		t.Skipf("%s is not set: it names the socket of a real engine, such as unix:///var/run/docker.sock", variable)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	d, err := docker.Open(ctx, endpoint)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func TestDockerConformance(t *testing.T) { testReal(t, "ORCHION_TEST_DOCKER_HOST", driver.NameDocker) }

func TestPodmanConformance(t *testing.T) { testReal(t, "ORCHION_TEST_PODMAN_HOST", driver.NamePodman) }

// testReal tests an engine, all engines at a time: most of it is waiting for them.
func testReal(t *testing.T, variable, name string) {
	t.Parallel()
	d := openReal(t, variable)
	if d.Name() != name {
		t.Fatalf("%s leads to %s, not %s", variable, d.Name(), name)
	}
	info, err := d.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s %s, API %s, rootless: %v", info.Name, info.Version, info.APIVersion, info.Rootless)
	var otherwise driver.Containers
	if name == driver.NameDocker { // Podman's logs are always asked for
		asking := openReal(t, variable)
		docker.AskForLogs(asking)
		otherwise = asking
	}
	drivertest.Run(t, drivertest.Target{
		Driver: d, Real: true, Otherwise: otherwise, Registry: drivertest.LoopbackRegistry, Protected: drivertest.ProtectedRegistry,
		Disturb:   func(t *testing.T) { listNetworks(t, d.Endpoint()) },
		MissesOOM: info.Name == driver.NamePodman && strings.HasPrefix(info.Version, "4."),
	})
}

// listNetworks asks as any other client of Docker's API would, which makes Podman 4.3
// forget what its networks are.
func listNetworks(t *testing.T, endpoint string) {
	cli, err := client.NewClientWithOpts(client.WithHost(endpoint), client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	list, err := cli.NetworkList(t.Context(), network.ListOptions{})
	if err != nil || len(list) == 0 {
		t.Fatalf("networks %v, %v", list, err)
	}
}
