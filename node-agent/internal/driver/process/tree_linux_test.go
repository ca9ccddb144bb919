package process

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// shell runs a script; it prints the ids of the processes that it leaves as "pid N".
func shell(script string) driver.ContainerSpec {
	return driver.ContainerSpec{Command: []string{"/bin/sh", "-c", script}}
}

// pidOf waits until the process has said its id.
func pidOf(t *testing.T, d *Driver, id string) int {
	t.Helper()
	line := awaitLine(t, d, id, func(text string) bool { return strings.HasPrefix(text, "pid ") })
	pid, err := strconv.Atoi(strings.TrimPrefix(line, "pid "))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// awaitGone waits until a process is no more, or a zombie that nobody has waited for yet.
func awaitGone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, state := parentOf(pid); state == 'X' || state == 'Z' {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %d lives on", pid)
		}
	}
}

// What a program left in a session of its own, twice forked, ends with it.
const daemonize = "setsid sh -c 'trap \"\" TERM; (trap \"\" TERM; sh -c \"echo pid \\$PPID\"; sleep 1000) & wait' & "

func TestNothingOutlivesItsProgram(t *testing.T) {
	for name, test := range map[string]struct {
		script string
		end    func(t *testing.T, d *Driver, id string)
		code   int
	}{
		"that ends": {daemonize + "while ! [ -e go ]; do sleep 0.01; done; exit 5", func(t *testing.T, d *Driver, id string) {
			if err := os.WriteFile(d.path(id, workFolder, "go"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, 5},
		"that is stopped": {daemonize + "exec sleep 1000", func(t *testing.T, d *Driver, id string) {
			if err := d.Stop(t.Context(), id, 5*time.Second); err != nil {
				t.Fatal(err)
			}
		}, 128 + 15},
		"that is killed": {daemonize + "trap '' TERM; sleep 1000; sleep 1000", func(t *testing.T, d *Driver, id string) {
			if err := d.Stop(t.Context(), id, 50*time.Millisecond); err != nil {
				t.Fatal(err)
			}
		}, 128 + 9},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, t.TempDir())
			id := begin(t, d, shell(test.script))
			pid := pidOf(t, d, id)
			test.end(t, d, id)
			exit, err := d.Wait(t.Context(), id)
			if err != nil || exit.Code != test.code {
				t.Errorf("it ended with %+v, %v, want code %d", exit, err, test.code)
			}
			awaitGone(t, pid)
		})
	}
}

// Children of the same group hear SIGTERM too.
func TestStopReachesTheGroup(t *testing.T) {
	d := open(t, t.TempDir())
	id := begin(t, d, shell("sh -c 'trap \"echo heard; exit 0\" TERM; echo pid $$; while :; do sleep 0.01; done' & trap 'wait; exit 3' TERM; wait"))
	pid := pidOf(t, d, id)
	if err := d.Stop(t.Context(), id, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, pid)
	if lines := output(t, d, id); !slices.Contains(lines, "heard") {
		t.Errorf("its log is %q", lines)
	}
}

// A supervisor that is killed takes its program with it, and what it left is killed; how it
// ended is not known, and is not made up.
func TestSupervisorKilled(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	id := begin(t, d, shell(daemonize+"exec sleep 1000"))
	pid := pidOf(t, d, id)
	var begun started
	if err := readJSON(d.path(id, startedFile), &begun); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(begun.Supervisor, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_, err := open(t, dir).Wait(t.Context(), id)
	if driver.CodeOf(err) != driver.CodeInternal || !errors.Is(err, errLost) {
		t.Errorf("error = %v", err)
	}
	awaitGone(t, pid)
}

// A supervisor that does not listen is killed with its program.
func TestSupervisorStopped(t *testing.T) {
	d := open(t, t.TempDir())
	d.killPatience = 100 * time.Millisecond
	id := begin(t, d, shell("echo pid $$; exec sleep 1000"))
	pid := pidOf(t, d, id)
	var begun started
	if err := readJSON(d.path(id, startedFile), &begun); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(begun.Supervisor, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := d.Kill(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, pid)
}
