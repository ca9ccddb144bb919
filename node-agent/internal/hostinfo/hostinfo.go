// Package hostinfo finds out what the machine is and how busy it is. There is
// one probe per file and operating system; parsing is apart from reading, so
// that the parsers are tested everywhere on outputs from real machines.
package hostinfo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/shirou/gopsutil/v3/cpu"
	"github.com/shirou/gopsutil/v3/disk"
	"github.com/shirou/gopsutil/v3/host"
	"github.com/shirou/gopsutil/v3/mem"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// gpuSampleInterval bounds how often GPUs are asked for their utilisation:
// nvidia-smi is a process of its own and takes tens of milliseconds of CPU.
const gpuSampleInterval = 10 * time.Second

// Probe reads the machine. It is safe for concurrent use.
type Probe struct {
	dataDir string
	gpus    []gpuProbe

	mu sync.Mutex // guards what follows
	// busy and total are the CPU's counters at the last Usage, in seconds.
	busy, total float64
	// gpuUsage and gpuSampledAt are the last answer of the GPUs.
	gpuUsage     []*orchionv1.GpuUsage
	gpuSampledAt time.Time
}

// gpuProbe finds the GPUs of one vendor. A machine without any answers
// neither GPUs nor an error.
type gpuProbe interface {
	detect(ctx context.Context) ([]*orchionv1.Gpu, error)
	usage(ctx context.Context) ([]*orchionv1.GpuUsage, error)
}

// New makes a probe of this machine. Of the disks it looks at the one that
// holds dataDir, which must exist.
func New(dataDir string) *Probe {
	return &Probe{dataDir: dataDir, gpus: gpuProbes()}
}

// Detect finds the hardware and the operating system. What cannot be found is
// left zero and named in the error, which therefore may come with an answer:
// a machine whose GPU driver is broken is still a node. Container runtimes and
// engines are not this package's.
func (p *Probe) Detect(ctx context.Context) (*orchionv1.Capabilities, error) {
	capabilities := &orchionv1.Capabilities{
		Os:   runtime.GOOS,
		Arch: runtime.GOARCH,
		Cpu:  &orchionv1.Cpu{LogicalCores: int32(runtime.NumCPU())},
	}
	var problems []error
	try := func(what string, err error) bool {
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", what, err))
		}
		return err == nil
	}

	info, err := host.InfoWithContext(ctx)
	if try("operating system", err) {
		capabilities.Platform = strings.TrimSpace(info.Platform + " " + info.PlatformVersion)
		capabilities.Kernel = info.KernelVersion
	}
	cpus, err := cpu.InfoWithContext(ctx)
	if try("CPU", err) && len(cpus) > 0 {
		capabilities.Cpu.Model = cpuModel(cpus[0])
	}
	if logical, err := cpu.CountsWithContext(ctx, true); try("logical cores", err) && logical > 0 {
		capabilities.Cpu.LogicalCores = int32(logical)
	}
	// Some virtual machines and ARM boards do not tell cores from threads.
	capabilities.Cpu.PhysicalCores = capabilities.GetCpu().GetLogicalCores()
	if physical, err := cpu.CountsWithContext(ctx, false); err == nil && physical > 0 {
		capabilities.Cpu.PhysicalCores = int32(physical)
	}
	memory, err := mem.VirtualMemoryWithContext(ctx)
	if try("memory", err) {
		capabilities.Memory = &orchionv1.Memory{TotalBytes: clampBytes(memory.Total)}
	}
	usage, err := disk.UsageWithContext(ctx, p.dataDir)
	if try("disk of the data directory", err) {
		capabilities.Disk = &orchionv1.Disk{TotalBytes: clampBytes(usage.Total), Path: p.dataDir}
	}
	for _, probe := range p.gpus {
		gpus, err := probe.detect(ctx)
		try("GPUs", err)
		capabilities.Gpus = append(capabilities.Gpus, gpus...)
	}
	for _, gpu := range capabilities.GetGpus() {
		// Unified memory: the driver names no memory of the GPU's own.
		if gpu.GetMemoryBytes() == 0 && gpu.GetVendor() == vendorNVIDIA {
			gpu.MemoryBytes = capabilities.GetMemory().GetTotalBytes()
		}
	}
	return capabilities, errors.Join(problems...)
}

// Usage reads how busy the machine is. The CPU is measured since the last
// call; the first one answers the average since boot. All memory that is not to
// be had is said to be used by others: whoever knows what is ours takes that off.
func (p *Probe) Usage(ctx context.Context) (*orchionv1.NodeUsage, error) {
	times, err := cpu.TimesWithContext(ctx, false)
	if err != nil {
		return nil, fmt.Errorf("CPU times: %w", err)
	}
	memory, err := mem.VirtualMemoryWithContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("memory: %w", err)
	}
	usage := &orchionv1.NodeUsage{
		MemoryUsedBytes:         clampBytes(memory.Used),
		MemoryUsedByOthersBytes: clampBytes(memory.Total - min(memory.Available, memory.Total)),
	}
	if d, err := disk.UsageWithContext(ctx, p.dataDir); err == nil {
		usage.DiskUsedBytes = clampBytes(d.Used)
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	if len(times) > 0 {
		usage.CpuPercent = p.cpuPercentLocked(times[0])
	}
	usage.Gpus = p.gpuUsageLocked(ctx)
	return usage, nil
}

// cpuPercentLocked gives the share of busy time since the last call, 0 to 100.
func (p *Probe) cpuPercentLocked(t cpu.TimesStat) float64 {
	idle := t.Idle + t.Iowait
	// Guest time is counted in user time as well.
	total := t.User + t.System + t.Nice + t.Irq + t.Softirq + t.Steal + idle
	busy := total - idle
	percent := 0.0
	if total > p.total {
		percent = (busy - p.busy) / (total - p.total) * 100
	}
	p.busy, p.total = busy, total
	return min(max(percent, 0), 100)
}

func (p *Probe) gpuUsageLocked(ctx context.Context) []*orchionv1.GpuUsage {
	if !p.gpuSampledAt.IsZero() && time.Since(p.gpuSampledAt) < gpuSampleInterval {
		return p.gpuUsage
	}
	p.gpuSampledAt = time.Now()
	p.gpuUsage = nil
	for _, probe := range p.gpus {
		// A GPU that does not answer now has been named by Detect already;
		// the beat must not fail for it.
		if usage, err := probe.usage(ctx); err == nil {
			p.gpuUsage = append(p.gpuUsage, usage...)
		}
	}
	slices.SortFunc(p.gpuUsage, func(a, b *orchionv1.GpuUsage) int { return cmp.Compare(a.GetUuid(), b.GetUuid()) })
	return p.gpuUsage
}

// cpuModel names a CPU. ARM boards have no model name but a vendor.
func cpuModel(info cpu.InfoStat) string {
	for _, name := range []string{info.ModelName, info.VendorID, info.Family} {
		if name = strings.Join(strings.Fields(name), " "); name != "" {
			return name
		}
	}
	return runtime.GOARCH
}

// clampBytes turns a size into the signed form of the wire.
func clampBytes(n uint64) int64 {
	const most = 1<<63 - 1
	return int64(min(n, most))
}
