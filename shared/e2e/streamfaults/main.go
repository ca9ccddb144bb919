//go:build unix

// Command streamfaults disturbs answers of models at every phase and checks that a client
// gets a whole answer or an explicit error, never something that only looks whole:
//
//	go run ./shared/e2e/streamfaults --rounds 1000
//
// The orchestrator and two node agents are the real programs; each agent adopts an engine
// whose answers wait at a phase that the question names: before they begin, after the
// headers, in the middle of an event, before the last one and after it. There the engine, the
// agent or the orchestrator is killed, stopped or frozen, the connection between the two is
// reset, paused or cut off without a word, or the client leaves. Meanwhile other clients read
// streams nobody disturbs. Checked is:
//
//   - an answer is whole, or it is an error with a status and a message, or its beginning and
//     then an event with an error. Only where the status was out and no event can follow, and
//     where the orchestrator ended, the connection breaks, which no client takes for an end;
//   - an answer that has not begun comes from another machine, if one serves the model;
//   - what stands still for a moment disturbs nothing;
//   - a machine that is cut off is given up within 12 s;
//   - an engine whose client leaves is told within 2 s;
//   - nobody gets a piece of another's answer;
//   - the next question is answered;
//   - in the end neither program has more goroutines or open files than it began with.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/orchion/orchion/shared/testbed/program"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "streamfaults:", err)
		os.Exit(1)
	}
}

// settings say what a run is like.
type settings struct {
	seed    uint64
	rounds  int
	readers int // clients that nobody disturbs
	faults  []string
	bug     string
	direct  bool // the orchestrator may go past the node agents, being on their machine
	verbose bool
}

func command(ctx context.Context, args []string) error {
	if len(args) == 4 && args[0] == engineCommand {
		return runEngine(ctx, args[1], args[2], args[3])
	}
	var s settings
	var only string
	flags := flag.NewFlagSet("streamfaults", flag.ContinueOnError)
	flags.Uint64Var(&s.seed, "seed", uint64(time.Now().UnixNano()), "of the schedule")
	flags.IntVar(&s.rounds, "rounds", 100, "answers that are disturbed, one after the other")
	flags.IntVar(&s.readers, "readers", 4, "clients that read undisturbed streams meanwhile")
	flags.StringVar(&only, "only", "", "inject only these faults, separated by commas: "+strings.Join(faultNames(), ", "))
	flags.StringVar(&s.bug, "bug", "", "plant this bug (see shared/plantedbug) in the programs")
	flags.BoolVar(&s.direct, "direct", false, "let the orchestrator connect to the engines directly, as it does on one machine, and not through the node agents")
	flags.BoolVar(&s.verbose, "v", false, "print each round")
	if err := flags.Parse(args); err != nil {
		return err
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
	bin, err := os.MkdirTemp("", "orchion-streamfaults-bin-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(bin)
	if err := program.Build(ctx, bin, s.bug != ""); err != nil {
		return err
	}
	r, err := run(ctx, bin, s)
	fmt.Printf("seed %d: %v", s.seed, r)
	if err == nil && len(r.violations) > 0 {
		err = fmt.Errorf("%d promises were broken", len(r.violations))
	}
	return err
}

// report is what a run has seen.
type report struct {
	rounds     int
	outcomes   tally
	read       int // answers of the clients that nobody disturbed, and how many were whole
	readWhole  int
	violations []string
	leaks      string
}

func (r report) String() string {
	text := fmt.Sprintf("%d answers disturbed; of %d others %d whole; %s\n%v", r.rounds, r.read, r.readWhole, r.leaks, r.outcomes)
	for _, v := range r.violations {
		text += "  BROKEN: " + v + "\n"
	}
	return text
}

// maxViolations ends a run that has seen enough.
const maxViolations = 10

// run disturbs answers. The logs of a bad run are kept, and their folder is in the last
// violation.
func run(ctx context.Context, bin string, s settings) (r report, err error) {
	r.outcomes = tally{}
	dir, err := os.MkdirTemp("", "orchion-streamfaults-")
	if err != nil {
		return r, err
	}
	c, err := startCluster(ctx, bin, dir, s, 2)
	if c != nil {
		defer c.stop()
	}
	if err != nil {
		return r, fmt.Errorf("%w; the logs are in %s", err, dir)
	}
	before := c.counts()
	readers := startReaders(ctx, c, s.readers)
	rng := rand.New(rand.NewPCG(s.seed, 0))
	for r.rounds < s.rounds && len(r.violations) < maxViolations && err == nil && ctx.Err() == nil {
		t := draw(rng, s.faults)
		var violation string
		var got result
		begun := time.Now()
		violation, got, err = c.attempt(ctx, t, c.machines[rng.IntN(len(c.machines))])
		r.rounds++
		r.outcomes.add(t.fault, got.outcome)
		if violation != "" {
			r.violations = append(r.violations, fmt.Sprintf("round %d, %v: %s", r.rounds, t, violation))
		}
		if s.verbose {
			fmt.Printf("%d %v: %v; round %v %s\n", r.rounds, t, got, time.Since(begun).Round(time.Millisecond), violation)
		}
	}
	var others []string
	r.read, r.readWhole, others = readers()
	r.violations = append(r.violations, others...)
	if err == nil && ctx.Err() == nil {
		var leak string
		r.leaks, leak = c.leaks(ctx, before)
		if leak != "" {
			r.violations = append(r.violations, leak)
		}
	}
	if len(r.violations) > 0 || err != nil {
		r.violations = append(r.violations, "the logs are in "+dir)
		return r, errors.Join(err, ctx.Err())
	}
	return r, errors.Join(os.RemoveAll(dir), ctx.Err())
}

// startReaders has clients read streams until the answer is called, which tells how many
// there were, how many of them whole, and what was wrong.
func startReaders(ctx context.Context, c *cluster, n int) (stop func() (read, whole int, violations []string)) {
	reading, cancel := context.WithCancel(ctx)
	var mu sync.Mutex
	var wg sync.WaitGroup
	var count, good int
	var bad []string
	for range n {
		wg.Go(func() {
			for reading.Err() == nil {
				r := c.ask(ctx, c.question(never), streamed, "")
				mu.Lock()
				count++
				switch r.outcome {
				case whole:
					good++
				case wrong:
					bad = append(bad, fmt.Sprintf("a client that nobody disturbed got an answer that was %v", r))
				default:
				}
				mu.Unlock()
				select { // so that they do not keep the machine busy
				case <-reading.Done():
				case <-time.After(20 * time.Millisecond):
				}
			}
		})
	}
	return func() (int, int, []string) {
		cancel()
		wg.Wait()
		return count, good, bad
	}
}
