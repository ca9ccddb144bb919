// Command jobs measures the way of a job through the orchestrator, from outside,
// and prints each figure beside a floor that it measures in the same run on the
// same machine:
//
//		go run ./shared/bench/jobs
//
//	  - jobs per second, durable, through submit, claim, start and complete, on 1,
//	    10 and 100 simulated nodes that run every job in no time. Floor: how many
//	    lifecycles the disk allows when each of the four steps waits for a sync of
//	    its own.
//	  - the time from submitting to a node's being told, when nothing else is
//	    done. Floor: one durable write of the disk, which is what both steps
//	    (submit, claim) take together when a node has room.
//	  - the time from submitting to the first instruction of a container on a real
//	    engine (DOCKER_HOST; left out without one), in turns with "docker run" of
//	    the same image, which is the floor.
//	  - the time from a machine's end until its jobs are free, beside the time that it
//	    may be silent, and from then to the first instruction of the container on
//	    another machine, beside "docker run".
//	  - how fast a job can print that prints without a pause, beside a bare container;
//	    how fast all of that is with the orchestrator, and what it does to memory
//	    and heartbeats.
//	  - containers per second when an array of jobs runs on a real Docker, beside
//	    the same containers as a replicated job of Docker Swarm on the same engine
//	    (where that is a Swarm, or with --swarm).
//	  - a page of the list of jobs, of many jobs. Floor: a page of few.
//
// It builds the programs, uses ports and folders of its own, talks to loopback
// only, and ends by itself (some minutes, most of them to submit the many jobs
// of the last part).
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/orchion/orchion/shared/bench/internal/measure"
)

// settings are the flags.
type settings struct {
	jobs, clients int
	starts        int
	containers    int
	swarm         bool
	flood         int64
	only          string
	history       int
	syncs         time.Duration
}

func main() {
	var s settings
	flag.IntVar(&s.jobs, "jobs", 20_000, "jobs to run for each number of nodes")
	flag.IntVar(&s.clients, "clients", 64, "concurrent clients")
	flag.IntVar(&s.starts, "starts", 40, "containers to start each way")
	flag.IntVar(&s.containers, "containers", 100, "containers to run beside Docker Swarm, at most 1000")
	flag.BoolVar(&s.swarm, "swarm", false, "make the Docker engine a Swarm while it is measured, unless it is one")
	flag.Int64Var(&s.flood, "flood", 100_000_000, "bytes that a job prints, from 1 MB to 10 GB")
	flag.StringVar(&s.only, "only", "", "measure this part alone: throughput, latency, starts, replace, logs, swarm or lists")
	flag.IntVar(&s.history, "history", 1_000_000, "jobs to list from")
	flag.DurationVar(&s.syncs, "syncs", 3*time.Second, "how long the disk is measured")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := s.check()
	if err == nil {
		err = run(ctx, s)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "jobs:", err)
		os.Exit(1)
	}
}

func (s settings) check() error {
	names := []string{""}
	for _, p := range parts() {
		names = append(names, p.name)
	}
	if !slices.Contains(names, s.only) {
		return fmt.Errorf("--only: %q is not one of %s", s.only, strings.Join(names[1:], ", "))
	}
	if s.containers < 1 || s.containers > 1000 {
		return fmt.Errorf("--containers: %d is not from 1 to 1000", s.containers)
	}
	if s.flood < 1e6 || s.flood > 10e9 {
		return fmt.Errorf("--flood: %d is not from 1,000,000 to 10,000,000,000", s.flood)
	}
	return nil
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
		"started":      "./shared/bench/jobs/started",
	})
	if err != nil {
		return err
	}
	measure.Header()
	for _, part := range parts() {
		if s.only != "" && s.only != part.name {
			continue
		}
		if err := part.measure(ctx, s, dir); err != nil {
			return err
		}
	}
	return nil
}

type part struct {
	name    string
	measure func(context.Context, settings, string) error
}

func parts() []part {
	return []part{
		{"throughput", measureThroughput}, {"latency", measureIdleLatency}, {"starts", measureStarts},
		{"replace", measureReplacement}, {"logs", measureLogs}, {"swarm", measureSwarm}, {"lists", measureLists},
	}
}

// percentile of times, which it sorts.
func percentile(times []time.Duration, p float64) time.Duration {
	if len(times) == 0 {
		return 0
	}
	slices.Sort(times)
	return times[min(len(times)-1, int(p*float64(len(times))))]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
