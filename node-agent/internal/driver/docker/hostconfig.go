package docker

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/go-connections/nat"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// configs translates a valid spec into the engine's terms. ref is the image by the name
// under which the engine has it.
func (d *Driver) configs(spec driver.ContainerSpec, ref string, network container.NetworkMode) (*container.Config, *container.HostConfig) {
	config := &container.Config{
		Image:        ref,
		Entrypoint:   spec.Command,
		Cmd:          spec.Args,
		Env:          envList(withDevices(spec)),
		Labels:       managed(spec.Labels),
		User:         spec.User,
		WorkingDir:   spec.WorkDir,
		OpenStdin:    spec.OpenStdin,
		StdinOnce:    spec.OpenStdin,
		AttachStdin:  spec.OpenStdin,
		AttachStdout: true,
		AttachStderr: true,
		ExposedPorts: nat.PortSet{},
	}
	host := &container.HostConfig{
		NetworkMode:   network,
		PortBindings:  nat.PortMap{},
		RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyDisabled},
		// Whatever the machine's default is, we must be able to read the log back.
		LogConfig:   d.logConfig(spec.LogBytes),
		SecurityOpt: []string{"no-new-privileges"},
		ShmSize:     spec.Resources.ShmBytes,
		Resources:   resources(spec),
	}
	if spec.Profile == driver.ProfileJob {
		host.CapDrop = []string{"ALL"}
	}
	if d.mayInit() {
		init := true
		host.Init = &init
	}
	for _, p := range spec.Ports {
		port := nat.Port(strconv.Itoa(int(p.Container)) + "/tcp")
		binding := nat.PortBinding{HostIP: "127.0.0.1"}
		if p.Host != 0 {
			binding.HostPort = strconv.Itoa(int(p.Host))
		}
		config.ExposedPorts[port] = struct{}{}
		host.PortBindings[port] = []nat.PortBinding{binding}
	}
	for _, m := range spec.Mounts {
		kind := mount.TypeVolume
		if m.Kind == driver.MountBind {
			kind = mount.TypeBind
		}
		host.Mounts = append(host.Mounts, mount.Mount{Type: kind, Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly})
	}
	for _, m := range spec.Tmpfs {
		if host.Tmpfs == nil {
			host.Tmpfs = map[string]string{}
		}
		host.Tmpfs[m.Target] = fmt.Sprintf("rw,exec,nosuid,nodev,mode=1777,size=%d", m.SizeBytes)
	}
	if spec.Resources.DiskBytes > 0 && d.mayQuota() {
		host.StorageOpt = map[string]string{"size": strconv.FormatInt(spec.Resources.DiskBytes, 10)}
	}
	host.DeviceRequests = d.deviceRequests(spec.GPUs)
	return config, host
}

func resources(spec driver.ContainerSpec) container.Resources {
	pids := spec.Resources.PIDs
	if pids == 0 {
		pids = driver.DefaultJobPIDs
		if spec.Profile == driver.ProfileEngine {
			pids = driver.DefaultEnginePIDs
		}
	}
	return container.Resources{
		NanoCPUs: spec.Resources.CPUMillis * 1_000_000,
		Memory:   spec.Resources.MemoryBytes,
		// The same figure for memory and swap together means no swap.
		MemorySwap: spec.Resources.MemoryBytes,
		PidsLimit:  &pids,
	}
}

// deviceRequests asks for GPUs in each engine's own way.
func (d *Driver) deviceRequests(gpus driver.GPURequest) []container.DeviceRequest {
	if !gpus.Wanted() {
		return nil
	}
	if !d.podman() {
		return []container.DeviceRequest{{
			Count: gpus.Count, DeviceIDs: gpus.IDs, Capabilities: [][]string{{"gpu"}},
		}}
	}
	names := gpus.IDs
	if gpus.Count == driver.AllGPUs {
		names = []string{"all"}
	}
	for i := range gpus.Count { // none when all are wanted
		names = append(names, strconv.Itoa(i))
	}
	request := container.DeviceRequest{Driver: "cdi"}
	for _, name := range names {
		request.DeviceIDs = append(request.DeviceIDs, "nvidia.com/gpu="+name)
	}
	return []container.DeviceRequest{request}
}

// nvidiaDevices is what NVIDIA's runtime and libraries go by, and what many images set to
// all: it has to say the same as the request for devices.
const nvidiaDevices = "NVIDIA_VISIBLE_DEVICES"

// withDevices is the environment of a container with its GPUs in it: those that are named,
// and for a job that asks for none, none.
func withDevices(spec driver.ContainerSpec) map[string]string {
	var devices string
	switch {
	case len(spec.GPUs.IDs) > 0:
		devices = strings.Join(spec.GPUs.IDs, ",")
	case spec.Profile == driver.ProfileJob && !spec.GPUs.Wanted():
		devices = "void"
	default:
		return spec.Env
	}
	env := maps.Clone(spec.Env)
	if env == nil {
		env = map[string]string{}
	}
	env[nvidiaDevices] = devices
	return env
}

// logConfig bounds what a container can write to the disk through its log.
func (d *Driver) logConfig(bytes int64) container.LogConfig {
	if bytes == 0 {
		bytes = driver.DefaultLogBytes
	}
	const files = 4
	config := map[string]string{"max-size": strconv.FormatInt(bytes/files, 10), "max-file": strconv.Itoa(files)}
	if d.podman() {
		// It takes json-file for its own k8s-file, keeps one file, and knows no max-file.
		config = map[string]string{"max-size": strconv.FormatInt(bytes, 10)}
	}
	return container.LogConfig{Type: "json-file", Config: config}
}

// mayInit says whether containers get an init process, which reaps zombies and passes
// signals on to programs that, as process 1, would ignore them.
func (d *Driver) mayInit() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.noInit
}

// mayQuota says whether the engine's storage can bound what a container writes, as far as is
// known.
func (d *Driver) mayQuota() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.noQuota
}

// managed adds the label that all we create carries.
func managed(labels map[string]string) map[string]string {
	all := maps.Clone(labels)
	if all == nil {
		all = map[string]string{}
	}
	all[driver.LabelManaged] = "true"
	return all
}

// envList writes variables as the engines want them, in a stable order.
func envList(env map[string]string) []string {
	list := make([]string, 0, len(env))
	for _, key := range slices.Sorted(maps.Keys(env)) {
		list = append(list, key+"="+env[key])
	}
	return list
}
