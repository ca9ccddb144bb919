//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/orchion/orchion/shared/testbed/ways"
)

// fault breaks something, holds it broken for a while, and mends it. The error
// says that it could not be mended: the programs are at fault.
type fault func(ctx context.Context, c *cluster, h *history, rng *rand.Rand) error

// faults are all of them, by name.
func faults() map[string]fault {
	return map[string]fault{
		"orchestrator-kill":   orchestratorKill,
		"orchestrator-stop":   orchestratorStop,
		"orchestrator-freeze": orchestratorFreeze,
		"disk-full":           diskFull,
		"agent-kill":          onMachine(agentKill),
		"agent-stop":          onMachine(agentStop),
		"agent-freeze":        onMachine(agentFreeze),
		"machine-power":       onMachine(machinePower),
		"machine-wipe":        onMachine(machineWipe),
		"container-kill":      onMachine(containerKill),
		"engine-restart":      onMachine(engineRestart),
		"engine-hang":         onMachine(engineHang),
		"partition":           onMachine(partition),
		"connection-reset":    onMachine(connectionReset),
	}
}

// faultNames are the names of all faults, in order.
func faultNames() []string { return slices.Sorted(maps.Keys(faults())) }

// schedule injects faults at random until ctx is done, at most two at a time,
// and returns when all is mended.
func schedule(ctx context.Context, c *cluster, h *history, names []string, seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 1))
	all := faults()
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex // guards failed
		failed  error
		running = make(chan struct{}, 2)
	)
	for ctx.Err() == nil {
		pause := time.Duration(200+rng.IntN(1200)) * time.Millisecond
		name := names[rng.IntN(len(names))]
		own := rand.New(rand.NewPCG(rng.Uint64(), 2))
		select {
		case <-ctx.Done():
			continue
		case <-time.After(pause):
		}
		running <- struct{}{}
		wg.Go(func() {
			defer func() { <-running }()
			h.injected(name)
			// What is broken is mended also when time is up.
			if err := all[name](context.WithoutCancel(ctx), c, h, own); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = errors.Join(failed, fmt.Errorf("fault %s: %w", name, err))
			}
		})
	}
	wg.Wait()
	return failed
}

// between is a random time.
func between(rng *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(rng.Int64N(int64(high-low)))
}

func orchestratorKill(ctx context.Context, c *cluster, _ *history, rng *rand.Rand) error {
	c.turn.Lock()
	defer c.turn.Unlock()
	c.orchestrator().Kill()
	time.Sleep(between(rng, 0, 2*time.Second))
	return c.restartOrchestrator(ctx)
}

func orchestratorStop(ctx context.Context, c *cluster, _ *history, _ *rand.Rand) error {
	c.turn.Lock()
	defer c.turn.Unlock()
	if err := c.orchestrator().Stop(patience); err != nil {
		return fmt.Errorf("orchestrator: %w", err)
	}
	return c.restartOrchestrator(ctx)
}

func orchestratorFreeze(_ context.Context, c *cluster, _ *history, rng *rand.Rand) error {
	c.turn.Lock()
	defer c.turn.Unlock()
	thaw := c.orchestrator().Freeze()
	defer thaw()
	time.Sleep(between(rng, time.Second, 2*leaseTTL))
	return nil
}

// diskFull fills the disk of the orchestrator's data directory, where that is
// one of its own (see ownDisk). Reads must go on.
func diskFull(ctx context.Context, c *cluster, h *history, rng *rand.Rand) error {
	if !c.ownDisk() {
		return nil
	}
	c.turn.Lock()
	defer c.turn.Unlock()
	path := filepath.Join(c.dataDir(), "filler")
	defer os.Remove(path)
	filler, err := os.Create(path)
	if err != nil {
		return err
	}
	defer filler.Close()
	chunk := make([]byte, 64<<10)
	for err = error(nil); err == nil; {
		_, err = filler.Write(chunk)
	}
	until := time.Now().Add(between(rng, time.Second, 4*time.Second))
	for time.Now().Before(until) {
		if err := c.call(ctx, "GET", "/api/jobs?pageSize=1", nil, nil); err != nil {
			h.violate(lostJob, "reading fails while the disk is full: %v", err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	return nil
}

// onMachine gives a fault a machine to itself.
func onMachine(f func(ctx context.Context, m *machine, h *history, rng *rand.Rand) error) fault {
	return func(ctx context.Context, c *cluster, h *history, rng *rand.Rand) error {
		m := c.machines[rng.IntN(len(c.machines))]
		m.turn.Lock()
		defer m.turn.Unlock()
		return f(ctx, m, h, rng)
	}
}

func agentKill(_ context.Context, m *machine, _ *history, rng *rand.Rand) error {
	m.agent.Kill()
	time.Sleep(between(rng, 0, 2*leaseTTL))
	return m.startAgent()
}

// agentStop lets the node leave. It stops its jobs, which run elsewhere then.
func agentStop(_ context.Context, m *machine, h *history, rng *rand.Rand) error {
	h.harm(m.engine.Running()...)
	if err := m.agent.Stop(patience); err != nil {
		return fmt.Errorf("node agent: %w", err)
	}
	time.Sleep(between(rng, 0, time.Second))
	return m.startAgent()
}

// agentFreeze stops the agent for longer than its leases last. Its containers
// go on: what they do then is not accepted.
func agentFreeze(_ context.Context, m *machine, _ *history, rng *rand.Rand) error {
	thaw := m.agent.Freeze()
	defer thaw()
	time.Sleep(between(rng, leaseTTL, 3*leaseTTL))
	return nil
}

func machinePower(_ context.Context, m *machine, h *history, rng *rand.Rand) error {
	m.agent.Kill()
	h.harm(m.engine.Running()...)
	m.engine.PowerCut()
	time.Sleep(between(rng, 0, 2*leaseTTL))
	return m.startAgent()
}

// machineWipe loses everything on the machine, and comes back at once.
func machineWipe(_ context.Context, m *machine, h *history, _ *rand.Rand) error {
	m.agent.Kill()
	h.harm(m.engine.Running()...)
	m.engine.Wipe()
	return m.startAgent()
}

func containerKill(_ context.Context, m *machine, h *history, rng *rand.Rand) error {
	if running := m.engine.Running(); len(running) > 0 {
		labels := running[rng.IntN(len(running))]
		h.harm(labels)
		m.engine.Kill(labels)
	}
	return nil
}

func engineRestart(_ context.Context, m *machine, _ *history, rng *rand.Rand) error {
	m.engine.Down()
	time.Sleep(between(rng, 0, 3*time.Second))
	return m.engine.Up()
}

func engineHang(_ context.Context, m *machine, _ *history, rng *rand.Rand) error {
	resume := m.engine.Hang()
	defer resume()
	time.Sleep(between(rng, time.Second, 2*leaseTTL))
	return nil
}

func partition(_ context.Context, m *machine, _ *history, rng *rand.Rand) error {
	directions := [][]ways.Direction{{ways.Up}, {ways.Down}, {ways.Up, ways.Down}}[rng.IntN(3)]
	release, err := m.way.Hold(directions...)
	if err != nil {
		return err
	}
	defer release()
	time.Sleep(between(rng, time.Second, 3*leaseTTL))
	return nil
}

// connectionReset breaks the connections of a machine, which dials again.
func connectionReset(_ context.Context, m *machine, _ *history, _ *rand.Rand) error {
	return m.way.Reset()
}
