package api

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/node"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// registrationFromProto checks and reads what a node says of itself.
func registrationFromProto(req *orchionv1.RegisterNodeRequest) (node.Registration, error) {
	var none node.Registration
	n := req.GetNode()
	if n == nil {
		return none, fault.BadField("node", "must be given")
	}
	if n.GetId() != "" {
		if err := checkID("node.id", n.GetId()); err != nil {
			return none, err
		}
	}
	if err := checkHostname("node.hostname", n.GetHostname()); err != nil {
		return none, err
	}
	if err := checkLabels("node.labels", n.GetLabels()); err != nil {
		return none, err
	}
	if err := checkTaints("node.taints", n.GetTaints()); err != nil {
		return none, err
	}
	if err := checkText("node.agentVersion", n.GetAgentVersion(), maxText); err != nil {
		return none, err
	}
	if err := checkText("instanceId", req.GetInstanceId(), maxInstanceID); err != nil {
		return none, err
	}
	interval, err := duration("heartbeatInterval", req.GetHeartbeatInterval(), 0, 24*time.Hour)
	if err != nil {
		return none, err
	}
	capabilities, err := capabilitiesFromProto("node.capabilities", n.GetCapabilities())
	if err != nil {
		return none, err
	}
	usage, err := usageFromProto("node.usage", n.GetUsage())
	if err != nil {
		return none, err
	}
	return node.Registration{
		ID:                n.GetId(),
		Hostname:          n.GetHostname(),
		Labels:            n.GetLabels(),
		Taints:            n.GetTaints(),
		AgentVersion:      n.GetAgentVersion(),
		InstanceID:        req.GetInstanceId(),
		Capabilities:      capabilities,
		Usage:             usage,
		HeartbeatInterval: interval,
	}, nil
}

func capabilitiesFromProto(field string, c *orchionv1.Capabilities) (node.Capabilities, error) {
	var none node.Capabilities
	for name, text := range map[string]string{
		".os": c.GetOs(), ".arch": c.GetArch(), ".platform": c.GetPlatform(), ".kernel": c.GetKernel(),
		".cpu.model": c.GetCpu().GetModel(),
	} {
		if err := checkText(field+name, text, maxText); err != nil {
			return none, err
		}
	}
	if err := checkText(field+".disk.path", c.GetDisk().GetPath(), maxPath); err != nil {
		return none, err
	}
	for name, n := range map[string]int64{
		".cpu.physicalCores": int64(c.GetCpu().GetPhysicalCores()), ".cpu.logicalCores": int64(c.GetCpu().GetLogicalCores()),
		".memory.totalBytes": c.GetMemory().GetTotalBytes(), ".disk.totalBytes": c.GetDisk().GetTotalBytes(),
	} {
		if err := checkRange(field+name, n, 0, maxInt64); err != nil {
			return none, err
		}
	}
	gpus, err := gpusFromProto(field+".gpus", c.GetGpus())
	if err != nil {
		return none, err
	}
	runtimes, err := runtimesFromProto(field+".runtimes", c.GetRuntimes())
	if err != nil {
		return none, err
	}
	engines, err := enginesFromProto(field+".engines", c.GetEngines())
	if err != nil {
		return none, err
	}
	processes, err := processesFromProto(field+".processes", c.GetProcesses())
	if err != nil {
		return none, err
	}
	credentials, err := credentialsFromProto(field+".registryCredentials", c.GetRegistryCredentials())
	if err != nil {
		return none, err
	}
	return node.Capabilities{
		OS: c.GetOs(), Arch: c.GetArch(), Platform: c.GetPlatform(), Kernel: c.GetKernel(),
		CPU: node.CPU{
			Model:         c.GetCpu().GetModel(),
			PhysicalCores: int(c.GetCpu().GetPhysicalCores()),
			LogicalCores:  int(c.GetCpu().GetLogicalCores()),
		},
		MemoryBytes: c.GetMemory().GetTotalBytes(),
		Disk:        node.Disk{TotalBytes: c.GetDisk().GetTotalBytes(), Path: c.GetDisk().GetPath()},
		GPUs:        gpus,
		Runtimes:    runtimes,
		Engines:     engines,
		Processes:   processes,
		Credentials: credentials,
	}, nil
}

