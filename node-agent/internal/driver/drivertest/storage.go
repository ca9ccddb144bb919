package drivertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/driver/drivertest/program"
)

func (s *suite) testVolumes(t *testing.T) {
	ctx := testContext(t)
	name := s.name("volume")
	labels := map[string]string{testLabel: s.run, "orchion.kind": "models"}
	for range 2 {
		if err := s.Driver.CreateVolume(ctx, name, labels); err != nil {
			t.Fatal(err)
		}
	}
	// Another's volume, which shares one label of the two that are asked for.
	stranger := s.name("stranger")
	if err := s.Driver.CreateVolume(ctx, stranger, map[string]string{testLabel: "other-" + s.run, "orchion.kind": "models"}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Driver.RemoveVolume(ctx, stranger); err != nil {
			t.Errorf("RemoveVolume: %v", err)
		}
	}()
	list, err := s.Driver.ListVolumes(ctx, map[string]string{testLabel: s.run, "orchion.kind": "models"})
	if err != nil || len(list) != 1 || list[0].Name != name || list[0].Labels[driver.LabelManaged] != "true" {
		t.Errorf("ListVolumes = %v, %v", list, err)
	}
	spec := s.spec()
	spec.Mounts = []driver.Mount{{Kind: driver.MountVolume, Source: name, Target: "/data"}}
	id := s.create(t, spec)
	wantError(t, s.Driver.RemoveVolume(ctx, name), driver.CodeConflict, "remove volume", name)
	if err := s.Driver.Remove(ctx, id); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Driver.RemoveVolume(ctx, name); err != nil {
			t.Errorf("RemoveVolume: %v", err)
		}
	}
	list, err = s.Driver.ListVolumes(ctx, map[string]string{testLabel: s.run})
	if err != nil || len(list) != 0 {
		t.Errorf("ListVolumes after removal = %v, %v", list, err)
	}
	wantError(t, s.Driver.CreateVolume(ctx, "../x", nil), driver.CodeInvalid, "id:")
}

// testVolumeContent: a named volume outlives its containers.
func (s *suite) testVolumeContent(t *testing.T) {
	name := s.name("content")
	if err := s.Driver.CreateVolume(testContext(t), name, map[string]string{testLabel: s.run}); err != nil {
		t.Fatal(err)
	}
	for _, steps := range [][]string{{"write", "/data/file", "kept"}, {"read", "/data/file"}} {
		spec := s.spec(steps...)
		spec.Mounts = []driver.Mount{{Kind: driver.MountVolume, Source: name, Target: "/data"}}
		got := s.output(t, spec)
		if steps[0] == "read" && got != "kept\n" {
			t.Errorf("read back %q", got)
		}
	}
	spec := s.spec("write", "/data/file", "changed")
	spec.Mounts = []driver.Mount{{Kind: driver.MountVolume, Source: name, Target: "/data", ReadOnly: true}}
	id := s.start(t, spec)
	if exit := s.wait(t, id); exit.Code == 0 {
		t.Error("a read-only volume was written to")
	}
}

// testPutIntoVolume: files that are put into a container that runs lie in its volumes.
func (s *suite) testPutIntoVolume(t *testing.T) {
	ctx := testContext(t)
	name := s.name("put")
	if err := s.Driver.CreateVolume(ctx, name, map[string]string{testLabel: s.run}); err != nil {
		t.Fatal(err)
	}
	mounts := []driver.Mount{{Kind: driver.MountVolume, Source: name, Target: "/root/data"}}
	spec := s.spec("out", "runs", "wait")
	spec.Mounts = mounts
	id := s.start(t, spec)
	s.waitForLog(t, id, "runs")
	files := []driver.File{{Path: "/root/data/deep/er/file", Content: []byte("put"), Mode: 0o600}}
	if err := s.Driver.PutFiles(ctx, id, files); err != nil {
		t.Fatal(err)
	}
	wantFound(t, "running", map[string]string{"/root/data/deep/er/file": "file 600 put"}, s.copyOut(t, id, "/root/data/deep/er/file"))
	reader := s.spec("read", "/root/data/deep/er/file")
	reader.Mounts = mounts
	if got := s.output(t, reader); got != "put\n" {
		t.Errorf("another container of the volume reads %q", got)
	}
}

