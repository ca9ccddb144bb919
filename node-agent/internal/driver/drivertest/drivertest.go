// Package drivertest is the conformance suite for implementations of [driver.Driver].
//
// It needs no registry: its image is made from one static Go program (package program),
// and pulls are tested against a small registry of its own on loopback.
package drivertest

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/driver/drivertest/program"
)

// The suite's image, and the label its containers carry so that they can be swept up.
const (
	ProgramImage = "orchion.test/program:1"
	testLabel    = driver.LabelPrefix + "test"
)

// Target is an implementation under test.
type Target struct {
	// Driver is closed by the caller, after the suite.
	Driver driver.Driver
	// Real says that containers are real processes, in namespaces and under limits.
	Real bool
	// MissesOOM says that the engine does not report containers killed for their memory.
	MissesOOM bool
	// Disturb, when not nil, does what other programs may do to the engine's networks.
	Disturb func(t *testing.T)
	// Otherwise, when not nil, reads logs of the same containers in another way, which must
	// give the same.
	Otherwise driver.Containers
	// Registry makes a reference to an image that the target can pull and does not have: it
	// puts one of size bytes into a registry, whose answer stops half way until resume is
	// called.
	Registry func(t *testing.T, name string, size int) (ref string, resume func())
	// Protected is Registry for one that wants a login, such as ProtectedRegistry.
	Protected func(t *testing.T, name, username, password string) (ref string)
}

// Run runs the suite. It leaves nothing on the engine.
func Run(t *testing.T, target Target) {
	t.Helper()
	s := newSuite(target)
	ctx := testContext(t)
	if err := ImportProgram(ctx, target.Driver, target.Real); err != nil {
		t.Fatalf("import the test image: %v", err)
	}
	t.Cleanup(func() {
		if err := Sweep(context.Background(), target.Driver, map[string]string{testLabel: s.run}); err != nil {
			t.Errorf("sweep: %v", err)
		}
	})
	t.Run("Info", s.testInfo)
	t.Run("Lifecycle", s.testLifecycle)
	t.Run("Command", s.testCommand)
	t.Run("ExitCodes", s.testExitCodes)
	t.Run("StartFailure", s.testStartFailure)
	t.Run("Stop", s.testStop)
	t.Run("Wait", s.testWait)
	t.Run("Remove", s.testRemove)
	t.Run("List", s.testList)
	t.Run("Errors", s.testErrors)
	t.Run("Canceled", s.testCanceled)
	t.Run("Logs", s.testLogs)
	t.Run("LogsFollow", s.testLogsFollow)
	t.Run("LogsLongLine", s.testLogsLongLine)
	t.Run("Attach", s.testAttach)
	t.Run("Exec", s.testExec)
	t.Run("Ports", s.testPorts)
	t.Run("OOM", s.testOOM)
	t.Run("Stats", s.testStats)
	t.Run("Volumes", s.testVolumes)
	t.Run("Files", s.testFiles)
	t.Run("CopyOut", s.testCopyOut)
	t.Run("Images", s.testImages)
	t.Run("Pull", s.testPull)
	t.Run("Login", s.testLogin)
	if target.Real {
		t.Run("Isolation", s.testIsolation)
		t.Run("Networks", s.testNetworks)
		t.Run("NetworksApart", s.testNetworksApart)
		t.Run("VolumeContent", s.testVolumeContent)
		t.Run("PutIntoVolume", s.testPutIntoVolume)
		t.Run("FileOwners", s.testFileOwners)
		t.Run("CopyOutHostile", s.testCopyOutHostile)
		t.Run("CopyOutMuch", s.testCopyOutMuch)
		t.Run("CopyOutVolume", s.testCopyOutVolume)
		t.Run("Tmpfs", s.testTmpfs)
		t.Run("WorkDir", s.testWorkDir)
		t.Run("Disk", s.testDisk)
		t.Run("Forks", s.testForks)
	}
}

