//go:build unix

package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/orchion/orchion/shared/plantedbug"
	"github.com/orchion/orchion/shared/testbed/program"
)

// TestMain runs the tests in a network of their own where there can be one.
func TestMain(m *testing.M) {
	if err := enterNetwork(); err != nil {
		fmt.Fprintf(os.Stderr, "proxies stand for the network: %v\n", err)
	}
	os.Exit(m.Run())
}

// programs builds the programs under test.
func programs(t *testing.T, bugs bool) string {
	t.Helper()
	bin, err := os.MkdirTemp("", "orchion-faults-bin-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(bin) })
	if err := program.Build(t.Context(), bin, bugs); err != nil {
		t.Fatal(err)
	}
	return bin
}

// TestNoPromiseIsBroken is the short run; go run ./shared/e2e/faults --help
// tells of long ones.
func TestNoPromiseIsBroken(t *testing.T) {
	s := settings{seed: uint64(time.Now().UnixNano()), duration: 45 * time.Second, machines: 4, clients: 32, faults: faultNames()}
	r, err := run(t.Context(), programs(t, false), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("seed %d: %v", s.seed, r)
	if len(r.violations) > 0 {
		t.Errorf("promises were broken; the same schedule again: go run ./shared/e2e/faults --seed %d --duration %v", s.seed, s.duration)
	}
	if r.jobs < 100 || r.lost == 0 {
		t.Errorf("%d jobs and %d lost attempts are too few to say anything", r.jobs, r.lost)
	}
}

// planted says what finds a bug.
type planted struct {
	invariants []string // one of them is broken
	faults     []string // that bring it out
	long       bool     // with jobs of some seconds
}

func bugs() map[string]planted {
	return map[string]planted{
		plantedbug.EarlyAcknowledgement: {[]string{lostJob}, []string{"orchestrator-kill"}, false},
		plantedbug.ReusedNumber:         {[]string{twoLeases}, []string{"agent-kill", "machine-wipe"}, false},
		plantedbug.NoFence:              {[]string{wrongEnd, secondEnd}, []string{"partition"}, true},
		plantedbug.RunsAgain:            {[]string{twoLeases}, []string{"machine-wipe"}, false},
		plantedbug.SharesNetworks:       {[]string{sharedNetwork}, []string{"agent-kill"}, true},
		plantedbug.LeavesContainers:     {[]string{leftContainers}, []string{"container-kill"}, false},
		plantedbug.StaleReads:           {[]string{oneOrder}, []string{"container-kill"}, false},
		plantedbug.SkipsLines:           {[]string{brokenLog}, []string{"container-kill"}, false},
	}
}

// Every bug is tried.
func TestEveryBugIsTried(t *testing.T) {
	for _, bug := range plantedbug.All() {
		if _, tried := bugs()[bug]; !tried {
			t.Errorf("nothing tries the bug %s", bug)
		}
	}
}

// TestPlantedBugsAreFound breaks each promise in the programs themselves: a
// checker that stays silent then checks nothing.
func TestPlantedBugsAreFound(t *testing.T) {
	bin := programs(t, true)
	for bug, want := range bugs() {
		t.Run(bug, func(t *testing.T) {
			t.Parallel() // most of the time is spent waiting
			found := func(r report) bool {
				return slices.ContainsFunc(want.invariants, func(invariant string) bool {
					return slices.ContainsFunc(r.violations, func(v string) bool { return strings.HasPrefix(v, invariant) })
				})
			}
			// Chance has a part in it, so there is more than one try.
			var r report
			for seed := range uint64(3) {
				s := settings{seed: seed, duration: 12 * time.Second, machines: 3, clients: 24, faults: want.faults, bug: bug, long: want.long}
				var err error
				if r, err = runQuickly(t.Context(), bin, s); err != nil {
					t.Fatal(err)
				}
				if found(r) {
					return
				}
			}
			t.Errorf("the bug %s was not found, want one of %q broken: %v", bug, want.invariants, r)
		})
	}
}

// runQuickly is run for programs that are known to be broken: nothing need
// settle for long, and no logs are kept.
func runQuickly(ctx context.Context, bin string, s settings) (report, error) {
	s.settle = 12 * time.Second
	r, err := run(ctx, bin, s)
	if err == nil {
		err = os.RemoveAll(r.dir)
	}
	return r, err
}
