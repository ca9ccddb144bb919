package hostinfo

import (
	"bytes"
	"runtime"
	"strings"
	"testing"

	"github.com/shirou/gopsutil/v3/cpu"
)

// TestThisMachine runs the real probes: whatever the machine, some numbers
// cannot be zero.
func TestThisMachine(t *testing.T) {
	dir := t.TempDir()
	probe := New(dir)
	c, err := probe.Detect(t.Context())
	if err != nil {
		t.Logf("incomplete: %v", err)
	}
	if c.GetOs() != runtime.GOOS || c.GetArch() != runtime.GOARCH {
		t.Errorf("os and arch are %s and %s", c.GetOs(), c.GetArch())
	}
	if c.GetKernel() == "" || c.GetPlatform() == "" || c.GetCpu().GetModel() == "" {
		t.Errorf("kernel %q, platform %q, CPU %q", c.GetKernel(), c.GetPlatform(), c.GetCpu().GetModel())
	}
	if logical, physical := c.GetCpu().GetLogicalCores(), c.GetCpu().GetPhysicalCores(); physical < 1 || logical < physical {
		t.Errorf("%d logical and %d physical cores", logical, physical)
	}
	if c.GetMemory().GetTotalBytes() < 64<<20 || c.GetDisk().GetTotalBytes() < 1<<20 || c.GetDisk().GetPath() != dir {
		t.Errorf("memory %v, disk %v", c.GetMemory(), c.GetDisk())
	}

	u, err := probe.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if used := u.GetMemoryUsedBytes(); used <= 0 || used > c.GetMemory().GetTotalBytes() {
		t.Errorf("%d bytes of %d are used", used, c.GetMemory().GetTotalBytes())
	}
	if others := u.GetMemoryUsedByOthersBytes(); others <= 0 || others > c.GetMemory().GetTotalBytes() {
		t.Errorf("%d bytes of %d are not to be had", others, c.GetMemory().GetTotalBytes())
	}
	if u.GetCpuPercent() < 0 || u.GetCpuPercent() > 100 {
		t.Errorf("the CPU is %v %% busy", u.GetCpuPercent())
	}
}

func TestCPUPercent(t *testing.T) {
	var p Probe
	for _, step := range []struct {
		times cpu.TimesStat
		want  float64
	}{
		{cpu.TimesStat{User: 25, Idle: 75}, 25},
		{cpu.TimesStat{User: 75, Idle: 125}, 50},
		{cpu.TimesStat{User: 75, Idle: 175, Iowait: 50}, 0},
		{cpu.TimesStat{User: 75, System: 90, Nice: 5, Irq: 2, Softirq: 2, Steal: 1, Idle: 175, Iowait: 50}, 100},
		// A clock that went back, as after a suspended virtual machine.
		{cpu.TimesStat{User: 1, Idle: 1}, 0},
	} {
		if got := p.cpuPercentLocked(step.times); got != step.want {
			t.Errorf("after %v: %v, want %v", step.times, got, step.want)
		}
	}
}

func TestRunCommandSaysWhatFailed(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs sh")
	}
	_, err := runCommand(t.Context(), "sh", "-c", "echo No devices were found; echo broken >&2; exit 6")
	if err == nil || !strings.Contains(err.Error(), "exit status 6: broken No devices were found") {
		t.Errorf("got %v", err)
	}
	_, err = runCommand(t.Context(), "sh", "-c", "yes | head -c 2000000")
	if err == nil {
		t.Error("two megabytes were no error")
	}
}

func TestLimitedWriter(t *testing.T) {
	var b bytes.Buffer
	w := &limitedWriter{w: &b, left: 3}
	if _, err := w.Write([]byte("abc")); err != nil || b.String() != "abc" {
		t.Errorf("got %q, %v", b.String(), err)
	}
	if _, err := w.Write([]byte("d")); err == nil {
		t.Error("a byte past the limit was no error")
	}
}
