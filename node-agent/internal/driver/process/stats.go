package process

import (
	"context"
	"time"

	"github.com/shirou/gopsutil/v3/mem"
	"github.com/shirou/gopsutil/v3/process"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// Stats implements driver.Containers: what the program and all that it started use now. What
// has ended is not in it, and memory that several share counts for each.
func (d *Driver) Stats(ctx context.Context, id string) (driver.Stats, error) {
	const op = "measure process"
	c, err := d.inspect(op, id)
	if err != nil {
		return driver.Stats{}, err
	}
	if c.State != driver.StateRunning {
		return driver.Stats{}, fail(driver.CodeConflict, op, id, errNotRunning)
	}
	begun, err := d.readStarted(id)
	if err != nil {
		return driver.Stats{}, d.failure(op, id, err)
	}
	stats := driver.Stats{Time: time.Now()}
	if memory, err := mem.VirtualMemoryWithContext(ctx); err == nil {
		stats.MemoryLimitBytes = memory.Total
	}
	list, err := process.ProcessesWithContext(ctx)
	if err != nil {
		return driver.Stats{}, fail(driver.CodeInternal, op, id, err)
	}
	children := make(map[int32][]*process.Process, len(list))
	for _, p := range list {
		if parent, err := p.PpidWithContext(ctx); err == nil { // else it has just ended
			children[parent] = append(children[parent], p)
		}
	}
	// The supervisor is the agent's own and not measured.
	tree := children[int32(begun.Supervisor)]
	for i := 0; i < len(tree); i++ {
		tree = append(tree, children[tree[i].Pid]...)
		if used, err := tree[i].MemoryInfoWithContext(ctx); err == nil {
			stats.MemoryBytes += used.RSS
			stats.PIDs++
		}
		if times, err := tree[i].TimesWithContext(ctx); err == nil {
			stats.CPUTotal += time.Duration((times.User + times.System) * float64(time.Second))
		}
	}
	return stats, nil
}
