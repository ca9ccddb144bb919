package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/driver/drivertest"
)

// superviseVariable makes this test binary the supervisor of a process.
const superviseVariable = "ORCHION_TEST_SUPERVISE"

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == superviseVariable {
		if err := Supervise(os.Args[2], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// testProgram is the path of the driver tests' program. Nothing changes it after TestMain.
var testProgram string

func runTests(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "orchion-process-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	testProgram = filepath.Join(dir, "program")
	if err := drivertest.CompileProgram(context.Background(), testProgram, runtime.GOOS); err != nil {
		return 1, err
	}
	if code = m.Run(); code == 0 {
		// Supervisors end soon after their programs, but on a busy machine later than
		// goleak waits.
		for end := time.Now().Add(20 * time.Second); ; {
			if err = goleak.Find(); err == nil || time.Now().After(end) {
				break
			}
		}
	}
	return code, err
}

func open(t *testing.T, dir string) *Driver {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	d, err := Open(dir, []string{self, superviseVariable}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestConformance(t *testing.T) {
	drivertest.RunProcesses(t, open(t, t.TempDir()), testProgram)
}

// begin runs the program with steps and answers its id.
func begin(t *testing.T, d *Driver, s driver.ContainerSpec) string {
	t.Helper()
	id, err := d.Create(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Remove(context.Background(), id); err != nil {
			t.Error(err)
		}
	})
	if err := d.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	return id
}

func program(path string, steps ...string) driver.ContainerSpec {
	return driver.ContainerSpec{Command: append([]string{path}, steps...)}
}

// awaitLine returns once the process has printed a line, and gives it.
func awaitLine(t *testing.T, d *Driver, id string, want func(string) bool) string {
	t.Helper()
	var line string
	err := d.Logs(t.Context(), id, driver.LogOptions{Follow: true}, func(e driver.LogEntry) error {
		if want(e.Text) {
			line = e.Text
			return io.EOF
		}
		return nil
	})
	if !errors.Is(err, io.EOF) {
		t.Fatalf("the log ended: %v", err)
	}
	return line
}

func output(t *testing.T, d *Driver, id string) []string {
	t.Helper()
	var lines []string
	err := d.Logs(t.Context(), id, driver.LogOptions{Follow: true}, func(e driver.LogEntry) error {
		lines = append(lines, e.Text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func TestEnvironmentIsClean(t *testing.T) {
	t.Setenv("SECRET_OF_THE_AGENT", "hunter2")
	d := open(t, t.TempDir())
	s := program(testProgram, "env", "SECRET_OF_THE_AGENT", "env", "MINE", "env", "PATH", "whereami", "env", "HOME")
	s.Env = map[string]string{"MINE": "yes"}
	id := begin(t, d, s)
	lines := output(t, d, id)
	home := d.path(id, workFolder)
	if len(lines) != 5 || lines[0] != "" || lines[1] != "yes" || lines[2] == "" || lines[3] != home || lines[4] != home {
		t.Errorf("it found %q", lines)
	}
}

func TestWorkDir(t *testing.T) {
	d := open(t, t.TempDir())
	s := program(testProgram, "whereami")
	s.WorkDir = t.TempDir()
	if lines := output(t, d, begin(t, d, s)); len(lines) != 1 || lines[0] != s.WorkDir {
		t.Errorf("it began in %q, want %s", lines, s.WorkDir)
	}
	s.WorkDir = filepath.Join(s.WorkDir, "none")
	id, err := d.Create(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Start(t.Context(), id); driver.CodeOf(err) != driver.CodeInvalid || !strings.Contains(err.Error(), "is no folder to begin in") {
		t.Errorf("error = %v", err)
	}
	if err := d.Remove(t.Context(), id); err != nil {
		t.Error(err)
	}
}

func TestOnlyContainersCan(t *testing.T) {
	d := open(t, t.TempDir())
	for name, change := range map[string]func(*driver.ContainerSpec){
		"user":      func(s *driver.ContainerSpec) { s.User = "root" },
		"resources": func(s *driver.ContainerSpec) { s.Resources.MemoryBytes = 1 << 30 },
		"gpus":      func(s *driver.ContainerSpec) { s.GPUs.Count = 1 },
		"tmpfs":     func(s *driver.ContainerSpec) { s.Tmpfs = []driver.Tmpfs{{Target: "/x", SizeBytes: 1}} },
		"stdin":     func(s *driver.ContainerSpec) { s.OpenStdin = true },
	} {
		s := program("/bin/true")
		change(&s)
		if _, err := d.Create(t.Context(), s); driver.CodeOf(err) != driver.CodeUnsupported || !strings.Contains(err.Error(), name+": only a container") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := d.Create(t.Context(), program("sh")); driver.CodeOf(err) != driver.CodeInvalid || !strings.Contains(err.Error(), "command[0]") {
		t.Errorf("relative: %v", err)
	}
}

// Another run of the agent finds the process, its log from the beginning, and its end.
func TestTakenOver(t *testing.T) {
	dir := t.TempDir()
	s := program(testProgram, "out", "before", "sleep", "300ms", "out", "after", "exit", "9")
	s.Name, s.Labels = "job-1", map[string]string{"orchion.node": "n"}
	id := begin(t, open(t, dir), s)

	d := open(t, dir)
	list, err := d.List(t.Context(), map[string]string{"orchion.node": "n"})
	if err != nil || len(list) != 1 || list[0].ID != id || list[0].State != driver.StateRunning {
		t.Fatalf("found %+v, %v", list, err)
	}
	exit, err := d.Wait(t.Context(), id)
	if err != nil || exit.Code != 9 {
		t.Errorf("it ended with %+v, %v", exit, err)
	}
	if lines := output(t, d, id); strings.Join(lines, " ") != "before after" {
		t.Errorf("its log is %q", lines)
	}
	if err := d.Start(t.Context(), id); driver.CodeOf(err) != driver.CodeConflict {
		t.Errorf("starting it again: %v", err)
	}
}

// awaitLast waits until a line is in the log, however often others are removed.
func awaitLast(t *testing.T, d *Driver, id, line string) {
	t.Helper()
	for {
		err := d.Logs(t.Context(), id, driver.LogOptions{Follow: true}, func(e driver.LogEntry) error {
			if e.Text == line {
				return io.EOF
			}
			return nil
		})
		if errors.Is(err, io.EOF) {
			return
		}
		if !errors.Is(err, driver.ErrOvertaken) {
			t.Fatalf("the log ended: %v", err)
		}
	}
}

// A log over its limit keeps its end, and a reader that was overtaken is told.
func TestLogIsBounded(t *testing.T) {
	d := open(t, t.TempDir())
	const lines = 200_000
	s := program(testProgram, "lines", fmt.Sprint(lines), "wait")
	s.LogBytes = driver.MinLogBytes
	id := begin(t, d, s)
	first := true
	err := d.Logs(t.Context(), id, driver.LogOptions{Follow: true}, func(e driver.LogEntry) error {
		if first {
			first = false
			awaitLast(t, d, id, fmt.Sprintf("line %d", lines))
		}
		return nil
	})
	if !errors.Is(err, driver.ErrOvertaken) {
		t.Errorf("a reader that was left behind got %v", err)
	}
	if err := d.Kill(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	kept := output(t, d, id)
	if n := len(kept); n == 0 || n >= lines || kept[n-1] != fmt.Sprintf("line %d", lines) {
		t.Errorf("%d lines are kept", n)
	}
	files, size := 0, int64(0)
	entries, err := os.ReadDir(d.path(id, logFolder))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			files, size = files+1, size+info.Size()
		}
	}
	if files != maxSegments || size > driver.MinLogBytes {
		t.Errorf("%d files of %d bytes", files, size)
	}
}

func TestRemoveOfOneNeverStarted(t *testing.T) {
	d := open(t, t.TempDir())
	id, err := d.Create(t.Context(), program("/bin/true"))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	// A supervisor that comes too late begins nothing.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := Supervise(d.path(id), w); err == nil {
		t.Error("it was supervised after it was removed")
	}
}

func TestOpenTidiesUp(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".new-1", ".gone-2", "damaged"} {
		if err := os.MkdirAll(filepath.Join(dir, name, "deep"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	open(t, dir)
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	d := open(t, t.TempDir())
	id := begin(t, d, program(testProgram, "wait"))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := d.Wait(ctx, id); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error = %v", err)
	}
}
