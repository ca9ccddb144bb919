// Command controlplane measures the orchestrator as a whole process, from
// outside, and prints each figure beside a floor that it measures in the same
// run on the same machine:
//
//		go run ./shared/bench/controlplane
//
//	  - jobs per second, durable, through submit, claim, start and complete:
//	    REST clients submit, a simulated node runs every job at once. Floor: how
//	    many lifecycles the disk allows when each of the four steps waits for a
//	    sync of its own.
//	  - heartbeats per second, unary. Floor: gRPC health checks answered by the
//	    same process over the same connections.
//	  - memory per node with many simulated nodes registered.
//	  - memory and CPU of an idle orchestrator and an idle node agent. Floor: an
//	    idle Go program that serves HTTP.
//
// It builds the programs, uses ports and folders of its own, talks to loopback
// only, and ends by itself (about a minute).
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"time"
)

// settings are the flags.
type settings struct {
	nodes, jobs, clients int
	duration, idle       time.Duration
}

func main() {
	var s settings
	flag.IntVar(&s.nodes, "nodes", 10_000, "simulated nodes")
	flag.IntVar(&s.jobs, "jobs", 10_000, "jobs to run")
	flag.IntVar(&s.clients, "clients", 64, "concurrent clients")
	flag.DurationVar(&s.duration, "duration", 5*time.Second, "how long each rate is measured")
	flag.DurationVar(&s.idle, "idle", 15*time.Second, "how long idleness is watched")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, s)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "controlplane:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings) error {
	dir, err := os.MkdirTemp("", "orchion-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for name, pkg := range map[string]string{
		"orchestrator": "./orchestrator/cmd/orchestrator",
		"node-agent":   "./node-agent/cmd/node-agent",
		"floor":        "./shared/bench/controlplane/floor",
	} {
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, name), pkg)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("run this from the repository's root; building %s: %w: %s", pkg, err, out)
		}
	}
	fmt.Printf("%s/%s, %d processors, %s\n\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
	fmt.Printf("%-46s %14s %14s %8s\n", "", "measured", "floor", "ratio")

	for _, measure := range []func(context.Context, settings, string) error{measureJobs, measureNodes, measureIdle} {
		if err := measure(ctx, s, dir); err != nil {
			return err
		}
	}
	return nil
}

// row prints a figure beside its floor.
func row(what string, measured, floor float64, format string) {
	fmt.Printf("%-46s %14s %14s %8.3f\n", what, fmt.Sprintf(format, measured), fmt.Sprintf(format, floor), measured/floor)
}

// fact prints a figure that has no floor.
func fact(what, value string) { fmt.Printf("%-46s %14s\n", what, value) }
