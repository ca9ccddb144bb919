// Command controlplane measures the orchestrator as a whole process, from
// outside, and prints each figure beside a floor that it measures in the same
// run on the same machine:
//
//		go run ./shared/bench/controlplane
//
//	  - heartbeats per second, unary. Floor: gRPC health checks answered by the
//	    same process over the same connections.
//	  - memory per node with many simulated nodes registered, and with each of them
//	    connected.
//	  - heartbeats per second on those connections, in all and for each core that
//	    the orchestrator keeps busy with them.
//	  - memory with all of that and 100,000 jobs queued, at once and at rest.
//	  - memory for each of 10,000 idle HTTP connections, and how long a request takes
//	    beside them. Floor: without them.
//	  - memory and CPU of an idle orchestrator and an idle node agent. Floor: an
//	    idle Go program that serves HTTP.
//
// It builds the programs, uses ports and folders of its own, talks to loopback
// only, and ends by itself (within three minutes). Jobs have a benchmark of their own, shared/bench/jobs.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/orchion/orchion/shared/bench/internal/measure"
)

// settings are the flags.
type settings struct {
	nodes, clients int
	duration, idle time.Duration
}

func main() {
	var s settings
	flag.IntVar(&s.nodes, "nodes", 10_000, "simulated nodes")
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
	err = measure.Build(ctx, dir, map[string]string{
		"orchestrator": "./orchestrator/cmd/orchestrator",
		"node-agent":   "./node-agent/cmd/node-agent",
		"floor":        "./shared/bench/controlplane/floor",
	})
	if err != nil {
		return err
	}
	measure.Header()
	for _, part := range []func(context.Context, settings, string) error{measureNodes, measureConnected, measureHTTPConnections, measureIdle} {
		if err := part(ctx, s, dir); err != nil {
			return err
		}
	}
	return nil
}
