package jobnet

import (
	"io"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/driver/fake"
	"github.com/orchion/orchion/node-agent/internal/selfimage"
)

// newFakePool is a pool of three on a fake engine, whose holders are real. Its calls go
// through what wrap makes of it; nil: as they are.
func newFakePool(t *testing.T, root string, wrap func(*fake.Driver) driver.Driver) (*bench, func() *Lease) {
	t.Helper()
	engine := fake.New(fake.Options{
		Info: driver.Info{OS: "linux", Arch: runtime.GOARCH},
		Programs: map[string]fake.Program{selfimage.ProgramPath: func(p *fake.Process) int {
			if err := (&holder{root: root, in: p.Stdin(), out: p.Stdout()}).serve(p.Context()); err != nil {
				_, _ = io.WriteString(p.Stderr(), err.Error())
				return 1
			}
			return 0
		}},
	})
	var d driver.Driver = engine
	if wrap != nil {
		d = wrap(engine)
	}
	b := &bench{d: d, cfg: Config{Driver: d, Max: 3, NodeID: "n"}}
	b.pool = New(b.cfg)
	t.Cleanup(func() { d.Close() })
	return b, func() *Lease {
		l := b.pool.Lend(t.Context())
		synctest.Wait()
		return l
	}
}

func TestPoolFollowsTheDemand(t *testing.T) {
	root := freshNetwork(t)
	synctest.Test(t, func(t *testing.T) {
		b, lend := newFakePool(t, root, nil)
		synctest.Wait()
		b.wantHolders(t, 0, "before any job")
		first := lend()
		if first.ID() != "" {
			t.Error("a job was to wait for its network")
		}
		b.wantHolders(t, 1, "after one job")
		leases := []*Lease{lend(), lend(), lend(), lend()}
		b.wantHolders(t, 3, "with five jobs at once")
		for _, l := range append(leases, first) {
			l.Ended(t.Context(), true)
			b.close(t, l)
		}
		time.Sleep(period - time.Second)
		synctest.Wait()
		b.wantHolders(t, 3, "for a while")
		time.Sleep(period)
		synctest.Wait()
		one := lend()
		if one.ID() == "" {
			t.Error("nothing is ready although five jobs ran minutes ago")
		}
		one.Ended(t.Context(), true)
		b.close(t, one)
		time.Sleep(period)
		synctest.Wait()
		b.wantHolders(t, 1, "when there was one job at once")
		time.Sleep(period)
		synctest.Wait()
		b.wantHolders(t, 0, "when there was none for long")
		b.pool.Close()
	})
}

func TestPoolIsClosed(t *testing.T) {
	root := freshNetwork(t)
	synctest.Test(t, func(t *testing.T) {
		b, lend := newFakePool(t, root, nil)
		lend()
		lent, idle := lend(), lend()
		idle.Ended(t.Context(), true)
		b.pool.Close()
		holders := b.holders(t)
		if len(holders) != 1 || holders[lent.ID()] != driver.StateRunning {
			t.Errorf("left: %v, want the one that is lent", holders)
		}
		lent.Ended(t.Context(), true)
		b.close(t, lent)
		b.wantHolders(t, 0, "after the last job")
	})
}

// A holder that ends costs nobody more than a slower start.
func TestHolderIsKilled(t *testing.T) {
	root := freshNetwork(t)
	synctest.Test(t, func(t *testing.T) {
		b, lend := newFakePool(t, root, nil)
		defer b.pool.Close()
		b.close(t, lend())
		killed := b.holders(t)
		for id := range killed {
			if err := b.d.Kill(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		another := lend() // if it was made in time
		if _, ended := killed[another.ID()]; ended {
			t.Error("the network of a holder that has ended was lent")
		}
		b.close(t, another)
		synctest.Wait()
		with := lend()
		if with.ID() == "" {
			t.Error("no other network was made")
		}
		b.close(t, with)
	})
}

func TestNetworkCannotBeMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, lend := newFakePool(t, t.TempDir()+"/", nil) // the holder finds no network there
		defer b.pool.Close()
		for range 3 {
			l := lend()
			if l.ID() != "" {
				t.Error("it was lent")
			}
			b.close(t, l)
		}
		b.wantHolders(t, 0, "when none can be made")
	})
}

func (b *bench) wantHolders(t *testing.T, want int, when string) {
	t.Helper()
	if got := len(b.holders(t)); got != want {
		t.Errorf("%s: %d networks, want %d", when, got, want)
	}
}
