// Command gateway measures what Orchion's gateway adds to a call of a model, and
// prints it beside other ways to the same engine, all measured in one run on one
// machine in rounds that alternate between them:
//
//		go run ./shared/bench/gateway
//
//	  - direct: the engine itself, a Go server that answers as an OpenAI-compatible
//	    engine does, with no model behind it.
//	  - nginx: nginx as a proxy in front of the engine (left out where there is no
//	    nginx).
//	  - reverseproxy: Go's httputil.ReverseProxy in a process of its own.
//	  - orchion: the real orchestrator and the real node agent, so the whole way:
//	    gateway, tunnel, node agent, engine.
//
// Each is asked for plain answers of 1 kB and for streams, by one client and by
// many. The engine's work costs next to nothing, so the figures are those of
// transport alone; the load generator shares the machine's cores with all of
// them, so only ratios within one run mean anything.
//
// It builds the programs, uses free ports and a folder of its own, talks to
// loopback only, and ends by itself (within two minutes by default).
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// settings are the flags.
type settings struct {
	clients, rounds         int
	slice                   time.Duration
	orchestrator, nodeAgent string
	nginx                   string
}

func main() {
	if len(os.Args) == 4 && os.Args[1] == reverseProxyCommand {
		fail(runReverseProxy(os.Args[2], os.Args[3]))
		return
	}
	var s settings
	flag.IntVar(&s.clients, "clients", 64, "`number` of clients at once, beside the runs with one")
	flag.IntVar(&s.rounds, "rounds", 3, "`number` of rounds")
	flag.DurationVar(&s.slice, "slice", 1500*time.Millisecond, "`time` each way gets in a round for each kind of load")
	flag.StringVar(&s.orchestrator, "orchestrator", "", "`file` of the orchestrator; built when not given")
	flag.StringVar(&s.nodeAgent, "node-agent", "", "`file` of the node agent; built when not given")
	flag.StringVar(&s.nginx, "nginx", "", "`file` of nginx; looked for when not given")
	flag.Parse()
	if s.clients < 1 || s.rounds < 1 || s.slice <= 0 || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, s)
	stop()
	fail(err)
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/gateway:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings) error {
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
	loads := []load{
		{name: "1 kB answer, 1 client", clients: 1},
		{name: fmt.Sprintf("1 kB answer, %d clients", s.clients), clients: s.clients},
		{name: fmt.Sprintf("stream of %d tokens, 1 client", streamTokens), clients: 1, stream: true},
		{name: fmt.Sprintf("stream of %d tokens, %d clients", streamTokens, s.clients), clients: s.clients, stream: true},
	}
	fmt.Printf("%d cores, %s; %d rounds of %s\n", runtime.NumCPU(), runtime.Version(), s.rounds, s.slice)
	for _, l := range loads {
		results := make([]samples, len(ways))
		for round := range s.rounds + 1 {
			for i, w := range ways {
				slice := s.slice
				if round == 0 { // warms up, and is not counted
					slice /= 5
				}
				got, err := measure(ctx, w, l, slice)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", w.name, l.name, err)
				}
				if round > 0 {
					results[i].add(got)
				}
			}
		}
		report(os.Stdout, l, ways, results)
	}
	return nil
}