// RunProcesses runs what of the suite is about programs rather than containers against what
// runs them on the machine itself. program is what CompileProgram made.
func RunProcesses(t *testing.T, processes driver.Containers, program string) {
	t.Helper()
	s := newSuite(Target{Driver: processesOnly{Containers: processes}, Real: true})
	s.program, s.noun = program, "process"
	t.Cleanup(func() {
		list, err := processes.List(context.Background(), map[string]string{testLabel: s.run})
		if err != nil || len(list) > 0 {
			t.Errorf("left behind: %v, %v", list, err)
		}
	})
	t.Run("Lifecycle", s.testLifecycle)
	t.Run("ExitCodes", s.testExitCodes)
	t.Run("StartFailure", s.testStartFailure)
	t.Run("Stop", s.testStop)
	t.Run("Wait", s.testWait)
	t.Run("Remove", s.testRemove)
	t.Run("List", s.testList)
	t.Run("Canceled", s.testCanceled)
	t.Run("Logs", s.testLogs)
	t.Run("LogsFollow", s.testLogsFollow)
	t.Run("LogsLongLine", s.testLogsLongLine)
}

// processesOnly is a driver.Driver without anything to do with images and volumes.
type processesOnly struct {
	driver.Containers
	driver.Images
	driver.Volumes
}

func (processesOnly) Info(context.Context) (driver.Info, error) { return driver.Info{}, nil }
func (processesOnly) Ping(context.Context) error                { return nil }
func (processesOnly) Close() error                              { return nil }

func newSuite(target Target) *suite {
	return &suite{Target: target, run: fmt.Sprintf("%d-%d", os.Getpid(), time.Now().UnixNano()), noun: "container"}
}

type suite struct {
	Target
	run string // value of testLabel
	// program is the test program's path on this machine, where it runs in no container.
	program string
	noun    string // what the errors call a container
	mu      sync.Mutex
	n       int
}

// testContext ends with the test, or when something hangs.
func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// Sweep removes all containers and volumes that carry labels.
func Sweep(ctx context.Context, d driver.Driver, labels map[string]string) error {
	list, err := d.List(ctx, labels)
	if err != nil {
		return err
	}
	for _, c := range list {
		if err := d.Remove(ctx, c.ID); err != nil {
			return err
		}
	}
	volumes, err := d.ListVolumes(ctx, labels)
	if err != nil {
		return err
	}
	for _, v := range volumes {
		if err := d.RemoveVolume(ctx, v.Name); err != nil {
			return err
		}
	}
	return nil
}

// spec makes a spec for the program with steps as its arguments.
func (s *suite) spec(steps ...string) driver.ContainerSpec {
	spec := driver.JobSpec(ProgramImage)
	spec.Args = steps
	if s.program != "" {
		spec.Image, spec.Command = "", []string{s.program}
	}
	spec.Labels = map[string]string{testLabel: s.run}
	return spec
}

func (s *suite) name(what string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	return fmt.Sprintf("orchion-test-%s-%s-%d", s.run, what, s.n)
}

func (s *suite) create(t *testing.T, spec driver.ContainerSpec) string {
	t.Helper()
	id, err := s.Driver.Create(testContext(t), spec)
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Driver.Remove(context.Background(), id); err != nil {
			t.Errorf("Remove: %v", err)
		}
	})
	return id
}

func (s *suite) start(t *testing.T, spec driver.ContainerSpec) string {
	t.Helper()
	id := s.create(t, spec)
	if err := s.Driver.Start(testContext(t), id); err != nil {
		t.Fatalf("Start: %v", err)
	}
	return id
}

func (s *suite) wait(t *testing.T, id string) driver.Exit {
	t.Helper()
	exit, err := s.Driver.Wait(testContext(t), id)
	if err != nil {
		t.Fatalf("Wait: %v", err)
	}
	return exit
}

