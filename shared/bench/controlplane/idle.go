package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// measureIdle watches an orchestrator with one node that have nothing to do.
func measureIdle(ctx context.Context, s settings, dir string) error {
	orchestrator, err := startOrchestrator(ctx, dir, "idle")
	if err != nil {
		return err
	}
	defer orchestrator.stop()
	agent := &process{cmd: exec.CommandContext(ctx, filepath.Join(dir, "node-agent"),
		"--orchestrator", orchestrator.grpc, "--data-dir", filepath.Join(dir, "agent"), "--log-level", "error", "--adopt", "none")}
	agent.cmd.Stderr = os.Stderr
	floor := &process{cmd: exec.CommandContext(ctx, filepath.Join(dir, "floor"))}
	if err := agent.cmd.Start(); err != nil {
		return err
	}
	defer agent.stop()
	if err := floor.cmd.Start(); err != nil {
		return err
	}
	defer floor.stop()
	// Past starting up, registering and the first beats.
	if err := wait(ctx, 10*time.Second); err != nil {
		return err
	}
	processes := []*process{orchestrator, agent, floor}
	used := make([]time.Duration, len(processes))
	for i, p := range processes {
		used[i] = p.cpuTime()
	}
	if err := wait(ctx, s.idle); err != nil {
		return err
	}
	for i, p := range processes {
		used[i] = p.cpuTime() - used[i]
	}
	for i, name := range []string{"orchestrator", "node agent"} {
		row("idle memory, "+name, float64(processes[i].residentBytes())/(1<<20), float64(floor.residentBytes())/(1<<20), "%.1f MiB")
		fact("idle CPU, "+name, fmt.Sprintf("%.2f %%", used[i].Seconds()/s.idle.Seconds()*100))
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
