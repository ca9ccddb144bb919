package driver

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestValidate(t *testing.T) {
	good := func() ContainerSpec { return JobSpec("a") }
	for _, tt := range []struct {
		name   string
		change func(*ContainerSpec)
		want   string // "": no error
	}{
		{"plain", func(*ContainerSpec) {}, ""},
		{"everything", func(s *ContainerSpec) {
			s.Name, s.User, s.WorkDir = "job-1", "1000:1000", "/work"
			s.Command, s.Args = []string{"/bin/a"}, []string{"", "b"}
			s.Env, s.Labels = map[string]string{"A": ""}, map[string]string{"orchion.job": "x/y"}
			s.Resources = Resources{CPUMillis: 10, MemoryBytes: MinMemoryBytes, PIDs: 1, ShmBytes: 1}
			s.GPUs = GPURequest{Count: AllGPUs}
			s.Ports = []Port{{Container: 80}}
			s.Mounts = []Mount{{Kind: MountVolume, Source: "v", Target: "/v"}, {Kind: MountBind, Source: "/h", Target: "/h"}}
		}, ""},
		{"image", func(s *ContainerSpec) { s.Image = "" }, "image: must not be empty"},
		{"image's characters", func(s *ContainerSpec) { s.Image = "A B" }, `image: "A B" is not an image reference`},
		{"image's length", func(s *ContainerSpec) { s.Image = strings.Repeat("a", 600) }, "image: 600 characters"},
		{"name", func(s *ContainerSpec) { s.Name = "../x" }, `name: "../x"`},
		{"user", func(s *ContainerSpec) { s.User = "a b" }, `user: "a b"`},
		{"workdir", func(s *ContainerSpec) { s.WorkDir = "rel" }, `workdir: "rel"`},
		{"command", func(s *ContainerSpec) { s.Command = []string{""} }, "command[0]"},
		{"args", func(s *ContainerSpec) { s.Args = []string{"a", "b\x00"} }, "args[1]"},
		{"env", func(s *ContainerSpec) { s.Env = map[string]string{"1A": "x"} }, `env: "1A"`},
		{"env's value", func(s *ContainerSpec) { s.Env = map[string]string{"A": "\x00"} }, "env[A]"},
		{"label", func(s *ContainerSpec) { s.Labels = map[string]string{"a=b": "x"} }, `labels: "a=b"`},
		{"cpu", func(s *ContainerSpec) { s.Resources.CPUMillis = 5 }, "resources.cpuMillis: 5"},
		{"memory", func(s *ContainerSpec) { s.Resources.MemoryBytes = 1024 }, "resources.memoryBytes: 1024"},
		{"gpus", func(s *ContainerSpec) { s.GPUs.Count = -2 }, "gpus: -2"},
		{"gpus both", func(s *ContainerSpec) { s.GPUs = GPURequest{Count: 1, IDs: []string{"0"}} }, "gpus: give a count or ids"},
		{"port", func(s *ContainerSpec) { s.Ports = []Port{{}} }, "ports: the container's port"},
		{"port twice", func(s *ContainerSpec) { s.Ports = []Port{{Container: 1}, {Container: 1}} }, "ports: 1 is published twice"},
		{"port without network", func(s *ContainerSpec) {
			s.Ports, s.Network = []Port{{Container: 1}}, NetworkNone
		}, `ports: cannot be published on network "none"`},
		{"mount kind", func(s *ContainerSpec) { s.Mounts = []Mount{{Kind: "nfs", Source: "a", Target: "/a"}} }, `mounts: kind "nfs"`},
		{"mount target", func(s *ContainerSpec) { s.Mounts = []Mount{{Kind: MountVolume, Source: "a", Target: "a"}} }, `mounts: target "a"`},
		{"volume", func(s *ContainerSpec) { s.Mounts = []Mount{{Kind: MountVolume, Source: "/etc", Target: "/a"}} }, `mounts: "/etc" is not a name`},
		{"network", func(s *ContainerSpec) { s.Network = "host" }, `network: "host" is not one of none, container:ID`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			spec := good()
			tt.change(&spec)
			err := spec.Validate()
			if tt.want == "" && err != nil {
				t.Errorf("error = %v", err)
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestReferences(t *testing.T) {
	for _, tt := range []struct {
		ref, full, local string
	}{
		{"alpine", "docker.io/library/alpine:latest", "localhost/alpine:latest"},
		{"me/agent:2", "docker.io/me/agent:2", "localhost/me/agent:2"},
		{"ghcr.io/o/n", "ghcr.io/o/n:latest", ""},
		{"localhost/x", "localhost/x:latest", ""},
		{"127.0.0.1:5000/x:1", "127.0.0.1:5000/x:1", ""},
	} {
		if full, err := NormalizeReference(tt.ref); full != tt.full || err != nil {
			t.Errorf("NormalizeReference(%q) = %q, %v", tt.ref, full, err)
		}
		if local, ok := LocalReference(tt.ref); local != tt.local || ok != (tt.local != "") {
			t.Errorf("LocalReference(%q) = %q, %v", tt.ref, local, ok)
		}
	}
}

func TestError(t *testing.T) {
	cause := errors.New("manifest unknown")
	var err error = &Error{Code: CodeImageNotFound, Engine: "docker", Op: "pull image", Subject: "a", Hint: "check its name", Err: cause}
	if got, want := err.Error(), "docker: pull image a: manifest unknown; check its name"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
	wrapped := fmt.Errorf("job 1: %w", err)
	if CodeOf(wrapped) != CodeImageNotFound || !errors.Is(wrapped, cause) {
		t.Errorf("code %s of %v", CodeOf(wrapped), wrapped)
	}
	if CodeOf(nil) != "" || CodeOf(cause) != CodeInternal {
		t.Errorf("CodeOf(nil) = %q, of another error %q", CodeOf(nil), CodeOf(cause))
	}
	for code, want := range map[Code]bool{CodeUnavailable: true, CodeRegistryUnavailable: true, CodeTimeout: true, CodeInvalid: false, CodeInternal: false} {
		if got := (&Error{Code: code, Err: cause}).Temporary(); got != want {
			t.Errorf("Temporary() of %s = %v", code, got)
		}
	}
}
