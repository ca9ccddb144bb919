package docker

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/google/go-cmp/cmp"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

func TestHostConfigIsHardened(t *testing.T) {
	d := &Driver{name: driver.NameDocker}
	spec := driver.JobSpec("a")
	spec.Ports = []driver.Port{{Container: 80}, {Container: 81, Host: 8081}}
	spec.Resources = driver.Resources{CPUMillis: 1500, MemoryBytes: 64 << 20}
	_, host := d.configs(spec, "docker.io/library/a:latest", "orchion-jobs")
	if host.Privileged || len(host.CapAdd) > 0 || len(host.Binds) > 0 || len(host.Mounts) > 0 {
		t.Errorf("not shut in: %+v", host)
	}
	if diff := cmp.Diff([]string{"ALL"}, []string(host.CapDrop)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"no-new-privileges"}, host.SecurityOpt); diff != "" {
		t.Error(diff)
	}
	for port, bindings := range host.PortBindings {
		for _, b := range bindings {
			if b.HostIP != "127.0.0.1" {
				t.Errorf("port %s is published on %q", port, b.HostIP)
			}
		}
	}
	if *host.PidsLimit != driver.DefaultJobPIDs || host.NanoCPUs != 1_500_000_000 || host.MemorySwap != host.Memory {
		t.Errorf("limits: %+v", host.Resources)
	}
	if host.RestartPolicy.Name != container.RestartPolicyDisabled {
		t.Errorf("restart policy %q", host.RestartPolicy.Name)
	}
}

func TestDeviceRequests(t *testing.T) {
	docker, podman := &Driver{name: driver.NameDocker}, &Driver{name: driver.NamePodman}
	for _, tt := range []struct {
		d    *Driver
		gpus driver.GPURequest
		want []container.DeviceRequest
	}{
		{docker, driver.GPURequest{}, nil},
		{docker, driver.GPURequest{Count: driver.AllGPUs}, []container.DeviceRequest{{Count: -1, Capabilities: [][]string{{"gpu"}}}}},
		{docker, driver.GPURequest{IDs: []string{"GPU-1"}}, []container.DeviceRequest{{DeviceIDs: []string{"GPU-1"}, Capabilities: [][]string{{"gpu"}}}}},
		{podman, driver.GPURequest{Count: driver.AllGPUs}, []container.DeviceRequest{{Driver: "cdi", DeviceIDs: []string{"nvidia.com/gpu=all"}}}},
		{podman, driver.GPURequest{Count: 2}, []container.DeviceRequest{{Driver: "cdi", DeviceIDs: []string{"nvidia.com/gpu=0", "nvidia.com/gpu=1"}}}},
		{podman, driver.GPURequest{IDs: []string{"GPU-1"}}, []container.DeviceRequest{{Driver: "cdi", DeviceIDs: []string{"nvidia.com/gpu=GPU-1"}}}},
	} {
		if diff := cmp.Diff(tt.want, tt.d.deviceRequests(tt.gpus)); diff != "" {
			t.Errorf("%s %+v:\n%s", tt.d.name, tt.gpus, diff)
		}
	}
}

func TestVisibleDevices(t *testing.T) {
	all := map[string]string{"A": "b", nvidiaDevices: "all"}
	for _, tt := range []struct {
		name string
		spec driver.ContainerSpec
		gpus driver.GPURequest
		want []string
	}{
		{"named", driver.JobSpec("a"), driver.GPURequest{IDs: []string{"GPU-1", "GPU-2"}}, []string{"A=b", "NVIDIA_VISIBLE_DEVICES=GPU-1,GPU-2"}},
		{"none for a job", driver.JobSpec("a"), driver.GPURequest{}, []string{"A=b", "NVIDIA_VISIBLE_DEVICES=void"}},
		{"counted", driver.JobSpec("a"), driver.GPURequest{Count: 1}, []string{"A=b", "NVIDIA_VISIBLE_DEVICES=all"}},
		{"an engine's own business", driver.EngineSpec("a"), driver.GPURequest{}, []string{"A=b", "NVIDIA_VISIBLE_DEVICES=all"}},
	} {
		tt.spec.Env, tt.spec.GPUs = all, tt.gpus
		config, _ := (&Driver{name: driver.NameDocker}).configs(tt.spec, "docker.io/library/a:latest", "orchion-jobs")
		if diff := cmp.Diff(tt.want, config.Env); diff != "" {
			t.Errorf("%s:\n%s", tt.name, diff)
		}
	}
	if all[nvidiaDevices] != "all" {
		t.Error("the spec's own environment was written to")
	}
}

func TestPullProgress(t *testing.T) {
	// Recorded from Docker 20.10, shortened: a small layer first, two more unknown.
	const stream = `
{"status":"Pulling from orchion/demo","id":"1"}
{"status":"Pulling fs layer","progressDetail":{},"id":"aaa"}
{"status":"Pulling fs layer","progressDetail":{},"id":"bbb"}
{"status":"Already exists","progressDetail":{},"id":"ccc"}
{"status":"Downloading","progressDetail":{"current":50,"total":100},"id":"aaa"}
{"status":"Downloading","progressDetail":{"current":100,"total":100},"id":"aaa"}
{"status":"Verifying Checksum","progressDetail":{},"id":"aaa"}
{"status":"Download complete","progressDetail":{},"id":"aaa"}
{"status":"Downloading","progressDetail":{"current":100,"total":900},"id":"bbb"}
{"status":"Extracting","progressDetail":{"current":10,"total":100},"id":"aaa"}
{"status":"Downloading","progressDetail":{"current":900,"total":900},"id":"bbb"}
{"status":"Pull complete","progressDetail":{},"id":"bbb"}
{"status":"Digest: sha256:0"}`
	p := newPullProgress()
	var last driver.PullProgress
	var percents []int
	for dec := json.NewDecoder(strings.NewReader(stream)); ; {
		var msg streamMessage
		if err := dec.Decode(&msg); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		now, _ := p.add(msg)
		if now.Percent < last.Percent || now.CompletedBytes < last.CompletedBytes {
			t.Errorf("fell from %+v to %+v", last, now)
		}
		last = now
		percents = append(percents, int(now.Percent))
	}
	if diff := cmp.Diff([]int{0, 0, 0, 0, 25, 50, 50, 50, 50, 50, 99, 99, 99}, percents); diff != "" {
		t.Errorf("percents:\n%s", diff)
	}
	if done := p.done(); done != (driver.PullProgress{Status: "pulled", CompletedBytes: 1000, TotalBytes: 1000, Percent: 100}) {
		t.Errorf("done = %+v", done)
	}
}