func gpusFromProto(field string, list []*orchionv1.Gpu) ([]node.GPU, error) {
	if err := checkCount(field, len(list), maxGPUs); err != nil {
		return nil, err
	}
	var gpus []node.GPU
	for i, g := range list {
		at := fmt.Sprintf("%s[%d]", field, i)
		for name, text := range map[string]string{
			".vendor": g.GetVendor(), ".model": g.GetModel(), ".driverVersion": g.GetDriverVersion(), ".uuid": g.GetUuid(),
		} {
			if err := checkText(at+name, text, maxText); err != nil {
				return nil, err
			}
		}
		if err := checkRange(at+".memoryBytes", g.GetMemoryBytes(), 0, maxInt64); err != nil {
			return nil, err
		}
		gpus = append(gpus, node.GPU{
			Vendor: g.GetVendor(), Model: g.GetModel(), MemoryBytes: g.GetMemoryBytes(),
			DriverVersion: g.GetDriverVersion(), UUID: g.GetUuid(),
		})
	}
	return gpus, nil
}

func runtimesFromProto(field string, list []*orchionv1.ContainerRuntime) ([]node.Runtime, error) {
	if err := checkCount(field, len(list), maxRuntimes); err != nil {
		return nil, err
	}
	var runtimes []node.Runtime
	for i, r := range list {
		at := fmt.Sprintf("%s[%d]", field, i)
		if err := checkRequired(at+".name", r.GetName(), maxText); err != nil {
			return nil, err
		}
		if err := checkText(at+".version", r.GetVersion(), maxText); err != nil {
			return nil, err
		}
		if err := checkText(at+".endpoint", r.GetEndpoint(), maxEndpoint); err != nil {
			return nil, err
		}
		runtimes = append(runtimes, node.Runtime{
			Name: r.GetName(), Version: r.GetVersion(), Endpoint: r.GetEndpoint(), Rootless: r.GetRootless(),
		})
	}
	return runtimes, nil
}

func enginesFromProto(field string, list []*orchionv1.LocalEngine) ([]node.LocalEngine, error) {
	if err := checkCount(field, len(list), maxEngines); err != nil {
		return nil, err
	}
	var engines []node.LocalEngine
	for i, e := range list {
		at := fmt.Sprintf("%s[%d]", field, i)
		if err := checkRequired(at+".name", e.GetName(), maxText); err != nil {
			return nil, err
		}
		if err := checkText(at+".version", e.GetVersion(), maxText); err != nil {
			return nil, err
		}
		if err := checkHTTPURL(at+".endpoint", e.GetEndpoint()); err != nil {
			return nil, err
		}
		if err := checkCount(at+".models", len(e.GetModels()), maxEngineModels); err != nil {
			return nil, err
		}
		for j, m := range e.GetModels() {
			if err := checkRequired(fmt.Sprintf("%s.models[%d]", at, j), m, maxText); err != nil {
				return nil, err
			}
		}
		engines = append(engines, node.LocalEngine{
			Name: e.GetName(), Version: e.GetVersion(), Endpoint: e.GetEndpoint(), Models: e.GetModels(),
		})
	}
	return engines, nil
}

func usageFromProto(field string, u *orchionv1.NodeUsage) (node.Usage, error) {
	var none node.Usage
	cpu, err := checkPercent(field+".cpuPercent", u.GetCpuPercent())
	if err != nil {
		return none, err
	}
	for _, c := range [...]struct {
		name string
		n    int64
	}{
		{".memoryUsedBytes", u.GetMemoryUsedBytes()},
		{".diskUsedBytes", u.GetDiskUsedBytes()},
		{".memoryUsedByOthersBytes", u.GetMemoryUsedByOthersBytes()},
		{".runningJobs", int64(u.GetRunningJobs())},
	} {
		if c.n < 0 { // checkRange would make the field's name each time
			return none, checkRange(field+c.name, c.n, 0, maxInt64)
		}
	}
	if err := checkCount(field+".gpus", len(u.GetGpus()), maxGPUs); err != nil {
		return none, err
	}
	usage := node.Usage{
		CPUPercent: cpu, MemoryUsedBytes: u.GetMemoryUsedBytes(), DiskUsedBytes: u.GetDiskUsedBytes(),
		RunningJobs: int(u.GetRunningJobs()), MemoryOthersBytes: u.GetMemoryUsedByOthersBytes(),
	}
	for i, g := range u.GetGpus() {
		at := fmt.Sprintf("%s.gpus[%d]", field, i)
		if err := checkText(at+".uuid", g.GetUuid(), maxText); err != nil {
			return none, err
		}
		busy, err := checkPercent(at+".utilizationPercent", g.GetUtilizationPercent())
		if err != nil {
			return none, err
		}
		if err := checkRange(at+".memoryUsedBytes", g.GetMemoryUsedBytes(), 0, maxInt64); err != nil {
			return none, err
		}
		usage.GPUs = append(usage.GPUs, node.GPUUsage{
			UUID: g.GetUuid(), UtilizationPercent: busy, MemoryUsedBytes: g.GetMemoryUsedBytes(),
		})
	}
	return usage, nil
}

