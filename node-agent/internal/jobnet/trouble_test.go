package jobnet

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/driver/fake"
)

// troubled is an engine with troubles, as long as they are switched on.
type troubled struct {
	*fake.Driver
	refusesRemoval, hangsRemoval, hangsImages, hangsCreate, failsCreated atomic.Bool
}

func (d *troubled) Remove(ctx context.Context, id string) error {
	switch {
	case d.refusesRemoval.Load():
		return &driver.Error{Code: driver.CodeInternal, Op: "remove container", Err: errors.New("device or resource busy")}
	case d.hangsRemoval.Load():
		<-ctx.Done()
		return ctx.Err()
	}
	return d.Driver.Remove(ctx, id)
}

func (d *troubled) ImageExists(ctx context.Context, ref string) (bool, error) {
	if d.hangsImages.Load() {
		<-ctx.Done()
		return false, ctx.Err()
	}
	return d.Driver.ImageExists(ctx, ref)
}

// Create may make the container all the same.
func (d *troubled) Create(ctx context.Context, spec driver.ContainerSpec) (string, error) {
	if d.hangsCreate.Load() {
		<-ctx.Done()
		return "", ctx.Err()
	}
	id, err := d.Driver.Create(ctx, spec)
	if err == nil && d.failsCreated.Load() {
		return "", &driver.Error{Code: driver.CodeTimeout, Op: "create container", Err: errors.New("no answer")}
	}
	return id, err
}

func inTrouble(t *testing.T, test func(t *testing.T, d *troubled, b *bench, lend func() *Lease)) {
	t.Helper()
	root := freshNetwork(t)
	synctest.Test(t, func(t *testing.T) {
		d := &troubled{}
		b, lend := newFakePool(t, root, func(engine *fake.Driver) driver.Driver {
			d.Driver = engine
			return d
		})
		defer b.pool.Close()
		test(t, d, b, lend)
	})
}

func TestRemovalIsRefused(t *testing.T) {
	inTrouble(t, func(t *testing.T, d *troubled, b *bench, lend func() *Lease) {
		b.close(t, lend())
		lease := lend()
		id := lease.ID()
		d.refusesRemoval.Store(true)
		b.close(t, lease)
		time.Sleep(removePause)
		d.refusesRemoval.Store(false)
		time.Sleep(removePause)
		synctest.Wait()
		if _, there := b.holders(t)[id]; there {
			t.Error("a network whose removal failed stays for good")
		}
		b.wantHolders(t, 1, "with one for the next job")
	})
}

func TestRemovalHangs(t *testing.T) {
	inTrouble(t, func(t *testing.T, d *troubled, b *bench, lend func() *Lease) {
		b.close(t, lend())
		d.hangsRemoval.Store(true)
		unfit := lend()
		id := unfit.ID()
		unfit.Discard()
		if unfit.ID() != "" {
			t.Error("it is there after it was given up")
		}
		synctest.Wait()
		next := lend()
		if next.ID() == "" || next.ID() == id {
			t.Errorf("network %q is lent while another is being removed", next.ID())
		}
		d.hangsRemoval.Store(false)
		b.close(t, unfit)
		b.close(t, next)
		time.Sleep(removal + removePause)
		synctest.Wait()
		if _, there := b.holders(t)[id]; there {
			t.Error("what was given up stays for good")
		}
	})
}

func TestImageHangs(t *testing.T) {
	inTrouble(t, func(t *testing.T, d *troubled, b *bench, lend func() *Lease) {
		d.hangsImages.Store(true)
		b.close(t, lend())
		d.hangsImages.Store(false) // but not for the call that hangs already
		time.Sleep(imageTime + hesitation)
		synctest.Wait()
		b.wantHolders(t, 1, "after the engine has recovered")
	})
}

func TestCreateFailsAfterAll(t *testing.T) {
	inTrouble(t, func(t *testing.T, d *troubled, b *bench, lend func() *Lease) {
		d.failsCreated.Store(true)
		b.close(t, lend())
		b.wantHolders(t, 0, "when the engine says that it made none")
	})
}

// An attempt that is over costs those that come no network.
func TestLendToNobody(t *testing.T) {
	inTrouble(t, func(t *testing.T, _ *troubled, b *bench, lend func() *Lease) {
		b.close(t, lend())
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		none := b.pool.Lend(ctx)
		if none.ID() != "" {
			t.Error("a network was lent to an attempt that is over")
		}
		b.close(t, none)
		if lease := lend(); lease.ID() == "" {
			t.Error("the network that was ready is gone")
		}
	})
}

// A job waits for one holder that does not answer, not for each.
func TestHoldersAreSilent(t *testing.T) {
	inTrouble(t, func(t *testing.T, _ *troubled, b *bench, lend func() *Lease) {
		for _, l := range []*Lease{lend(), lend(), lend()} {
			b.close(t, l)
		}
		synctest.Wait()
		b.pool.mu.Lock()
		for _, n := range b.pool.idle {
			n.conn.Stdin = deaf{n}
		}
		ready := len(b.pool.idle)
		b.pool.mu.Unlock()
		before := time.Now()
		if lease := lend(); lease.ID() != "" {
			t.Error("a network was lent whose holder did not say so")
		}
		if waited := time.Since(before); ready != 3 || waited != answerTime {
			t.Errorf("a job waited %s for %d holders, want %s for 3", waited, ready, answerTime)
		}
	})
}

// deaf takes in nothing until its connection is closed.
type deaf struct{ n *network }

func (d deaf) Write([]byte) (int, error) {
	d.n.readers.Wait()
	return 0, errors.New("closed")
}

func (deaf) Close() error { return nil }

// Leaving does not wait for an engine that hangs, and the next run removes what stays.
func TestCloseWithAnEngineThatHangs(t *testing.T) {
	inTrouble(t, func(t *testing.T, d *troubled, b *bench, lend func() *Lease) {
		b.close(t, lend())
		d.hangsCreate.Store(true)
		one := lend() // so that another is to be made
		one.Ended(t.Context(), true)
		d.SetHanging(true)
		before := time.Now()
		b.pool.Close()
		if took := time.Since(before); took > closing {
			t.Errorf("it took %s, want %s at most", took, closing)
		}
		d.SetHanging(false)
		b.reapWith(t, 3, 0)
	})
}

// A pool that is to keep none removes what an earlier run lent.
func TestPoolOfNone(t *testing.T) {
	inTrouble(t, func(t *testing.T, _ *troubled, b *bench, lend func() *Lease) {
		b.close(t, lend())
		lend()
		b.pool.Close() // but not what is lent
		b.wantHolders(t, 1, "of a job that nobody ended")
		next := b.reapWith(t, 0, 0)
		for range 2 {
			if l := next.Lend(t.Context()); l.ID() != "" {
				t.Error("a network was lent")
			}
			synctest.Wait()
			b.wantHolders(t, 0, "when there are to be none")
		}
	})
}

// reapWith is the next run of the agent, which knows of no job.
func (b *bench) reapWith(t *testing.T, most, left int) *Pool {
	t.Helper()
	cfg := b.cfg
	cfg.Max = most
	next := New(cfg)
	t.Cleanup(next.Close)
	if err := next.Reap(t.Context(), func(string) bool { return false }); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	b.wantHolders(t, left, "after the next run of the agent has begun")
	return next
}
