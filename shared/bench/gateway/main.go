// Command gateway measures what Orchion's gateway adds to a call of a model, and
// prints it beside other ways to the same engine, all measured in one run on one
// machine in rounds that alternate between them:
//
//		go run ./shared/bench/gateway
//
//	  - direct: the engine itself, a server in a process of its own that answers as
//	    an OpenAI-compatible engine does, with no model behind it.
//	  - nginx and haproxy as proxies in front of the engine (left out where they are
//	    not installed).
//	  - reverseproxy: Go's httputil.ReverseProxy in a process of its own.
//	  - orchion: the real orchestrator and the real node agent, as they are on one
//	    machine: the gateway asks the engine that the node agent has named.
//	  - tunnel: the same as for an engine elsewhere: gateway, tunnel, node agent,
//	    engine.
//
// Under loads of 1, 64 and 512 clients, each on a connection of its own: answers
// of 1 kB ("unary-1" and so on), streams of 100 tokens at once ("stream-64") and
// with 20 ms between two ("paced-512"). Then "memory": what 1,000 open streams
// occupy; "bulk": the tokens of paced streams beside a client that loads large
// answers; "stalled": beside clients that ask for large answers and read nothing,
// and what those occupy.
//
// CPU is that of all processes of a way, without the engine and the load
// generator; those are hand-made and cost little, but share the machine's cores
// with what is measured, so only ratios within one run mean anything. A token's
// delay is from the engine's write to the client's read.
//
// It is run in the repository's root, builds the programs, uses free ports and a
// folder of its own, talks to loopback only, and ends by itself (within some five
// minutes; --only and --ways make it shorter).
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// settings are the flags.
type settings struct {
	rounds                  int
	slice                   time.Duration
	orchestrator, nodeAgent string
	only, ways              string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) == 3 && os.Args[1] == engineCommand {
		fail(runEngine(ctx, os.Args[2]))
		return
	}
	if len(os.Args) == 4 && os.Args[1] == reverseProxyCommand {
		stop() // it ends by the first signal
		fail(runReverseProxy(os.Args[2], os.Args[3]))
		return
	}
	var s settings
	flag.IntVar(&s.rounds, "rounds", 3, "`number` of rounds")
	flag.DurationVar(&s.slice, "slice", time.Second, "`time` each way gets in a round for each load, and at least one answer for each client")
	flag.StringVar(&s.orchestrator, "orchestrator", "", "`file` of the orchestrator; built when not given")
	flag.StringVar(&s.nodeAgent, "node-agent", "", "`file` of the node agent; built when not given")
	flag.StringVar(&s.only, "only", "", "`loads` to measure, or their beginnings, with commas: unary, paced-64, memory; default: all")
	flag.StringVar(&s.ways, "ways", "", "`ways` to measure beside the direct one, with commas; default: all")
	flag.Parse()
	if err := s.check(); err != nil {
		fmt.Fprintln(os.Stderr, "bench/gateway:", err)
		flag.Usage()
		os.Exit(2)
	}
	fail(run(ctx, &s))
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/gateway:", err)
		os.Exit(1)
	}
}

// The loads that are measured in a manner of their own.
const memoryLoad, bulkLoad, stalledLoad = "memory", "bulk", "stalled"

func (s *settings) check() error {
	if s.rounds < 1 || s.slice <= 0 || flag.NArg() > 0 {
		return fmt.Errorf("--rounds and --slice must be positive, and there are no arguments")
	}
	var ways, names []string
	for _, st := range starters() {
		ways = append(ways, st.name)
	}
	for _, l := range loads() {
		names = append(names, l.name)
	}
	names = append(names, memoryLoad, bulkLoad, stalledLoad)
	for _, way := range listOf(s.ways) {
		if !slices.Contains(ways, way) {
			return fmt.Errorf("--ways: %q is none of %s", way, strings.Join(ways, ", "))
		}
	}
	for _, only := range listOf(s.only) {
		if !slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, only) }) {
			return fmt.Errorf("--only: %q begins none of %s", only, strings.Join(names, ", "))
		}
	}
	return nil
}

func listOf(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

func (s *settings) hasWay(name string) bool {
	return s.ways == "" || slices.Contains(listOf(s.ways), name)
}

func (s *settings) hasLoad(name string) bool {
	return s.only == "" || slices.ContainsFunc(listOf(s.only), func(only string) bool { return strings.HasPrefix(name, only) })
}

func run(ctx context.Context, s *settings) error {
	dir, err := os.MkdirTemp("", "orchion-bench-gateway-")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer os.RemoveAll(dir)
	ways, stop, err := startWays(ctx, s, dir)
	defer stop()
	if err != nil {
		return err
	}
	fmt.Printf("%d cores, %s; %d rounds of %s\n", runtime.NumCPU(), runtime.Version(), s.rounds, s.slice)
	for _, l := range loads() {
		if !s.hasLoad(l.name) {
			continue
		}
		if err := runLoad(ctx, s, &l, ways); err != nil {
			return err
		}
	}
	if s.hasLoad(memoryLoad) {
		growth := make([]int64, len(ways))
		for i, w := range ways {
			if growth[i], err = growthOfOpenStreams(ctx, w); err != nil {
				return fmt.Errorf("%s, %s: %w", w.name, memoryLoad, err)
			}
		}
		reportMemory(os.Stdout, ways, growth)
	}
	for _, name := range []string{bulkLoad, stalledLoad} {
		if !s.hasLoad(name) {
			continue
		}
		results := make([]disturbed, len(ways))
		for i, w := range ways {
			if results[i], err = beside(ctx, w, name == stalledLoad); err != nil {
				return fmt.Errorf("%s, %s: %w", w.name, name, err)
			}
		}
		reportDisturbed(os.Stdout, name == stalledLoad, ways, results)
	}
	return nil
}

// runLoad measures all ways under one load.
func runLoad(ctx context.Context, s *settings, l *load, ways []*way) error {
	results := make([]samples, len(ways))
	failures := make([]error, len(ways))
	for round := range s.rounds + 1 {
		slice := s.slice
		if round == 0 { // warms up, and is not counted
			slice /= 5
		}
		for i, w := range ways {
			if failures[i] != nil || round == 0 && l.want == wantPaced && l.clients == 1 {
				continue // the latter is warm after the streams at once
			}
			got, err := press(ctx, w, l, slice)
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err != nil:
				failures[i] = err
			case round > 0:
				results[i].add(got)
			}
		}
	}
	report(os.Stdout, l, ways, results, failures)
	return nil
}
