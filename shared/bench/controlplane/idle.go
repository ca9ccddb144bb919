package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/orchion/orchion/shared/bench/internal/measure"
)

// measureIdle watches an orchestrator with one node that have nothing to do.
func measureIdle(ctx context.Context, s settings, dir string) error {
	orchestrator, err := measure.StartOrchestrator(ctx, dir, "idle")
	if err != nil {
		return err
	}
	defer orchestrator.Stop()
	agent, err := measure.Start(exec.CommandContext(ctx, filepath.Join(dir, "node-agent"),
		"--orchestrator", orchestrator.GRPC, "--data-dir", filepath.Join(dir, "agent"), "--log-level", "error", "--adopt", "none"))
	if err != nil {
		return err
	}
	defer agent.Stop()
	floor, err := measure.Start(exec.CommandContext(ctx, filepath.Join(dir, "floor")))
	if err != nil {
		return err
	}
	defer floor.Stop()
	// Past starting up, registering and the first beats.
	if err := wait(ctx, 10*time.Second); err != nil {
		return err
	}
	processes := []*measure.Process{orchestrator, agent, floor}
	used := make([]time.Duration, len(processes))
	for i, p := range processes {
		used[i] = p.CPUTime()
	}
	if err := wait(ctx, s.idle); err != nil {
		return err
	}
	for i, p := range processes {
		used[i] = p.CPUTime() - used[i]
	}
	for i, name := range []string{"orchestrator", "node agent"} {
		measure.Row("idle memory, "+name, float64(processes[i].ResidentBytes())/(1<<20), float64(floor.ResidentBytes())/(1<<20), "%.1f MiB")
		measure.Fact("idle CPU, "+name, fmt.Sprintf("%.3f %%", used[i].Seconds()/s.idle.Seconds()*100))
	}
	return nil
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
