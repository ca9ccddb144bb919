package worker

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/driver/fake"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// lookingBed is a bed with a program that prints what it finds in its container.
func lookingBed(t *testing.T, seen *driver.ContainerSpec) *bed {
	t.Helper()
	engine := fake.New(fake.Options{Info: driver.Info{GPUs: true}, Programs: map[string]fake.Program{"/look": func(p *fake.Process) int {
		*seen = p.Spec()
		for _, name := range p.Args() {
			content, err := p.ReadFile(name)
			fmt.Fprintf(p.Stdout(), "%s %v\n", content, err)
		}
		return 0
	}}})
	engine.AddImage("look:1", fake.Image{Entrypoint: []string{"/look"}})
	b := newBed(t, nil)
	if err := b.engine.Close(); err != nil {
		t.Fatal(err)
	}
	b.engine, b.cfg.Driver = engine, engine
	b.restart()
	return b
}

func TestSurroundings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen driver.ContainerSpec
		b := lookingBed(t, &seen)
		defer b.close()
		job := container("a", "look:1", "/in/a")
		job.Spec.Resources = &orchionv1.Resources{DiskBytes: 1 << 30}
		c := job.Spec.GetContainer()
		c.WorkingDir, c.User, c.ShmBytes = "/in", "12:34", 1<<20
		c.Tmpfs = []*orchionv1.TmpfsMount{{Path: "/scratch", SizeBytes: 1 << 20}}
		c.Volumes = []*orchionv1.VolumeMount{{Name: "cache", Path: "/cache", ReadOnly: true}}
		c.Files = []*orchionv1.InputFile{{Path: "/in/a", Content: []byte("content"), Mode: 0o600}}
		b.assign(job)
		b.live(time.Second)
		if got := b.far.last("a").GetOutput(); got != "content <nil>" {
			t.Errorf("output = %q: %s", got, b.far.reasons("a"))
		}
		if seen.WorkDir != "/in" || seen.User != "12:34" || seen.Resources.ShmBytes != 1<<20 || seen.Resources.DiskBytes != 1<<30 {
			t.Errorf("spec = %+v", seen)
		}
		if diff := cmp.Diff([]driver.Tmpfs{{Target: "/scratch", SizeBytes: 1 << 20}}, seen.Tmpfs); diff != "" {
			t.Error(diff)
		}
		want := []driver.Mount{{Kind: driver.MountVolume, Source: "orchion-volume-cache", Target: "/cache", ReadOnly: true}}
		if diff := cmp.Diff(want, seen.Mounts); diff != "" {
			t.Error(diff)
		}
		b.acknowledge("a")
		volumes, err := b.engine.ListVolumes(t.Context(), map[string]string{labelVolume: "cache"})
		if err != nil || len(volumes) != 1 {
			t.Errorf("volumes after the job = %v, %v, want the one that outlives it", volumes, err)
		}
	})
}

// TestGPUsOfAJob: a container gets the GPUs that the orchestrator chose, and when that
// comes from an earlier version, which names none, so many.
func TestGPUsOfAJob(t *testing.T) {
	for name, tt := range map[string]struct {
		assigned []string
		asked    int32
		want     driver.GPURequest
	}{
		"chosen":       {[]string{"GPU-2", "GPU-7"}, 2, driver.GPURequest{IDs: []string{"GPU-2", "GPU-7"}}},
		"a share":      {[]string{"GPU-2"}, 0, driver.GPURequest{IDs: []string{"GPU-2"}}},
		"only counted": {nil, 2, driver.GPURequest{Count: 2}},
		"none":         {nil, 0, driver.GPURequest{}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var seen driver.ContainerSpec
				b := lookingBed(t, &seen)
				defer b.close()
				job := container("a", "look:1")
				job.Gpus, job.Spec.Resources = tt.assigned, &orchionv1.Resources{Gpus: tt.asked}
				b.assign(job)
				b.live(time.Second)
				if seen.Image == "" {
					t.Fatalf("did not run: %s", b.far.reasons("a"))
				}
				if diff := cmp.Diff(tt.want, seen.GPUs); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// A volume that somebody else made is not given to a job by giving it a name of ours.
func TestForeignVolumeIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen driver.ContainerSpec
		b := lookingBed(t, &seen)
		defer b.close()
		if err := b.engine.CreateVolume(t.Context(), "orchion-volume-theirs", map[string]string{"orchion.role": "model"}); err != nil {
			t.Fatal(err)
		}
		job := container("a", "look:1")
		job.Spec.GetContainer().Volumes = []*orchionv1.VolumeMount{{Name: "theirs", Path: "/x"}}
		b.assign(job)
		b.live(time.Second)
		b.wantEnd("a", "FAILED NODE", "a volume orchion-volume-theirs that Orchion did not make")
		if seen.Image != "" {
			t.Error("the job ran")
		}
	})
}

func TestOwnerOf(t *testing.T) {
	for user, want := range map[string][2]int{"": {}, "root": {}, "1000": {1000, 0}, "1000:1001": {1000, 1001}, "app:1001": {}, "7:staff": {7, 0}} {
		if uid, gid := ownerOf(user); uid != want[0] || gid != want[1] {
			t.Errorf("ownerOf(%q) = %d:%d, want %d:%d", user, uid, gid, want[0], want[1])
		}
	}
}
