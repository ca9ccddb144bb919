// Package node holds what the orchestrator knows of nodes: the domain types,
// the in-memory registry and the reaper that finds the silent ones.
package node

import "time"

// State says whether a node lives and takes work.
type State int

// The states; see docs/architecture.md for the transitions.
const (
	// Offline: known, but gone.
	Offline State = iota
	// Online: heartbeats arrive in time.
	Online
	// Draining: online, but takes no new work.
	Draining
)

// Active says whether a node in this state is there.
func (s State) Active() bool { return s == Online || s == Draining }

// String gives the state's name as people read it.
func (s State) String() string {
	switch s {
	case Online:
		return "online"
	case Draining:
		return "draining"
	default:
		return "offline"
	}
}

// Node is one machine. Values handed out by the registry are shared between
// goroutines and never changed: a change makes a new value.
type Node struct {
	ID       string
	Hostname string
	State    State
	// AgentLabels are those the node agent gave; UserLabels were put on the
	// node through the API and win over them. Labels are both together.
	AgentLabels map[string]string
	UserLabels  map[string]string
	Labels      map[string]string
	// AgentTaints, UserTaints and Taints are as with labels; Taints are ordered.
	AgentTaints []string
	UserTaints  []string
	Taints      []string
	// Cordoned and Drain are wanted by people and outlive the node's
	// connection. Drain is nil while the node is not drained.
	Cordoned bool
	Drain    *Drain
	// CoolDown is nil unless the node came and went too often lately.
	CoolDown     *CoolDown
	AgentVersion string
	// Address is where the connection comes from, host without port.
	Address      string
	InstanceID   string
	Capabilities Capabilities
	Usage        Usage
	RegisteredAt time.Time
	LastSeenAt   time.Time
}

// Known is what is kept of a node in the store, so that an offline machine can
// be shown and its labels and drain outlive restarts.
type Known struct {
	ID           string
	Hostname     string
	AgentLabels  map[string]string
	UserLabels   map[string]string
	AgentTaints  []string
	UserTaints   []string
	Cordoned     bool
	Drain        *Drain
	AgentVersion string
	Address      string
	Capabilities Capabilities
	RegisteredAt time.Time
	LastSeenAt   time.Time
}

// Capabilities are what a node's hardware and software can do.
type Capabilities struct {
	OS, Arch, Platform, Kernel string
	CPU                        CPU
	MemoryBytes                int64
	Disk                       Disk
	GPUs                       []GPU
	Runtimes                   []Runtime
	Engines                    []LocalEngine
	// Processes are the programs that the node's own policy allows.
	Processes []AllowedProcess
	// Credentials for registries are kept by the node; this is their names.
	Credentials []RegistryCredentials
}

// RegistryCredentials are what a node can show a registry.
type RegistryCredentials struct {
	Name     string
	Registry string
}

// AllowedProcess is a program that jobs may run on the node, in no container.
type AllowedProcess struct {
	Name string
	Path string
}

// CPU counts cores.
type CPU struct {
	Model         string
	PhysicalCores int
	LogicalCores  int
}

// Disk is the filesystem of the node agent's data directory.
type Disk struct {
	TotalBytes int64
	Path       string
}

// GPU is one accelerator.
type GPU struct {
	Vendor        string
	Model         string
	MemoryBytes   int64
	DriverVersion string
	UUID          string
}

// Runtime is a container runtime: docker or podman.
type Runtime struct {
	Name     string
	Version  string
	Endpoint string
	Rootless bool
}

// LocalEngine is a model engine that serves on the machine without us.
type LocalEngine struct {
	Name     string
	Version  string
	Endpoint string
	Models   []string
}

// Usage is live utilisation.
type Usage struct {
	// CPUPercent is of all logical cores together, 0 to 100.
	CPUPercent      float64
	MemoryUsedBytes int64
	// MemoryOthersBytes is used by what no job or model declared. 0 also when
	// the node does not measure it.
	MemoryOthersBytes int64
	DiskUsedBytes     int64
	GPUs              []GPUUsage
	RunningJobs       int
}

// GPUUsage is live utilisation of one GPU.
type GPUUsage struct {
	UUID               string
	UtilizationPercent float64
	MemoryUsedBytes    int64
}
