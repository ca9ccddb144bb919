package docker

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// maxStats bounds the engine's answer to a request for one sample.
const maxStats = 1 << 20

// Stats implements driver.Containers.
func (d *Driver) Stats(ctx context.Context, id string) (driver.Stats, error) {
	const op = "measure container"
	// Neither engine says clearly that a stopped container cannot be measured.
	c, err := d.inspect(ctx, op, id)
	if err != nil {
		return driver.Stats{}, err
	}
	if c.State != driver.StateRunning {
		return driver.Stats{}, d.notRunning(op, id)
	}
	resp, err := d.cli.ContainerStatsOneShot(ctx, id)
	if err != nil {
		return driver.Stats{}, d.fail(ctx, op, id, err)
	}
	defer resp.Body.Close()
	var sample container.StatsResponse
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxStats)).Decode(&sample); err != nil {
		return driver.Stats{}, d.fail(ctx, op, id, err)
	}
	if sample.Read.IsZero() {
		return driver.Stats{}, d.notRunning(op, id) // ended just now
	}
	return driver.Stats{
		Time:             sample.Read,
		CPUTotal:         time.Duration(sample.CPUStats.CPUUsage.TotalUsage),
		MemoryBytes:      memoryInUse(sample.MemoryStats),
		MemoryLimitBytes: sample.MemoryStats.Limit,
		PIDs:             sample.PidsStats.Current,
	}, nil
}

func (d *Driver) notRunning(op, id string) error {
	return &driver.Error{
		Code: driver.CodeConflict, Engine: d.name, Op: op, Subject: id,
		Err: errors.New("the container does not run"),
	}
}

// memoryInUse leaves out the page cache that the kernel can drop, as "docker stats" does:
// total_inactive_file under cgroup v1, inactive_file under v2. Podman leaves it out itself.
func memoryInUse(m container.MemoryStats) uint64 {
	for _, key := range []string{"total_inactive_file", "inactive_file"} {
		if cache, found := m.Stats[key]; found && cache < m.Usage {
			return m.Usage - cache
		}
	}
	return m.Usage
}
