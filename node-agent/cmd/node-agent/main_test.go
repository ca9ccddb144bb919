package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"node-agent": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			// Of the machine that runs the test, nothing but its hardware shows.
			env.Setenv("XDG_DATA_HOME", env.WorkDir+"/share")
			env.Setenv("LocalAppData", env.WorkDir+"/share")
			env.Setenv("ORCHION_ADOPT", "none")
			env.Setenv("ORCHION_RUNTIME", "none")
			return nil
		},
	})
}

func TestIsUsage(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"unknown flag", []string{"--port", "1"}, "unknown flag: --port"},
		{"bad value", []string{"--max-jobs", "-1"}, "--max-jobs is -1; it must be between 0 and 10000"},
		{"an argument", []string{"capabilities", "all"}, `node-agent capabilities takes no arguments, but was given "all"`},
		{"unknown command", []string{"join"}, `node-agent takes no arguments, but was given "join"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := newCommand(func(name string) (string, bool) {
				if name == "ORCHION_DATA_DIR" {
					return t.TempDir(), true
				}
				return "", false
			})
			cmd.SetArgs(c.args)
			cmd.SetOut(&bytes.Buffer{})
			cmd.SetErr(&bytes.Buffer{})
			err := cmd.ExecuteContext(t.Context())
			if err == nil || !isUsage(err) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error = %v (usage: %v), want wrong use with %q", err, isUsage(err), c.want)
			}
		})
	}
}

// A failure at run time is not wrong use: what should be the lock is a folder.
func TestRunFailureIsNotUsage(t *testing.T) {
	path := t.TempDir()
	if err := os.Mkdir(path+"/node-agent.lock", 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := newCommand(func(string) (string, bool) { return "", false })
	cmd.SetArgs([]string{"--data-dir", path, "--runtime", "none", "--adopt", "none"})
	cmd.SetErr(&bytes.Buffer{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := cmd.ExecuteContext(ctx)
	if err == nil || isUsage(err) || !strings.Contains(err.Error(), "lock the data directory (--data-dir)") {
		t.Errorf("error = %v (usage: %v)", err, isUsage(err))
	}
}

func TestSize(t *testing.T) {
	for bytes, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 16 << 30: "16.0 GiB", 1 << 62: "4.0 EiB"} {
		if got := size(bytes); got != want {
			t.Errorf("size(%d) = %q, want %q", bytes, got, want)
		}
	}
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	err := printTable(&out, &orchionv1.Capabilities{
		Os: "linux", Arch: "arm64", Platform: "debian 12", Kernel: "6.1",
		Cpu:                 &orchionv1.Cpu{Model: "Ampere", PhysicalCores: 8, LogicalCores: 16},
		Memory:              &orchionv1.Memory{TotalBytes: 64 << 30},
		Disk:                &orchionv1.Disk{TotalBytes: 1 << 40, Path: "/data"},
		Gpus:                []*orchionv1.Gpu{{Vendor: "nvidia", Model: "L4", MemoryBytes: 24 << 30, DriverVersion: "550", Uuid: "GPU-1"}},
		Runtimes:            []*orchionv1.ContainerRuntime{{Name: "podman", Version: "5.0", Endpoint: "unix:///p", Rootless: true}},
		RegistryCredentials: []*orchionv1.RegistryCredentials{{Name: "work", Registry: "ghcr.io"}},
		Processes:           []*orchionv1.AllowedProcess{{Name: "ffmpeg", Path: "/usr/bin/ffmpeg"}},
		Engines:             []*orchionv1.LocalEngine{{Name: "ollama", Version: "0.6.5", Endpoint: "http://127.0.0.1:11434", Models: []string{"a", "b"}}, {Name: "openai", Endpoint: "http://127.0.0.1:1"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `SYSTEM       linux/arm64, debian 12, kernel 6.1
CPU          Ampere, 8 cores, 16 threads
MEMORY       64.0 GiB
DISK         1.0 TiB at /data
GPU          nvidia L4, 24.0 GiB, driver 550, GPU-1
CONTAINERS   podman 5.0, rootless at unix:///p
PROCESS      ffmpeg: /usr/bin/ffmpeg
REGISTRY     work: credentials for ghcr.io
ENGINE       ollama 0.6.5 at http://127.0.0.1:11434: a, b
ENGINE       openai at http://127.0.0.1:1: no models
`
	if out.String() != want {
		t.Errorf("table:\n%s\nwant:\n%s", &out, want)
	}
}
