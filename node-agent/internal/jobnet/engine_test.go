package jobnet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/driver/docker"
	"github.com/orchion/orchion/node-agent/internal/selfimage"
)

const testLabel = driver.LabelPrefix + "test"

// bench is a pool on a real engine.
type bench struct {
	d    driver.Driver
	cfg  Config
	pool *Pool
}

// engines runs a test with a pool of two on each real engine that the environment offers.
func engines(t *testing.T, test func(t *testing.T, b *bench)) {
	t.Helper()
	for name, variable := range map[string]string{"docker": "ORCHION_TEST_DOCKER_HOST", "podman": "ORCHION_TEST_PODMAN_HOST"} {
		t.Run(name, func(t *testing.T) {
			endpoint := os.Getenv(variable)
			if endpoint == "" {
				t.Skipf("needs a real engine: set %s to its endpoint, such as unix:///var/run/docker.sock", variable)
			}
			d, err := docker.Open(t.Context(), endpoint)
			if err != nil {
				t.Fatal(err)
			}
			b := &bench{d: d, cfg: Config{Driver: d, Max: 2, NodeID: "jobnet-test-" + strings.ReplaceAll(t.Name(), "/", "-")}}
			b.pool = New(b.cfg)
			t.Cleanup(func() { b.cleanUp(t) })
			test(t, b)
		})
	}
}

func (b *bench) cleanUp(t *testing.T) {
	ctx := context.WithoutCancel(t.Context())
	b.pool.Close()
	for _, label := range []string{testLabel, labelNode} {
		left, err := b.d.List(ctx, map[string]string{label: b.cfg.NodeID})
		if err != nil {
			t.Error(err)
		}
		for _, c := range left {
			if err := b.d.Remove(ctx, c.ID); err != nil {
				t.Error(err)
			}
		}
	}
	// The image is made of this very test program: the next build has another.
	if ref := b.pool.image.Ref(); ref != "" {
		if err := b.d.RemoveImage(ctx, ref); err != nil {
			t.Error(err)
		}
	}
	b.d.Close()
}

// eventually waits for what an engine is to bring about.
func eventually(t *testing.T, what string, so func() error) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		err := so()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// lend waits for a network: the pool makes the first when somebody has asked.
func (b *bench) lend(t *testing.T) *Lease {
	t.Helper()
	var lease *Lease
	eventually(t, "a network is lent", func() error {
		lease = b.pool.Lend(t.Context())
		if lease.ID() != "" {
			return nil
		}
		return errors.Join(errors.New("none is ready"), lease.Close(t.Context()))
	})
	return lease
}

// start starts a container as a job's on a network.
func (b *bench) start(t *testing.T, network, what string) string {
	t.Helper()
	spec := driver.JobSpec(b.pool.image.Ref())
	spec.Command = []string{selfimage.ProgramPath, "test-job", what}
	spec.Labels = map[string]string{testLabel: b.cfg.NodeID}
	spec.Network = driver.NetworkOf(network)
	id, err := b.d.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.d.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	return id
}

