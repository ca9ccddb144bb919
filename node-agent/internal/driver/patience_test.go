package driver_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/driver/fake"
)

// hangingEngine is an engine with one container, stopped in its tracks.
func hangingEngine(t *testing.T) (engine *fake.Driver, impatient driver.Driver, id string) {
	t.Helper()
	engine = fake.New(fake.Options{Programs: map[string]fake.Program{
		"/wait": func(p *fake.Process) int { <-p.Context().Done(); return 0 },
	}})
	engine.AddImage("wait:1", fake.Image{Entrypoint: []string{"/wait"}})
	id, err := engine.Create(t.Context(), driver.JobSpec("wait:1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := engine.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	engine.SetHanging(true)
	return engine, driver.Impatient(engine), id
}

func TestCallsOfAnEngineThatHangsEnd(t *testing.T) {
	calls := map[string]struct {
		limit time.Duration
		call  func(ctx context.Context, d driver.Driver, id string) error
	}{
		"ping": {30 * time.Second, func(ctx context.Context, d driver.Driver, _ string) error { return d.Ping(ctx) }},
		"info": {30 * time.Second, func(ctx context.Context, d driver.Driver, _ string) error { _, err := d.Info(ctx); return err }},
		"image exists": {30 * time.Second, func(ctx context.Context, d driver.Driver, _ string) error {
			_, err := d.ImageExists(ctx, "a:1")
			return err
		}},
		"ensure image": {30 * time.Second, func(ctx context.Context, d driver.Driver, _ string) error {
			return d.EnsureImage(ctx, "a:1", driver.Pull{}, nil)
		}},
		"remove image": {2 * time.Minute, func(ctx context.Context, d driver.Driver, _ string) error { return d.RemoveImage(ctx, "a:1") }},
		"create": {2 * time.Minute, func(ctx context.Context, d driver.Driver, _ string) error {
			_, err := d.Create(ctx, driver.JobSpec("wait:1"))
			return err
		}},
		"put files": {2 * time.Minute, func(ctx context.Context, d driver.Driver, id string) error { return d.PutFiles(ctx, id, nil) }},
		"copy out": {2 * time.Minute, func(ctx context.Context, d driver.Driver, id string) error {
			return d.CopyOut(ctx, id, "/out", func(*driver.Copied) error { return nil })
		}},
		"start": {2 * time.Minute, func(ctx context.Context, d driver.Driver, id string) error { return d.Start(ctx, id) }},
		"stop": {34 * time.Second, func(ctx context.Context, d driver.Driver, id string) error {
			return d.Stop(ctx, id, 3500*time.Millisecond)
		}},
		"kill":          {30 * time.Second, func(ctx context.Context, d driver.Driver, id string) error { return d.Kill(ctx, id) }},
		"remove":        {2 * time.Minute, func(ctx context.Context, d driver.Driver, id string) error { return d.Remove(ctx, id) }},
		"inspect":       {30 * time.Second, func(ctx context.Context, d driver.Driver, id string) error { _, err := d.Inspect(ctx, id); return err }},
		"list":          {30 * time.Second, func(ctx context.Context, d driver.Driver, _ string) error { _, err := d.List(ctx, nil); return err }},
		"stats":         {30 * time.Second, func(ctx context.Context, d driver.Driver, id string) error { _, err := d.Stats(ctx, id); return err }},
		"create volume": {2 * time.Minute, func(ctx context.Context, d driver.Driver, _ string) error { return d.CreateVolume(ctx, "v", nil) }},
		"remove volume": {2 * time.Minute, func(ctx context.Context, d driver.Driver, _ string) error { return d.RemoveVolume(ctx, "v") }},
		"list volumes": {30 * time.Second, func(ctx context.Context, d driver.Driver, _ string) error {
			_, err := d.ListVolumes(ctx, nil)
			return err
		}},
	}
	for name, c := range calls {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				engine, d, id := hangingEngine(t)
				defer engine.Close()
				began := time.Now()
				err := c.call(t.Context(), d, id)
				if took := time.Since(began); took != c.limit {
					t.Errorf("took %s, want %s", took, c.limit)
				}
				if driver.CodeOf(err) != driver.CodeTimeout || !strings.Contains(err.Error(), "the container engine has not answered for "+c.limit.String()+"; it hangs: restart it") {
					t.Errorf("error = %v", err)
				}
			})
		})
	}
	t.Run("the caller's own end is not the engine's", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			engine, d, id := hangingEngine(t)
			defer engine.Close()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := d.Inspect(ctx, id); !errors.Is(err, context.DeadlineExceeded) || driver.CodeOf(err) == driver.CodeTimeout {
				t.Errorf("error = %v, want the context's", err)
			}
		})
	})
	t.Run("an engine that goes on giving has all the time, and so has who takes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			engine, d, id := hangingEngine(t)
			defer engine.Close()
			engine.SetHanging(false)
			if err := d.PutFiles(t.Context(), id, []driver.File{{Path: "/out/a", Content: []byte("a")}, {Path: "/out/b", Content: []byte("b")}}); err != nil {
				t.Fatal(err)
			}
			n := 0
			err := d.CopyOut(t.Context(), id, "/out", func(f *driver.Copied) error {
				time.Sleep(time.Hour)
				if f.Kind != driver.CopiedFile {
					return nil
				}
				n++
				_, err := io.ReadAll(f.Content)
				time.Sleep(time.Hour)
				return err
			})
			if err != nil || n != 2 {
				t.Errorf("%d files, %v", n, err)
			}
		})
	})
	t.Run("waiting takes as long as it takes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			engine, d, id := hangingEngine(t)
			defer engine.Close()
			time.AfterFunc(time.Hour, func() {
				engine.SetHanging(false)
				if err := engine.Kill(context.Background(), id); err != nil {
					t.Error(err)
				}
			})
			if exit, err := d.Wait(t.Context(), id); err != nil || exit.Code != 137 {
				t.Errorf("Wait = %v, %v", exit, err)
			}
		})
	})
}
