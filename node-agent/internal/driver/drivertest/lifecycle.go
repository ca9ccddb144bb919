package drivertest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/driver/drivertest/program"
)

func (s *suite) testInfo(t *testing.T) {
	if err := s.Driver.Ping(testContext(t)); err != nil {
		t.Errorf("Ping: %v", err)
	}
	info, err := s.Driver.Info(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if info.Name != driver.NameDocker && info.Name != driver.NamePodman {
		t.Errorf("name = %q", info.Name)
	}
	if info.Version == "" || info.Endpoint == "" || info.OS != "linux" || info.Arch == "" {
		t.Errorf("incomplete: %+v", info)
	}
	if info.GPUs == (info.NoGPUReason != "") {
		t.Errorf("GPUs = %v, but reason %q", info.GPUs, info.NoGPUReason)
	}
}

func (s *suite) testLifecycle(t *testing.T) {
	ctx := testContext(t)
	spec := s.spec("out", "hello", "wait")
	spec.Name = s.name("lifecycle")
	spec.Labels["orchion.job"] = "j1"
	id := s.create(t, spec)

	c, err := s.Driver.Inspect(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	if c.ID != id || c.Name != spec.Name || c.State != driver.StateCreated {
		t.Errorf("created: %+v", c)
	}
	if c.Labels["orchion.job"] != "j1" || c.Labels[driver.LabelManaged] != "true" {
		t.Errorf("labels = %v", c.Labels)
	}
	if c.CreatedAt.IsZero() || !c.StartedAt.IsZero() || !c.FinishedAt.IsZero() {
		t.Errorf("times of a created container: %v, %v, %v", c.CreatedAt, c.StartedAt, c.FinishedAt)
	}

	if err := s.Driver.Start(ctx, id); err != nil {
		t.Fatal(err)
	}
	if err := s.Driver.Start(ctx, id); err != nil {
		t.Errorf("second Start: %v", err)
	}
	s.waitForLog(t, id, "hello")
	if c, err = s.Driver.Inspect(ctx, spec.Name); err != nil || c.ID != id {
		t.Errorf("Inspect by name: %+v, %v", c, err)
	}
	if c.State != driver.StateRunning || c.StartedAt.IsZero() || !c.FinishedAt.IsZero() {
		t.Errorf("running: %+v", c)
	}

	if err := s.Driver.Stop(ctx, id, 20*time.Second); err != nil {
		t.Fatal(err)
	}
	if c, err = s.Driver.Inspect(ctx, id); err != nil {
		t.Fatal(err)
	}
	if c.State != driver.StateExited || c.Exit.Code != program.ExitTerminated || c.FinishedAt.IsZero() || c.Exit.OOMKilled {
		t.Errorf("stopped: %+v", c)
	}
	if c.Exit.FinishedAt != c.FinishedAt {
		t.Errorf("Exit.FinishedAt = %v, FinishedAt = %v", c.Exit.FinishedAt, c.FinishedAt)
	}
}

func (s *suite) testCommand(t *testing.T) {
	for _, tt := range []struct {
		name          string
		command, args []string
		want          string
	}{
		{"image's own", nil, nil, "default\n"},
		{"arguments", nil, []string{"out", "mine"}, "mine\n"},
		{"command with arguments", []string{program.Path, "out", "first"}, []string{"out", "second"}, "first\nsecond\n"},
		{"command drops the default arguments", []string{program.Path}, nil, ""},
		{"odd characters", nil, []string{"out", `a b "c" 'd' $HOME \ [1]`}, `a b "c" 'd' $HOME \ [1]` + "\n"},
		{"empty argument", nil, []string{"out", ""}, "\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			spec := s.spec(tt.args...)
			spec.Command = tt.command
			if got := s.output(t, spec); got != tt.want {
				t.Errorf("output = %q, want %q", got, tt.want)
			}
		})
	}
	t.Run("environment", func(t *testing.T) {
		spec := s.spec("env", "FROM_IMAGE", "env", "FROM_SPEC", "env", "PATH")
		spec.Env = map[string]string{"FROM_SPEC": "a=b c", "PATH": "/mine"}
		if got, want := s.output(t, spec), "yes\na=b c\n/mine\n"; got != want {
			t.Errorf("output = %q, want %q", got, want)
		}
	})
}

func (s *suite) testExitCodes(t *testing.T) {
	for _, code := range []string{"0", "3", "255"} {
		t.Run(code, func(t *testing.T) {
			id := s.start(t, s.spec("exit", code))
			exit := s.wait(t, id)
			if want := map[string]int{"0": 0, "3": 3, "255": 255}[code]; exit.Code != want {
				t.Errorf("exit code = %d", exit.Code)
			}
			if exit.OOMKilled || exit.Error != "" || exit.FinishedAt.IsZero() {
				t.Errorf("exit = %+v", exit)
			}
		})
	}
}

// testStartFailure: an engine with an init process finds out only inside the container.
func (s *suite) testStartFailure(t *testing.T) {
	spec := s.spec()
	spec.Command = []string{"/no/such/program"}
	id := s.create(t, spec)
	if err := s.Driver.Start(testContext(t), id); err != nil {
		wantError(t, err, driver.CodeInvalid, "start "+s.noun)
		return
	}
	if exit := s.wait(t, id); exit.Code != 127 {
		t.Errorf("exit = %+v, want code 127", exit)
	}
}

func (s *suite) testStop(t *testing.T) {
	ctx := testContext(t)
	t.Run("grace ends in SIGKILL", func(t *testing.T) {
		id := s.start(t, s.spec("ignore-term", "out", "ready", "wait"))
		s.waitForLog(t, id, "ready")
		if err := s.Driver.Stop(ctx, id, 300*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if exit := s.wait(t, id); exit.Code != 137 {
			t.Errorf("exit code = %d, want 137", exit.Code)
		}
	})
	t.Run("no grace", func(t *testing.T) {
		id := s.start(t, s.spec("out", "ready", "wait"))
		s.waitForLog(t, id, "ready")
		if err := s.Driver.Stop(ctx, id, 0); err != nil {
			t.Fatal(err)
		}
		if exit := s.wait(t, id); exit.Code != 137 {
			t.Errorf("exit code = %d, want 137", exit.Code)
		}
	})
	t.Run("kill", func(t *testing.T) {
		id := s.start(t, s.spec("out", "ready", "wait"))
		s.waitForLog(t, id, "ready")
		if err := s.Driver.Kill(ctx, id); err != nil {
			t.Fatal(err)
		}
		if exit := s.wait(t, id); exit.Code != 137 || exit.OOMKilled {
			t.Errorf("exit = %+v, want code 137 and not for memory", exit)
		}
	})
	t.Run("not running", func(t *testing.T) {
		ended := s.start(t, s.spec("exit", "0"))
		s.wait(t, ended)
		for name, id := range map[string]string{"ended": ended, "created": s.create(t, s.spec())} {
			if err := s.Driver.Stop(ctx, id, time.Second); err != nil {
				t.Errorf("Stop of a container that is %s: %v", name, err)
			}
			if err := s.Driver.Kill(ctx, id); err != nil {
				t.Errorf("Kill of a container that is %s: %v", name, err)
			}
		}
	})
}

func (s *suite) testWait(t *testing.T) {
	ctx := testContext(t)
	t.Run("after the end", func(t *testing.T) {
		id := s.start(t, s.spec("exit", "7"))
		for range 2 {
			if exit := s.wait(t, id); exit.Code != 7 {
				t.Errorf("exit code = %d", exit.Code)
			}
		}
	})
	t.Run("while it runs", func(t *testing.T) {
		id := s.start(t, s.spec("sleep", "300ms", "exit", "8"))
		if exit := s.wait(t, id); exit.Code != 8 {
			t.Errorf("exit code = %d", exit.Code)
		}
	})
	t.Run("never started", func(t *testing.T) {
		_, err := s.Driver.Wait(ctx, s.create(t, s.spec()))
		wantError(t, err, driver.CodeConflict, "never started")
	})
}

func (s *suite) testRemove(t *testing.T) {
	ctx := testContext(t)
	id := s.start(t, s.spec("out", "ready", "wait"))
	s.waitForLog(t, id, "ready")
	if err := s.Driver.Remove(ctx, id); err != nil {
		t.Fatal(err)
	}
	_, err := s.Driver.Inspect(ctx, id)
	wantError(t, err, driver.CodeNotFound, "inspect "+s.noun)
	if err := s.Driver.Remove(ctx, id); err != nil {
		t.Errorf("second Remove: %v", err)
	}
}

func (s *suite) testList(t *testing.T) {
	ctx := testContext(t)
	value := s.name("list")
	var ids []string
	for _, steps := range [][]string{{"wait"}, {"exit", "0"}} {
		spec := s.spec(steps...)
		spec.Labels["orchion.list"] = value
		ids = append(ids, s.start(t, spec))
	}
	s.wait(t, ids[1])

	list, err := s.Driver.List(ctx, map[string]string{"orchion.list": value, testLabel: ""})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 2 {
		t.Fatalf("%d containers, want 2", len(list))
	}
	for i, want := range []driver.State{driver.StateRunning, driver.StateExited} {
		c := list[slices.IndexFunc(list, func(c driver.Container) bool { return c.ID == ids[i] })]
		if c.State != want || c.Labels["orchion.list"] != value || c.CreatedAt.IsZero() || c.Name == "" {
			t.Errorf("container %d: %+v, want state %s", i, c, want)
		}
	}
	list, err = s.Driver.List(ctx, map[string]string{"orchion.list": "other"})
	if err != nil || len(list) != 0 {
		t.Errorf("List of another value: %v, %v", list, err)
	}
}

func (s *suite) testErrors(t *testing.T) {
	ctx := testContext(t)
	const ghost = "orchion-test-no-such-container"
	for name, call := range map[string]func() error{
		"Start":   func() error { return s.Driver.Start(ctx, ghost) },
		"Stop":    func() error { return s.Driver.Stop(ctx, ghost, time.Second) },
		"Kill":    func() error { return s.Driver.Kill(ctx, ghost) },
		"Inspect": func() error { _, err := s.Driver.Inspect(ctx, ghost); return err },
		"Wait":    func() error { _, err := s.Driver.Wait(ctx, ghost); return err },
		"Stats":   func() error { _, err := s.Driver.Stats(ctx, ghost); return err },
		"Attach":  func() error { _, err := s.Driver.Attach(ctx, ghost); return err },
		"Logs":    func() error { return s.Driver.Logs(ctx, ghost, driver.LogOptions{}, nil) },
	} {
		t.Run(name, func(t *testing.T) { wantError(t, call(), driver.CodeNotFound, ghost, "container") })
	}
	t.Run("bad id", func(t *testing.T) {
		wantError(t, s.Driver.Start(ctx, "../images/json"), driver.CodeInvalid, "id:", "../images/json")
	})
	t.Run("name in use", func(t *testing.T) {
		spec := s.spec()
		spec.Name = s.name("twice")
		s.create(t, spec)
		_, err := s.Driver.Create(ctx, spec)
		wantError(t, err, driver.CodeConflict, spec.Name)
	})
	t.Run("no image", func(t *testing.T) {
		_, err := s.Driver.Create(ctx, driver.JobSpec("orchion.test/none:1"))
		wantError(t, err, driver.CodeImageNotFound, "orchion.test/none:1")
	})
	t.Run("bad spec", func(t *testing.T) {
		spec := s.spec()
		spec.Env = map[string]string{"A=B": "c"}
		_, err := s.Driver.Create(ctx, spec)
		wantError(t, err, driver.CodeInvalid, "env:", "A=B")
	})
	t.Run("no GPU", func(t *testing.T) {
		info, err := s.Driver.Info(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if info.GPUs {
			t.Skip("this engine can pass GPUs")
		}
		spec := s.spec()
		spec.GPUs.Count = driver.AllGPUs
		_, err = s.Driver.Create(ctx, spec)
		wantError(t, err, driver.CodeUnsupported, "GPU")
	})
}

func (s *suite) testCanceled(t *testing.T) {
	id := s.start(t, s.spec("out", "ready", "wait"))
	s.waitForLog(t, id, "ready")
	for name, call := range map[string]func(context.Context) error{
		"Wait": func(ctx context.Context) error { _, err := s.Driver.Wait(ctx, id); return err },
		"Logs": func(ctx context.Context) error {
			return s.Driver.Logs(ctx, id, driver.LogOptions{Follow: true}, func(driver.LogEntry) error { return nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(testContext(t))
			done := make(chan error, 1)
			go func() { done <- call(ctx) }()
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), id) {
				t.Errorf("error = %v, want context.Canceled about the container", err)
			}
		})
	}
}

func (s *suite) testOOM(t *testing.T) {
	spec := s.spec("alloc", "268435456", "exit", "0")
	spec.Resources.MemoryBytes = 32 << 20
	id := s.start(t, spec)
	if exit := s.wait(t, id); exit.Code != 137 || exit.OOMKilled == exit.MaybeOOM || s.MissesOOM && exit.OOMKilled {
		t.Errorf("exit = %+v, want code 137 for memory", exit)
	}
}

func (s *suite) testStats(t *testing.T) {
	ctx := testContext(t)
	spec := s.spec("alloc", "16777216", "out", "ready", "wait")
	spec.Resources.MemoryBytes = 64 << 20
	id := s.start(t, spec)
	s.waitForLog(t, id, "ready")
	stats, err := s.Driver.Stats(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	if stats.MemoryBytes < 16<<20 || stats.MemoryBytes > 64<<20 || stats.MemoryLimitBytes != 64<<20 {
		t.Errorf("memory = %d of %d", stats.MemoryBytes, stats.MemoryLimitBytes)
	}
	if stats.CPUTotal <= 0 || stats.PIDs == 0 || stats.Time.IsZero() {
		t.Errorf("stats = %+v", stats)
	}
	if err := s.Driver.Kill(ctx, id); err != nil {
		t.Fatal(err)
	}
	s.wait(t, id)
	_, err = s.Driver.Stats(ctx, id)
	wantError(t, err, driver.CodeConflict, "does not run")
}