// output runs a container to its end and gives its standard output.
func (s *suite) output(t *testing.T, spec driver.ContainerSpec) string {
	t.Helper()
	id := s.start(t, spec)
	if exit := s.wait(t, id); exit.Code != 0 {
		t.Errorf("exit code = %d; log: %+v", exit.Code, s.log(t, id, driver.LogOptions{}))
	}
	var out strings.Builder
	for _, e := range s.log(t, id, driver.LogOptions{}) {
		if e.Stream == driver.Stdout {
			out.WriteString(e.Text)
			if !e.Partial {
				out.WriteString("\n")
			}
		}
	}
	return out.String()
}

func (s *suite) log(t *testing.T, id string, opts driver.LogOptions) []driver.LogEntry {
	t.Helper()
	entries := logOf(t, s.Driver, id, opts)
	if s.Otherwise != nil {
		if diff := cmp.Diff(entries, logOf(t, s.Otherwise, id, opts)); diff != "" {
			t.Errorf("read in the other way, the log differs:\n%s", diff)
		}
	}
	return entries
}

func logOf(t *testing.T, d driver.Containers, id string, opts driver.LogOptions) []driver.LogEntry {
	t.Helper()
	var entries []driver.LogEntry
	err := d.Logs(testContext(t), id, opts, func(e driver.LogEntry) error {
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		t.Fatalf("Logs: %v", err)
	}
	return entries
}

// waitForLog returns once the container has written text as a line.
func (s *suite) waitForLog(t *testing.T, id, text string) {
	t.Helper()
	err := s.Driver.Logs(testContext(t), id, driver.LogOptions{Follow: true}, func(e driver.LogEntry) error {
		if e.Text == text {
			return io.EOF
		}
		return nil
	})
	if !errors.Is(err, io.EOF) {
		t.Fatalf("the log ended without %q: %v", text, err)
	}
}

// wantError checks code and message of an error.
func wantError(t *testing.T, err error, code driver.Code, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want code %s", code)
		return
	}
	if got := driver.CodeOf(err); got != code {
		t.Errorf("code = %s, want %s: %v", got, code, err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
}

// ImportProgram puts the suite's image onto an engine. built says whether it needs a real
// binary in it.
func ImportProgram(ctx context.Context, d driver.Driver, built bool) error {
	binary := []byte("not run")
	if built {
		var err error
		if binary, err = buildProgram(ctx); err != nil {
			return err
		}
	}
	return d.ImportImage(ctx, driver.ImageImport{
		Ref:        ProgramImage,
		RootFS:     bytes.NewReader(RootFS(map[string][]byte{program.Path: binary})),
		Entrypoint: []string{program.Path},
		Cmd:        []string{"out", "default"},
		Env:        map[string]string{"FROM_IMAGE": "yes", "PATH": "/bin"},
	})
}

// buildProgram compiles the program into a static binary for containers.
func buildProgram(ctx context.Context) ([]byte, error) {
	dir, err := os.MkdirTemp("", "orchion-program-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "program")
	if err := CompileProgram(ctx, path, "linux"); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// CompileProgram makes a static binary of the test program for an operating system.
func CompileProgram(ctx context.Context, path, goos string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", path,
		"github.com/orchion/orchion/node-agent/internal/driver/drivertest/program/cmd")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, out)
	}
	return nil
}

// RootFS makes a tar stream of executable files, beside an empty /tmp.
func RootFS(files map[string][]byte) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	write := func(h *tar.Header, data []byte) {
		h.Size = int64(len(data))
		if err := w.WriteHeader(h); err != nil {
			panic(err) // to a buffer: only a wrong header fails
		}
		if _, err := w.Write(data); err != nil {
			panic(err)
		}
	}
	write(&tar.Header{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777}, nil)
	for path, data := range files {
		write(&tar.Header{Name: strings.TrimPrefix(path, "/"), Typeflag: tar.TypeReg, Mode: 0o755}, data)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}
