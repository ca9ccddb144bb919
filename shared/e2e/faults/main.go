//go:build unix

// Command faults breaks a running Orchion at random and checks that no promise
// about jobs is broken:
//
//	go run ./shared/e2e/faults --duration 10m --seed 7
//
// The orchestrator and the node agents are the real programs. Each agent has a
// container engine that is a stub (shared/testbed/enginestub), so that thousands
// of containers run and all their starts and ends are known, and a network of its
// own between it and the orchestrator: the kernel's packet filter in a network
// namespace (Linux, as root, with iptables) or a proxy. Clients submit jobs
// that print lines, fail, are tried again and cancelled, while these are killed,
// stopped, frozen, cut off, wiped and filled up. Then all is mended, and checked:
//
//   - every acknowledged job ends, and none is lost;
//   - a job ends once, and what has ended never changes;
//   - no attempt of a job (its number is the fencing epoch) is ever started
//     twice, anywhere;
//   - a job that succeeded has a container that ended by itself with 0, as its
//     last attempt;
//   - no container is left on any engine;
//   - the log of what succeeded is complete and in order.
//
// The same seed gives the same schedule, but not the same run: the programs have
// a will of their own. The first violation is reason enough to look into the
// logs, whose folder is printed and kept.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/orchion/orchion/shared/testbed/program"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string) error {
	var s settings
	var only string
	flags := flag.NewFlagSet("faults", flag.ContinueOnError)
	flags.Uint64Var(&s.seed, "seed", uint64(time.Now().UnixNano()), "of the schedule")
	flags.DurationVar(&s.duration, "duration", time.Minute, "how long to break things, in each round")
	flags.IntVar(&s.machines, "machines", 4, "node agents")
	flags.IntVar(&s.clients, "clients", 32, "clients that submit jobs, one after the other")
	flags.Int64Var(&s.jobs, "jobs", 0, "submit at most so many jobs in each round; 0: as many as time allows")
	rounds := flags.Int("rounds", 1, "rounds, each with an empty data directory and a seed of its own")
	flags.BoolVar(&s.long, "long", false, "every job takes some seconds, and more when it is tried again, so that more of them are hit while they run")
	flags.StringVar(&only, "only", "", "inject only these faults, separated by commas: "+strings.Join(faultNames(), ", "))
	network := flags.String("network", networkAuto, networkFilter+": the kernel's packet filter in a network namespace of its own (Linux, root, iptables); "+networkProxies+"; or "+networkAuto+": the one there can be")
	flags.StringVar(&s.bug, "bug", "", "plant this bug (see shared/plantedbug) in the programs")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch *network {
	case networkAuto, networkFilter:
		if err := enterNetwork(); err != nil && *network == networkFilter {
			return err
		}
	case networkProxies:
	default:
		return fmt.Errorf("--network: %q is not one of %s, %s, %s", *network, networkAuto, networkFilter, networkProxies)
	}
	s.faults = faultNames()
	if only != "" {
		s.faults = strings.Split(only, ",")
		for _, name := range s.faults {
			if !slices.Contains(faultNames(), name) {
				return fmt.Errorf("--only: %q is not one of %s", name, strings.Join(faultNames(), ", "))
			}
		}
	}
	bin, err := os.MkdirTemp("", "orchion-faults-bin-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(bin)
	if err := program.Build(ctx, bin, s.bug != ""); err != nil {
		return err
	}
	for round := range *rounds {
		r, err := run(ctx, bin, s)
		fmt.Printf("round %d, seed %d: %v\n", round+1, s.seed, r)
		if err != nil {
			return err
		}
		if len(r.violations) > 0 {
			return fmt.Errorf("%d promises were broken", len(r.violations))
		}
		s.seed++
	}
	return nil
}

// settings say what a run is like.
type settings struct {
	seed              uint64
	duration          time.Duration
	machines, clients int
	jobs              int64
	faults            []string
	bug               string
	long              bool
	// settle is how long everything may take to end once nothing is broken any
	// more. Default settleTime.
	settle time.Duration
}
