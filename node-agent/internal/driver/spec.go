package driver

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"
)

// Profile says how tightly a container is shut in.
type Profile int

// The profiles.
const (
	// ProfileJob is the zero value, for code we know nothing about: no capabilities, no way
	// to gain privileges, a limit on processes, an init process where the engine has one, a
	// network of jobs alone.
	ProfileJob Profile = iota
	// ProfileEngine is for inference engines, which we choose: the engine's default
	// capabilities and a higher limit on processes, and still no way to gain privileges.
	// Its network is out of the jobs' reach: they get to models through the gateway.
	ProfileEngine
)

// Limits on the number of processes and threads, used when Resources.PIDs is 0.
const (
	DefaultJobPIDs    = 4096
	DefaultEnginePIDs = 32768
)

// ContainerSpec says what container to create. Nothing in it can make a container
// privileged, give it the host's network or publish a port beyond 127.0.0.1.
type ContainerSpec struct {
	// Name is unique on the engine; empty lets the engine choose one.
	Name string
	// Image is an image reference; see NormalizeReference.
	Image string
	// Command replaces the image's entrypoint and drops its default arguments; Args replaces
	// the default arguments. Empty ones leave the image's own.
	Command []string
	Args    []string
	// Executable is the file that is run when it is not the one that Command calls itself by:
	// an absolute path, and of a process, not of a container.
	Executable string

	Env     map[string]string
	Labels  map[string]string
	User    string // user[:group]; empty: the image's
	WorkDir string // absolute; empty: the image's

	Resources Resources
	GPUs      GPURequest
	Ports     []Port
	Mounts    []Mount
	Tmpfs     []Tmpfs
	// Network is, when empty, that of the profile: a bridge towards the outside by NAT, from
	// which the other profile's containers cannot be reached.
	Network NetworkMode
	Profile Profile

	// LogBytes is how much of the container's output the engine keeps, the newest, about; 0:
	// DefaultLogBytes. At least MinLogBytes.
	LogBytes int64

	// OpenStdin gives the container a standard input, to be written through Attach. It ends
	// with the first attachment: Podman knows no other way.
	OpenStdin bool
}

// Bounds of ContainerSpec.LogBytes.
const (
	DefaultLogBytes = 256 << 20
	MinLogBytes     = 1 << 20
)

// JobSpec is a spec for a container of a job, with the tight profile.
func JobSpec(image string) ContainerSpec {
	return ContainerSpec{Image: image, Profile: ProfileJob}
}

// EngineSpec is a spec for a container of an inference engine, with the wider profile.
func EngineSpec(image string) ContainerSpec {
	return ContainerSpec{Image: image, Profile: ProfileEngine}
}

// Resources limits what a container may use. 0 always means no limit, but for PIDs.
type Resources struct {
	CPUMillis   int64 // thousandths of a core, at least 10
	MemoryBytes int64 // swap included, at least MinMemoryBytes
	PIDs        int64 // processes and threads; 0: the profile's default
	ShmBytes    int64 // size of /dev/shm; 0: the engine's default, usually 64 MiB
	// DiskBytes bounds what the container writes outside of volumes, on engines whose
	// storage can: Docker and Podman on XFS with project quotas, on btrfs and on ZFS.
	DiskBytes int64
}

// MinMemoryBytes is the least memory limit the engines take: 6 MiB.
const MinMemoryBytes = 6 << 20

// GPURequest asks for NVIDIA GPUs.
type GPURequest struct {
	// Count is how many; AllGPUs for all there are.
	Count int
	// IDs names them by index or UUID instead, and then Count must be 0. The
	// container's NVIDIA_VISIBLE_DEVICES says the same.
	IDs []string
}

// AllGPUs as GPURequest.Count asks for every GPU of the machine.
const AllGPUs = -1

// RequestGPUs asks for GPUs by their ids, or, when none are named, for so many.
func RequestGPUs(ids []string, count int) GPURequest {
	if len(ids) > 0 {
		return GPURequest{IDs: ids}
	}
	return GPURequest{Count: count}
}

// Wanted says whether it asks for anything.
func (g GPURequest) Wanted() bool { return g.Count != 0 || len(g.IDs) > 0 }

// Port is a TCP port of a container, published on the host's 127.0.0.1.
type Port struct {
	Container uint16
	Host      uint16 // 0 in a spec: the engine chooses
}

// Tmpfs is a folder in memory, empty at first, for anybody to write to. What is in it counts
// as the container's memory.
type Tmpfs struct {
	Target    string // absolute path in the container
	SizeBytes int64  // more than 0
}

// MountKind says what is mounted.
type MountKind string

// The kinds of mounts.
const (
	MountVolume MountKind = "volume" // Source is a named volume
	MountBind   MountKind = "bind"   // Source is an absolute path on the host
)

