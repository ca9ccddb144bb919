package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// The job is to blame for what it wants to run, and for nothing that the machine lacks.
func TestStartCode(t *testing.T) {
	own := func(err error) error { return &startError{fmt.Errorf("/x cannot be run: %w", err)} }
	for _, tt := range []struct {
		err  error
		want driver.Code
	}{
		{own(syscall.ENOENT), driver.CodeInvalid},
		{own(syscall.EACCES), driver.CodeInvalid},
		{own(syscall.ENOEXEC), driver.CodeInvalid},
		{own(syscall.E2BIG), driver.CodeInvalid},
		{own(&fs.PathError{Op: "stat", Err: syscall.ENOTDIR}), driver.CodeInvalid},
		{own(syscall.EAGAIN), driver.CodeMachine},
		{own(syscall.ENOMEM), driver.CodeMachine},
		{own(syscall.ETXTBSY), driver.CodeMachine},
		{own(syscall.EIO), driver.CodeMachine},
		{own(syscall.ENOSPC), driver.CodeNoSpace},
		{syscall.ENOENT, driver.CodeMachine}, // of the supervisor's own files
		{syscall.EMFILE, driver.CodeMachine},
		{&fs.PathError{Op: "write", Err: syscall.ENOSPC}, driver.CodeNoSpace},
	} {
		if got := startCode(tt.err); got != tt.want {
			t.Errorf("%v is %s, want %s", tt.err, got, tt.want)
		}
	}
}

// A program that is being written just now can be run a moment later, or elsewhere.
func TestBusyProgramIsNoFaultOfTheJob(t *testing.T) {
	d := open(t, t.TempDir())
	path := filepath.Join(t.TempDir(), "busy")
	writeFile(t, path, "")
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.Chmod(0o700); err != nil {
		t.Fatal(err)
	}
	id, err := d.Create(t.Context(), program(path))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Start(t.Context(), id); driver.CodeOf(err) != driver.CodeMachine || !strings.Contains(err.Error(), "text file busy") {
		t.Errorf("error = %v", err)
	}
	// An agent that was restarted meanwhile learns as much.
	if exit, err := d.Wait(t.Context(), id); err != nil || !exit.NoFault || exit.Error == "" {
		t.Errorf("it ended with %+v, %v", exit, err)
	}
}

func TestSupervisorThatCannotBegin(t *testing.T) {
	for name, tt := range map[string]struct {
		supervisor []string
		want       driver.Code
	}{
		"is not there": {[]string{"/none"}, driver.CodeMachine},
		"dies":         {[]string{"/bin/false"}, driver.CodeMachine},
		"hangs":        {[]string{"/bin/sh", "-c", "exec sleep 1000"}, driver.CodeTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, t.TempDir())
			d.supervisor = tt.supervisor
			if tt.want == driver.CodeTimeout {
				d.startPatience = 50 * time.Millisecond
			}
			if err := d.Start(t.Context(), create(t, d, "p")); driver.CodeOf(err) != tt.want {
				t.Errorf("error = %v, want %s", err, tt.want)
			}
		})
	}
}

// A supervisor that has its lock and has not yet said so is killed once it has.
func TestRemoveWhileASupervisorBegins(t *testing.T) {
	d := open(t, t.TempDir())
	id := create(t, d, "p")
	lock, err := takeLock(d.path(id, lockFile))
	if err != nil {
		t.Fatal(err)
	}
	supervisor := exec.CommandContext(t.Context(), "/bin/sleep", "1000")
	if err := supervisor.Start(); err != nil {
		t.Fatal(err)
	}
	removed := make(chan error, 1)
	go func() { removed <- d.Remove(context.Background(), id) }()
	// It opens the lock when it has found nothing to be killed.
	for opened := 0; opened < 2; time.Sleep(time.Millisecond) {
		opened = 0
		fds, err := filepath.Glob("/proc/self/fd/*")
		if err != nil {
			t.Fatal(err)
		}
		for _, fd := range fds {
			if to, err := os.Readlink(fd); err == nil && to == d.path(id, lockFile) {
				opened++
			}
		}
	}
	if err := writeJSON(d.path(id, startedFile), started{Supervisor: supervisor.Process.Pid, StartedAt: time.Now()}); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := supervisor.Wait(); !errors.As(err, &exit) {
		t.Errorf("the supervisor ended with %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-removed; err != nil {
		t.Error(err)
	}
}

// Programs that go by the name by which they are called keep it behind a link.
func TestExecutableKeepsItsName(t *testing.T) {
	d := open(t, t.TempDir())
	s := driver.ContainerSpec{Command: []string{"/opt/bin/called"}, Executable: "/bin/sh", Args: []string{"-c", "tr '\\0' '\\n' </proc/$$/cmdline"}}
	if lines := output(t, d, begin(t, d, s)); len(lines) == 0 || lines[0] != "/opt/bin/called" {
		t.Errorf("it was called as %q", lines)
	}
}
