package fake_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/driver/drivertest"
	"github.com/orchion/orchion/node-agent/internal/driver/drivertest/program"
	"github.com/orchion/orchion/node-agent/internal/driver/fake"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newFake(t *testing.T, listen bool) *fake.Driver {
	t.Helper()
	d := fake.New(fake.Options{
		Programs: map[string]fake.Program{
			program.Path: func(p *fake.Process) int { return program.Run(p) },
		},
		Listen: listen,
	})
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func TestConformance(t *testing.T) {
	d := newFake(t, true)
	drivertest.Run(t, drivertest.Target{Driver: d, Registry: func(_ *testing.T, name string, size int) (string, func()) {
		ref := "registry.test/" + name + ":1"
		d.AddRemoteImage(ref, fake.RemoteImage{SizeBytes: int64(size), Steps: 4, Step: time.Millisecond})
		return ref, func() {}
	}, Protected: func(_ *testing.T, name, username, password string) string {
		ref := "registry.test/" + name + ":1"
		d.AddRemoteImage(ref, fake.RemoteImage{Login: driver.Login{Registry: "registry.test", Username: username, Password: password}})
		return ref
	}})
}

func TestDurations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFake(t, false)
		d.AddImage("job", fake.Image{Entrypoint: []string{program.Path}})
		spec := driver.JobSpec("job")
		spec.Args = []string{"sleep", "3h", "exit", "5"}
		id, err := d.Create(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if err := d.Start(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		exit, err := d.Wait(t.Context(), id)
		if err != nil || exit.Code != 5 {
			t.Errorf("exit = %+v, %v", exit, err)
		}
		if got := exit.FinishedAt.Sub(begin); got != 3*time.Hour {
			t.Errorf("ran for %v, want 3h", got)
		}
	})
}

func TestStopWaitsForGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFake(t, false)
		d.AddImage("job", fake.Image{Entrypoint: []string{program.Path}})
		spec := driver.JobSpec("job")
		spec.Args = []string{"ignore-term", "wait"}
		id, err := d.Create(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Start(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		begin := time.Now()
		if err := d.Stop(t.Context(), id, 10*time.Second); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(begin); got != 10*time.Second {
			t.Errorf("Stop took %v, want 10s", got)
		}
		if exit, err := d.Wait(t.Context(), id); err != nil || exit.Code != 137 {
			t.Errorf("exit = %+v, %v", exit, err)
		}
	})
}

func TestPull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFake(t, false)
		d.AddRemoteImage("ok", fake.RemoteImage{SizeBytes: 100, Steps: 10, Step: time.Second})
		d.AddRemoteImage("bad", fake.RemoteImage{SizeBytes: 100, Steps: 10, Step: time.Second, Err: errors.New("connection reset")})
		begin := time.Now()
		var reports []driver.PullProgress
		err := d.EnsureImage(t.Context(), "ok", driver.Pull{}, func(p driver.PullProgress) { reports = append(reports, p) })
		if err != nil || len(reports) != 11 || time.Since(begin) != 10*time.Second {
			t.Errorf("%d reports in %v, %v", len(reports), time.Since(begin), err)
		}
		err = d.EnsureImage(t.Context(), "bad", driver.Pull{}, nil)
		if driver.CodeOf(err) != driver.CodeRegistryUnavailable || !strings.Contains(err.Error(), "pull image bad: connection reset") {
			t.Errorf("error = %v", err)
		}
	})
}

func TestEngineGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFake(t, false)
		d.AddImage("job", fake.Image{Entrypoint: []string{program.Path}})
		spec := driver.JobSpec("job")
		spec.Args = []string{"sleep", "1s", "exit", "6"}
		id, err := d.Create(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Start(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		d.SetDown(errors.New("engine restarts"))
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := d.Wait(t.Context(), id)
			var temporary interface{ Temporary() bool }
			if !errors.As(err, &temporary) || !temporary.Temporary() || !strings.Contains(err.Error(), "engine restarts") {
				t.Errorf("error = %v, want a temporary one", err)
			}
		})
		wg.Wait()
		<-time.After(2 * time.Second) // of the bubble's clock
		d.SetDown(nil)
		if exit, err := d.Wait(t.Context(), id); err != nil || exit.Code != 6 {
			t.Errorf("exit = %+v, %v: the container should have gone on", exit, err)
		}
	})
}