// Mount shows a volume or a path of the host inside a container.
type Mount struct {
	Kind     MountKind
	Source   string
	Target   string // absolute path in the container
	ReadOnly bool
}

// NetworkMode says what network a container sees.
type NetworkMode string

// NetworkNone is loopback only; see also NetworkOf.
const NetworkNone NetworkMode = "none"

const networkContainerPrefix = "container:"

// NetworkOf shares the network of another container, which must be running at Start.
func NetworkOf(containerID string) NetworkMode {
	return NetworkMode(networkContainerPrefix + containerID)
}

// Container gives the id in a mode made by NetworkOf.
func (m NetworkMode) Container() (string, bool) {
	return strings.CutPrefix(string(m), networkContainerPrefix)
}

// Limits on a spec, against one that would choke an engine.
const (
	maxArgs       = 1024
	maxArgLength  = 128 << 10 // MAX_ARG_STRLEN of Linux
	maxEnv        = 1024
	maxLabels     = 128
	maxLabelValue = 4096
	maxPorts      = 64
	maxMounts     = 64
)

var (
	// The engines' own rule for names of containers and volumes.
	nameRE  = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$`)
	envRE   = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_.-]{0,255}$`)
	labelRE = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9_./-]{0,254}[a-zA-Z0-9])?$`)
	userRE  = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,63}(:[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,63})?$`)
	gpuRE   = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9.:/-]{0,127}$`)
)

// ValidateID refuses what cannot be the id or name of a container or volume, so that
// nothing else ever becomes part of a request's path.
func ValidateID(id string) error {
	if !nameRE.MatchString(id) {
		return fmt.Errorf("id: %q is not an id or name: letters, digits, '_', '.', '-', at most 128", id)
	}
	return nil
}

// Validate returns an error that names the first field that is wrong.
func (s *ContainerSpec) Validate() error {
	if _, err := NormalizeReference(s.Image); err != nil {
		return err
	}
	if s.Name != "" && !nameRE.MatchString(s.Name) {
		return fmt.Errorf("name: %q: use letters, digits, '_', '.', '-', a letter or digit first, at most 128", s.Name)
	}
	if s.User != "" && !userRE.MatchString(s.User) {
		return fmt.Errorf("user: %q is not USER or USER:GROUP", s.User)
	}
	if s.WorkDir != "" && !path.IsAbs(s.WorkDir) {
		return fmt.Errorf("workdir: %q must be an absolute path", s.WorkDir)
	}
	if s.Profile != ProfileJob && s.Profile != ProfileEngine {
		return fmt.Errorf("profile: %d is not a profile", s.Profile)
	}
	if s.LogBytes != 0 && s.LogBytes < MinLogBytes {
		return fmt.Errorf("logBytes: %d is less than %d", s.LogBytes, MinLogBytes)
	}
	if s.Executable != "" {
		return errors.New("executable: only a process can be given this")
	}
	for _, check := range []func() error{
		s.validateArgs, s.validateEnv, s.validateLabels, s.validateResources,
		s.validatePorts, s.validateMounts, s.validateNetwork,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (s *ContainerSpec) validateArgs() error {
	if err := validateArgs("args", s.Args); err != nil || len(s.Command) == 0 {
		return err
	}
	return ValidateCommand(s.Command)
}

// ValidateCommand checks an executable with its arguments.
func ValidateCommand(command []string) error {
	if len(command) == 0 || command[0] == "" {
		return fmt.Errorf("command[0]: must not be empty")
	}
	return validateArgs("command", command)
}

func validateArgs(field string, args []string) error {
	if len(args) > maxArgs {
		return fmt.Errorf("%s: %d entries are too many, at most %d", field, len(args), maxArgs)
	}
	for i, arg := range args {
		if len(arg) >= maxArgLength || strings.ContainsRune(arg, 0) {
			return fmt.Errorf("%s[%d]: must be shorter than %d bytes and hold no NUL", field, i, maxArgLength)
		}
	}
	return nil
}

func (s *ContainerSpec) validateEnv() error {
	if len(s.Env) > maxEnv {
		return fmt.Errorf("env: %d variables are too many, at most %d", len(s.Env), maxEnv)
	}
	for key, value := range s.Env {
		if !envRE.MatchString(key) {
			return fmt.Errorf("env: %q is not a name of a variable: letters, digits, '_', '.', '-', no digit first", key)
		}
		if len(key)+len(value) >= maxArgLength || strings.ContainsRune(value, 0) {
			return fmt.Errorf("env[%s]: must be shorter than %d bytes and hold no NUL", key, maxArgLength)
		}
	}
	return nil
}

func (s *ContainerSpec) validateLabels() error { return ValidateLabels(s.Labels) }

// ValidateLabels returns an error that names the first label that is wrong.
func ValidateLabels(labels map[string]string) error {
	if len(labels) > maxLabels {
		return fmt.Errorf("labels: %d are too many, at most %d", len(labels), maxLabels)
	}
	for key, value := range labels {
		if !labelRE.MatchString(key) {
			return fmt.Errorf("labels: %q is not a key: letters, digits, '_', '.', '/', '-', at most 256", key)
		}
		if len(value) > maxLabelValue || strings.ContainsAny(value, "\x00\n") {
			return fmt.Errorf("labels[%s]: must be at most %d bytes on one line", key, maxLabelValue)
		}
	}
	return nil
}

func (s *ContainerSpec) validateResources() error {
	r := s.Resources
	switch {
	case r.CPUMillis < 0 || (r.CPUMillis > 0 && r.CPUMillis < 10):
		return fmt.Errorf("resources.cpuMillis: %d: must be 0 (no limit) or at least 10", r.CPUMillis)
	case r.MemoryBytes < 0 || (r.MemoryBytes > 0 && r.MemoryBytes < MinMemoryBytes):
		return fmt.Errorf("resources.memoryBytes: %d: must be 0 (no limit) or at least %d", r.MemoryBytes, MinMemoryBytes)
	case r.PIDs < 0:
		return fmt.Errorf("resources.pids: %d: must not be negative", r.PIDs)
	case r.ShmBytes < 0:
		return fmt.Errorf("resources.shmBytes: %d: must not be negative", r.ShmBytes)
	case r.DiskBytes < 0:
		return fmt.Errorf("resources.diskBytes: %d: must not be negative", r.DiskBytes)
	case s.GPUs.Count < AllGPUs:
		return fmt.Errorf("gpus: %d: must be a number of GPUs, or %d for all", s.GPUs.Count, AllGPUs)
	case s.GPUs.Count != 0 && len(s.GPUs.IDs) > 0:
		return fmt.Errorf("gpus: give a count or ids, not both")
	}
	for _, id := range s.GPUs.IDs {
		if !gpuRE.MatchString(id) {
			return fmt.Errorf("gpus: %q is not an index or UUID", id)
		}
	}
	return nil
}

func (s *ContainerSpec) validatePorts() error {
	if len(s.Ports) > maxPorts {
		return fmt.Errorf("ports: %d are too many, at most %d", len(s.Ports), maxPorts)
	}
	seen := map[uint16]bool{}
	for _, p := range s.Ports {
		if p.Container == 0 {
			return fmt.Errorf("ports: the container's port must be between 1 and 65535")
		}
		if seen[p.Container] {
			return fmt.Errorf("ports: %d is published twice", p.Container)
		}
		seen[p.Container] = true
	}
	if len(s.Ports) > 0 && s.Network != "" {
		return fmt.Errorf("ports: cannot be published on network %q, only on the profile's own", s.Network)
	}
	return nil
}

func (s *ContainerSpec) validateMounts() error {
	if total := len(s.Mounts) + len(s.Tmpfs); total > maxMounts {
		return fmt.Errorf("mounts: %d are too many, at most %d", total, maxMounts)
	}
	targets := map[string]bool{}
	target := func(text string) error {
		switch {
		case !path.IsAbs(text) || strings.ContainsAny(text, "\x00,:"):
			return fmt.Errorf("mounts: target %q must be an absolute path without ',' and ':'", text)
		case targets[path.Clean(text)]:
			return fmt.Errorf("mounts: target %q is there twice", text)
		}
		targets[path.Clean(text)] = true
		return nil
	}
	for _, m := range s.Tmpfs {
		if err := target(m.Target); err != nil {
			return err
		}
		if m.SizeBytes <= 0 {
			return fmt.Errorf("tmpfs: size %d of %q must be more than 0", m.SizeBytes, m.Target)
		}
	}
	for _, m := range s.Mounts {
		if err := target(m.Target); err != nil {
			return err
		}
		switch m.Kind {
		case MountVolume:
			if !nameRE.MatchString(m.Source) {
				return fmt.Errorf("mounts: %q is not a name of a volume", m.Source)
			}
		case MountBind:
			if m.Source == "" || strings.ContainsAny(m.Source, "\x00,") {
				return fmt.Errorf("mounts: source %q must be a path without ','", m.Source)
			}
		default:
			return fmt.Errorf("mounts: kind %q is not one of %s, %s", m.Kind, MountVolume, MountBind)
		}
	}
	return nil
}

func (s *ContainerSpec) validateNetwork() error {
	if s.Network == "" || s.Network == NetworkNone {
		return nil
	}
	if id, ok := s.Network.Container(); ok && nameRE.MatchString(id) {
		return nil
	}
	return fmt.Errorf("network: %q is not one of %s, container:ID", s.Network, NetworkNone)
}