func TestPullFailure(t *testing.T) {
	d := &Driver{name: driver.NameDocker}
	// Messages of Docker 20.10 and Podman 4.3.
	for message, want := range map[string]driver.Code{
		"manifest for orchion/none:latest not found: manifest unknown: manifest unknown":                                            driver.CodeImageNotFound,
		"pull access denied for nobody/none, repository does not exist or may require 'docker login'":                               driver.CodeImageNotFound,
		"initializing source docker://ghcr.io/a/b:1: reading manifest 1 in ghcr.io/a/b: denied":                                     driver.CodeImageDenied,
		"Get \"https://registry-1.docker.io/v2/\": dial tcp: lookup registry-1.docker.io on 127.0.0.53:53: no such host":            driver.CodeRegistryUnavailable,
		"toomanyrequests: You have reached your pull rate limit.":                                                                   driver.CodeRegistryUnavailable,
		"write /var/lib/docker/tmp/GetImageBlob1: no space left on device":                                                          driver.CodeNoSpace,
		"pinging container registry 127.0.0.1:1: Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused": driver.CodeRegistryUnavailable,
		"no matching manifest for linux/arm64/v8 in the manifest list entries":                                                      driver.CodeImageNotFound,
	} {
		err := d.pullFailure("docker.io/a/b:1", message)
		if got := driver.CodeOf(err); got != want {
			t.Errorf("%q: code %s, want %s", message, got, want)
		}
		if !strings.HasPrefix(err.Error(), "docker: pull image docker.io/a/b:1: "+message) {
			t.Errorf("message %q", err)
		}
	}
}

func frame(stream byte, data string) string {
	header := []byte{stream, 0, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(header[4:], uint32(len(data)))
	return string(header) + data
}

func TestLogLines(t *testing.T) {
	const stamp = "2026-01-02T03:04:05.678901234Z "
	at := time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC)
	long := strings.Repeat("y", driver.MaxLogText+10)
	entry := func(index int64, stream driver.Stream, text string, partial bool) driver.LogEntry {
		return driver.LogEntry{Index: index, Stream: stream, Time: at, Text: text, Partial: partial}
	}
	for _, tt := range []struct {
		name, in string
		want     []driver.LogEntry
		err      error
	}{
		{"nothing", "", nil, nil},
		{"lines", frame(1, stamp+"a b\n") + frame(2, stamp+"\n"),
			[]driver.LogEntry{entry(1, driver.Stdout, "a b", false), entry(2, driver.Stderr, "", false)}, nil},
		{"joined", frame(1, stamp+"he") + frame(2, stamp+"x\n") + frame(1, stamp+"llo\n"),
			[]driver.LogEntry{entry(1, driver.Stderr, "x", false), entry(2, driver.Stdout, "hello", false)}, nil},
		{"unended", frame(1, stamp+"he"), []driver.LogEntry{entry(1, driver.Stdout, "he", true)}, nil},
		{"cut", frame(1, stamp+long+"\n"),
			[]driver.LogEntry{entry(1, driver.Stdout, long[:driver.MaxLogText], true), entry(2, driver.Stdout, long[driver.MaxLogText:], false)}, nil},
		{"no time", frame(1, "plain\n"), []driver.LogEntry{{Index: 1, Stream: driver.Stdout, Text: "plain"}}, nil},
		{"cut off", frame(1, stamp+"a\n")[:20], nil, io.ErrUnexpectedEOF},
		{"engine's error", frame(3, "disk gone"), nil, errors.New("the engine failed while reading the output: disk gone")},
		{"noise", "\x09\x00\x00\x00\x00\x00\x00\x01x", nil, errors.New("output: 9 does not name a stream")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []driver.LogEntry
			lines := logLines{handle: func(e driver.LogEntry) error {
				got = append(got, e)
				return nil
			}}
			var err error
			for frames := newFrameReader(strings.NewReader(tt.in)); err == nil; {
				var p piece
				if p, err = frames.next(); err == nil {
					err = lines.piece(p)
				}
			}
			if errors.Is(err, io.EOF) {
				err = lines.end()
			}
			if fmt.Sprint(err) != fmt.Sprint(tt.err) {
				t.Errorf("error = %v, want %v", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("entries (-want +got):\n%s", diff)
			}
		})
	}
}

func TestVersionAtLeast(t *testing.T) {
	for version, want := range map[string]bool{"5.4.0": true, "5.10.1": true, "6.0.0-dev": true, "5.3.2": false, "4.9.4": false, "": false, "x.y": false} {
		if got := versionAtLeast(version, 5, 4); got != want {
			t.Errorf("versionAtLeast(%q) = %v", version, got)
		}
	}
}
