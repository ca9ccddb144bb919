package bed

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func dockerCommand(b Bed) (*exec.Cmd, error) {
	return exec.Command("dockerd", //nolint:noctx // it outlives this program
		"--data-root", filepath.Join(b.Dir, "docker"),
		"--exec-root", filepath.Join(b.Dir, "run", "docker"),
		"--pidfile", filepath.Join(b.Dir, "run", "dockerd.pid"),
		"--host", "unix://"+b.socket(docker())), nil
}

// containersConf has Podman run where crun refuses the control groups (version 1
// beside 2) and where raising limits is not allowed. Its networks are its own.
const containersConf = `[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
[network]
network_config_dir = %q
`

func registriesConf() string {
	var b strings.Builder
	b.WriteString("unqualified-search-registries = [\"docker.io\"]\n")
	// Podman knows no port ranges.
	for port := FirstRegistryPort; port <= LastRegistryPort; port++ {
		fmt.Fprintf(&b, "[[registry]]\nlocation = \"127.0.0.1:%d\"\ninsecure = true\n", port)
	}
	return b.String()
}

func podmanCommand(b Bed) (*exec.Cmd, error) {
	containers := filepath.Join(b.Dir, "containers.conf")
	registries := filepath.Join(b.Dir, "registries.conf")
	for path, text := range map[string]string{containers: fmt.Sprintf(containersConf, filepath.Join(b.Dir, "podman-networks")), registries: registriesConf()} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	cmd := exec.Command("podman", //nolint:noctx // it outlives this program
		"--root", filepath.Join(b.Dir, "podman"),
		"--runroot", filepath.Join(b.Dir, "podman-run"),
		"system", "service", "--time=0", "unix://"+b.socket(podman()))
	cmd.Dir = b.Dir // its monitors leave files in the folder they are started in
	cmd.Env = append(os.Environ(), "CONTAINERS_CONF="+containers, "CONTAINERS_REGISTRIES_CONF="+registries)
	return cmd, nil
}

// podmanCleanUp takes away the mount of its storage onto itself, which Podman
// leaves until the next start of the machine and which keeps the folder from
// being deleted.
func podmanCleanUp(ctx context.Context, b Bed) error {
	overlay := filepath.Join(b.Dir, "podman", "overlay")
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil || !bytes.Contains(mounts, []byte(" "+overlay+" ")) {
		return nil //nolint:nilerr // no mounts to read means none to take away
	}
	if out, err := exec.CommandContext(ctx, "umount", overlay).CombinedOutput(); err != nil {
		return fmt.Errorf("unmount %s: %w: %s", overlay, err, bytes.TrimSpace(out))
	}
	return nil
}