func (c *Config) nodeToProto(n *node.Node) *orchionv1.Node {
	out := &orchionv1.Node{
		Id:              n.ID,
		Hostname:        n.Hostname,
		State:           nodeStateToProto(n.State),
		Labels:          n.Labels,
		AgentVersion:    n.AgentVersion,
		Address:         n.Address,
		Capabilities:    capabilitiesToProto(&n.Capabilities),
		Usage:           usageToProto(&n.Usage),
		RegisteredAt:    timeToProto(n.RegisteredAt),
		LastHeartbeatAt: timeToProto(n.LastSeenAt),
		Taints:          n.Taints,
		UserLabels:      n.UserLabels,
		Cordoned:        n.Cordoned,
		Drain:           c.drainToProto(n),
	}
	if n.CoolDown != nil {
		out.CoolDown = &orchionv1.NodeCoolDown{Until: timeToProto(n.CoolDown.Until), Reason: n.CoolDown.Reason()}
	}
	return out
}

func nodeStateToProto(s node.State) orchionv1.NodeState {
	switch s {
	case node.Online:
		return orchionv1.NodeState_NODE_STATE_ONLINE
	case node.Draining:
		return orchionv1.NodeState_NODE_STATE_DRAINING
	default:
		return orchionv1.NodeState_NODE_STATE_OFFLINE
	}
}

func nodeStateFromProto(s orchionv1.NodeState) node.State {
	switch s {
	case orchionv1.NodeState_NODE_STATE_ONLINE:
		return node.Online
	case orchionv1.NodeState_NODE_STATE_DRAINING:
		return node.Draining
	default:
		return node.Offline
	}
}

func capabilitiesToProto(c *node.Capabilities) *orchionv1.Capabilities {
	out := &orchionv1.Capabilities{
		Os: c.OS, Arch: c.Arch, Platform: c.Platform, Kernel: c.Kernel,
		Cpu: &orchionv1.Cpu{
			Model: c.CPU.Model, PhysicalCores: int32(c.CPU.PhysicalCores), LogicalCores: int32(c.CPU.LogicalCores),
		},
		Memory: &orchionv1.Memory{TotalBytes: c.MemoryBytes},
		Disk:   &orchionv1.Disk{TotalBytes: c.Disk.TotalBytes, Path: c.Disk.Path},
	}
	for _, g := range c.GPUs {
		out.Gpus = append(out.Gpus, &orchionv1.Gpu{
			Vendor: g.Vendor, Model: g.Model, MemoryBytes: g.MemoryBytes, DriverVersion: g.DriverVersion, Uuid: g.UUID,
		})
	}
	for _, r := range c.Runtimes {
		out.Runtimes = append(out.Runtimes, &orchionv1.ContainerRuntime{
			Name: r.Name, Version: r.Version, Endpoint: r.Endpoint, Rootless: r.Rootless,
		})
	}
	for _, e := range c.Engines {
		out.Engines = append(out.Engines, &orchionv1.LocalEngine{
			Name: e.Name, Version: e.Version, Endpoint: e.Endpoint, Models: e.Models,
		})
	}
	for _, p := range c.Processes {
		out.Processes = append(out.Processes, &orchionv1.AllowedProcess{Name: p.Name, Path: p.Path})
	}
	for _, r := range c.Credentials {
		out.RegistryCredentials = append(out.RegistryCredentials, &orchionv1.RegistryCredentials{Name: r.Name, Registry: r.Registry})
	}
	return out
}

func usageToProto(u *node.Usage) *orchionv1.NodeUsage {
	out := &orchionv1.NodeUsage{
		CpuPercent: u.CPUPercent, MemoryUsedBytes: u.MemoryUsedBytes, DiskUsedBytes: u.DiskUsedBytes,
		RunningJobs: int32(u.RunningJobs), MemoryUsedByOthersBytes: u.MemoryOthersBytes,
	}
	for _, g := range u.GPUs {
		out.Gpus = append(out.Gpus, &orchionv1.GpuUsage{
			Uuid: g.UUID, UtilizationPercent: g.UtilizationPercent, MemoryUsedBytes: g.MemoryUsedBytes,
		})
	}
	return out
}

// timeToProto leaves the zero time unset.
func timeToProto(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// timeFromProto gives the zero time for what is unset or out of range.
func timeFromProto(t *timestamppb.Timestamp) time.Time {
	if t == nil || t.CheckValid() != nil {
		return time.Time{}
	}
	return t.AsTime()
}
