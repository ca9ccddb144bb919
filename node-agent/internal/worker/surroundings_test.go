package worker

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/driver/fake"
	"github.com/orchion/orchion/node-agent/internal/fakeorchestrator"
	"github.com/orchion/orchion/node-agent/internal/session"
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

// An input file that is a blob is fetched before the container is made; one that cannot be
// had is told from a node that cannot take it.
func TestInputBlobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := fakeorchestrator.New()
		far.Start()
		defer far.Stop()
		conn, err := grpc.NewClient("passthrough:///far", far.DialOptions()...)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		logger := slog.New(slog.DiscardHandler)
		dir := filepath.Join(t.TempDir(), "blobs")
		inputs := session.NewBlobs(orchionv1.NewBlobsClient(conn), dir, session.NewReach("far", logger), logger)
		defer inputs.Close()
		var seen driver.ContainerSpec
		b := lookingBed(t, &seen)
		defer b.close()
		b.cfg.Inputs = inputs
		b.restart()

		with := func(id, digest string) *orchionv1.JobAssignment {
			job := container(id, "look:1", "/in/a", "/in/b")
			for _, path := range []string{"/in/a", "/in/b"} {
				job.Spec.GetContainer().Files = append(job.Spec.GetContainer().Files, &orchionv1.InputFile{Path: path, Blob: digest, SizeBytes: 7, Mode: 0o600})
			}
			return job
		}
		b.assign(with("a", far.AddBlob([]byte("content"))))
		b.live(time.Second)
		if got := b.far.last("a").GetOutput(); got != "content <nil>\ncontent <nil>" {
			t.Errorf("output = %q: %s", got, b.far.reasons("a"))
		}
		if got := b.far.reasons("a"); !strings.Contains(got, "fetching input file /in/a, 100 %") {
			t.Errorf("reasons = %s", got)
		}
		b.assign(with("b", "sha256:"+strings.Repeat("0", 64)))
		b.live(time.Second)
		b.wantEnd("b", "FAILED INVALID", "fetch input file /in/a: blob sha256:"+strings.Repeat("0", 64)+": the orchestrator does not have it any more")

		// Where its folder should be there is a file: this node takes nothing.
		if err := errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		b.assign(with("c", far.AddBlob([]byte("another"))))
		b.live(time.Second)
		b.wantEnd("c", "FAILED NODE", "fetch input file /in/a: ")
	})
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