func (b *bench) run(t *testing.T, network, what string) {
	t.Helper()
	id := b.start(t, network, what)
	if exit, err := b.d.Wait(t.Context(), id); err != nil || exit.Code != 0 {
		t.Fatalf("job %s: %+v, %v", what, exit, err)
	}
	if what == "nothing" {
		return // as a job's that is not acknowledged yet
	}
	if err := b.d.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) close(t *testing.T, l *Lease) {
	t.Helper()
	if err := l.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// holders are the containers of networks, by their ids.
func (b *bench) holders(t *testing.T) map[string]driver.State {
	t.Helper()
	found, err := b.d.List(t.Context(), map[string]string{labelNode: b.cfg.NodeID})
	if err != nil {
		t.Fatal(err)
	}
	states := map[string]driver.State{}
	for _, c := range found {
		states[c.ID] = c.State
	}
	return states
}

// A network goes from job to job as long as nobody has left anything in it, or has sent
// anything outside that may be answered.
func TestNetworkIsLentAgain(t *testing.T) {
	engines(t, func(t *testing.T, b *bench) {
		again := ""
		for _, tt := range []struct {
			what string
			ok   bool // it goes to the next job
		}{
			{"nothing", true}, {"whisper", true}, {"write", false}, {"chmod", false}, {"talk", false},
			{"send", false}, {"call", false}, {"resolve", false},
		} {
			if tt.what == "whisper" && strings.HasSuffix(t.Name(), "/podman") {
				continue // where the kernel looks for IPv6 neighbours as well, in the first seconds
			}
			lease := b.lend(t)
			id := lease.ID()
			if again != "" && id != again {
				t.Errorf("network %s was lent, not %s, which was ready", id, again)
			}
			b.run(t, id, tt.what)
			lease.Ended(t.Context(), true)
			if again = ""; tt.ok {
				again = id
			}
			if back := lease.ID() == ""; back != tt.ok {
				t.Errorf("after job %s the network was taken back: %t, want %t", tt.what, back, tt.ok)
			}
			b.close(t, lease)
		}
		volume := b.lend(t)
		volume.Ended(t.Context(), false)
		if volume.ID() == "" {
			t.Error("a network was taken back that was to go to nobody")
		}
		b.close(t, volume)
	})
}

// No two jobs have one network, and there are no more than allowed.
func TestOneJobForEachNetwork(t *testing.T) {
	engines(t, func(t *testing.T, b *bench) {
		one, two := b.lend(t), b.lend(t)
		if one.ID() == two.ID() {
			t.Errorf("%s was lent twice", one.ID())
		}
		b.start(t, one.ID(), "wait")
		none := b.pool.Lend(t.Context())
		if none.ID() != "" {
			t.Error("a third network was lent")
		}
		b.close(t, none)
		if n := len(b.holders(t)); n != 2 {
			t.Errorf("%d networks", n)
		}
	})
}

// When the agent is gone the networks of jobs stay and the others end; its next run removes
// those that no job has.
func TestAgentIsKilled(t *testing.T) {
	engines(t, func(t *testing.T, b *bench) {
		lent, idle := b.lend(t), b.lend(t)
		idle.Ended(t.Context(), true)
		b.start(t, lent.ID(), "wait")
		b.pool.mu.Lock()
		id := b.pool.idle[0].id
		b.pool.idle[0].close() // as the kernel does when a process ends
		b.pool.mu.Unlock()
		lent.network.close()
		eventually(t, "the idle network ends", func() error {
			if state := b.holders(t)[id]; state == driver.StateRunning {
				return fmt.Errorf("it is %s", state)
			}
			return nil
		})
		if state := b.holders(t)[lent.ID()]; state != driver.StateRunning {
			t.Errorf("the network of a job that runs is %s", state)
		}

		next := New(b.cfg)
		defer next.Close()
		err := next.Reap(t.Context(), func(id string) bool { return id == lent.ID() })
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "what nobody has is removed", func() error {
			holders := b.holders(t)
			if len(holders) != 1 || holders[lent.ID()] != driver.StateRunning {
				return fmt.Errorf("there are %v", holders)
			}
			return nil
		})
		taken := next.TakeOver(lent.ID())
		jobs, err := b.d.List(t.Context(), map[string]string{testLabel: b.cfg.NodeID})
		if err != nil || len(jobs) != 1 {
			t.Fatalf("%v, %v", jobs, err)
		}
		if err := b.d.Remove(t.Context(), jobs[0].ID); err != nil {
			t.Fatal(err)
		}
		taken.Ended(t.Context(), true)
		b.close(t, taken)
		if holders := b.holders(t); len(holders) != 0 {
			t.Errorf("left: %v", holders)
		}
	})
}