func (s *suite) testImages(t *testing.T) {
	ctx := testContext(t)
	d := s.Driver
	for _, tt := range []struct {
		ref  string
		want bool
	}{{ProgramImage, true}, {"orchion.test/program:2", false}, {"orchion.test/none", false}} {
		if got, err := d.ImageExists(ctx, tt.ref); got != tt.want || err != nil {
			t.Errorf("ImageExists(%q) = %v, %v", tt.ref, got, err)
		}
	}
	full, err := driver.NormalizeReference(ProgramImage)
	if err != nil {
		t.Fatal(err)
	}
	list, err := d.ListImages(ctx)
	if err != nil || !slices.Contains(list, full) || slices.ContainsFunc(list, func(name string) bool { return strings.Contains(name, "<none>") }) {
		t.Errorf("ListImages = %v, %v, want %s among them and nothing without a name", list, err, full)
	}
	for _, name := range list[:min(len(list), 8)] {
		if there, err := d.ImageExists(ctx, name); !there || err != nil {
			t.Errorf("ImageExists(%q) of a listed image = %v, %v", name, there, err)
		}
	}
	_, err = d.ImageExists(ctx, "Not An Image")
	wantError(t, err, driver.CodeInvalid, "image:", "Not An Image")

	for _, policy := range []driver.PullPolicy{"", driver.PullIfNotPresent, driver.PullNever} {
		if err := d.EnsureImage(ctx, ProgramImage, driver.Pull{Policy: policy}, nil); err != nil {
			t.Errorf("EnsureImage(%q) of an image that is there: %v", policy, err)
		}
	}
	err = d.EnsureImage(ctx, "orchion.test/none:1", driver.Pull{Policy: driver.PullNever}, nil)
	wantError(t, err, driver.CodeImageNotFound, "orchion.test/none:1")
	err = d.EnsureImage(ctx, ProgramImage, driver.Pull{Policy: "SOMETIMES"}, nil)
	wantError(t, err, driver.CodeInvalid, "SOMETIMES", "IF_NOT_PRESENT")

	const ref = "orchion.test/imported:1"
	err = d.ImportImage(ctx, driver.ImageImport{
		Ref: ref, Entrypoint: []string{program.Path, "out"}, Cmd: []string{"unused"},
		RootFS: bytes.NewReader(RootFS(map[string][]byte{program.Path: []byte("x")})),
		Labels: map[string]string{"orchion.kind": "test"},
	})
	if err != nil {
		t.Fatal(err)
	}
	id := s.create(t, driver.ContainerSpec{Image: ref, Labels: map[string]string{testLabel: s.run}})
	wantError(t, d.RemoveImage(ctx, ref), driver.CodeConflict, ref)
	if err := d.Remove(ctx, id); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := d.RemoveImage(ctx, ref); err != nil {
			t.Errorf("RemoveImage: %v", err)
		}
	}
	if found, err := d.ImageExists(ctx, ref); found || err != nil {
		t.Errorf("ImageExists after removal = %v, %v", found, err)
	}
}

func (s *suite) testPull(t *testing.T) {
	if s.Registry == nil {
		t.Skip("this target has no registry to pull from")
	}
	const size = 4 << 20
	remove := func(t *testing.T, ref string) {
		t.Cleanup(func() {
			if err := s.Driver.RemoveImage(context.Background(), ref); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("progress", func(t *testing.T) {
		ref, resume := s.Registry(t, "progress", size)
		remove(t, ref)
		var last driver.PullProgress
		var between bool
		err := s.Driver.EnsureImage(testContext(t), ref, driver.Pull{}, func(p driver.PullProgress) {
			if p.Percent < last.Percent || p.CompletedBytes < last.CompletedBytes {
				t.Errorf("progress fell from %+v to %+v", last, p)
			}
			if p.CompletedBytes > 0 && p.CompletedBytes < p.TotalBytes {
				between = true
				resume() // only now does the registry send the rest
			}
			last = p
		})
		if err != nil {
			t.Fatal(err)
		}
		if !between || last.Percent != 100 || last.TotalBytes < size {
			t.Errorf("last progress = %+v, seen in between: %v", last, between)
		}
		if found, err := s.Driver.ImageExists(testContext(t), ref); !found || err != nil {
			t.Errorf("ImageExists = %v, %v", found, err)
		}
	})
	t.Run("canceled", func(t *testing.T) {
		ref, resume := s.Registry(t, "canceled", size)
		remove(t, ref)
		defer resume()
		ctx, cancel := context.WithCancel(testContext(t))
		err := s.Driver.EnsureImage(ctx, ref, driver.Pull{}, func(p driver.PullProgress) {
			if p.CompletedBytes > 0 {
				cancel()
			}
		})
		if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "pull image") {
			t.Errorf("error = %v, want context.Canceled", err)
		}
	})
	t.Run("unknown", func(t *testing.T) {
		ref, resume := s.Registry(t, "known", size)
		resume()
		ref = strings.Replace(ref, "known", "unknown", 1)
		err := s.Driver.EnsureImage(testContext(t), ref, driver.Pull{Policy: driver.PullAlways}, nil)
		wantError(t, err, driver.CodeImageNotFound, ref)
	})
	t.Run("always", func(t *testing.T) {
		ref, resume := s.Registry(t, "always", size)
		resume()
		remove(t, ref)
		for range 2 {
			if err := s.Driver.EnsureImage(testContext(t), ref, driver.Pull{Policy: driver.PullAlways}, nil); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func (s *suite) testLogin(t *testing.T) {
	if s.Protected == nil {
		t.Skip("this target has no registry to log in at")
	}
	const username, password = "robot", "s3cret pass:word"
	ref := s.Protected(t, "private", username, password)
	registry, err := driver.RegistryOf(ref)
	if err != nil {
		t.Fatal(err)
	}
	pull := func(login *driver.Login) error {
		return s.Driver.EnsureImage(testContext(t), ref, driver.Pull{Policy: driver.PullAlways, Login: login}, nil)
	}
	wantError(t, pull(nil), driver.CodeImageDenied, ref)
	wrong := pull(&driver.Login{Registry: registry, Username: username, Password: "wr0ng"})
	wantError(t, wrong, driver.CodeImageDenied, ref)
	if strings.Contains(fmt.Sprint(wrong), "wr0ng") {
		t.Errorf("the error holds the password: %v", wrong)
	}
	wantError(t, pull(&driver.Login{Registry: "registry.example.org", Username: username, Password: password}), driver.CodeInvalid,
		"is for the registry registry.example.org, and the image is at "+registry)
	if err := pull(&driver.Login{Registry: registry, Username: username, Password: password}); err != nil {
		t.Fatal(err)
	}
	if err := s.Driver.RemoveImage(testContext(t), ref); err != nil {
		t.Error(err)
	}
}
