package hostinfo

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

func gpuProbes() []gpuProbe { return []gpuProbe{apple{}} }

// apple asks the tools that come with macOS.
type apple struct{}

func (apple) detect(ctx context.Context) ([]*orchionv1.Gpu, error) {
	profile, err := runCommand(ctx, "/usr/sbin/system_profiler", "SPDisplaysDataType", "-json")
	if err != nil {
		return nil, err
	}
	system, err := runCommand(ctx, "/usr/sbin/sysctl", "-n", "hw.memsize")
	if err != nil {
		return nil, err
	}
	memory, err := strconv.ParseInt(strings.TrimSpace(string(system)), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("sysctl hw.memsize: %w", err)
	}
	// 0 or missing: the system's own limit holds.
	limit := int64(0)
	if out, err := runCommand(ctx, "/usr/sbin/sysctl", "-n", "iogpu.wired_limit_mb"); err == nil {
		if mebibytes, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 40); err == nil {
			limit = mebibytes << 20
		}
	}
	return parseSystemProfiler(profile, memory, limit)
}

// usage is not available without root (powermetrics).
func (apple) usage(context.Context) ([]*orchionv1.GpuUsage, error) { return nil, nil }
