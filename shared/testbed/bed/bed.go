// Package bed provides the real engines that conformance tests run against: a
// Docker and a Podman on sockets of their own, in a folder of their own, with
// settings that work on a plain Debian machine, also inside a virtual machine or
// container with old control groups.
//
// An engine that already answers is used as it is, and not stopped: a second
// dockerd would take the bridge away from the first.
package bed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/orchion/orchion/shared/testbed/engine"
)

// Variables that tests read to find the engines.
const (
	DockerVar = "ORCHION_TEST_DOCKER_HOST"
	PodmanVar = "ORCHION_TEST_PODMAN_HOST"
	OllamaVar = "ORCHION_TEST_OLLAMA_BIN"
)

// Registries on 127.0.0.1 at these ports may speak plain HTTP to Podman; Docker
// allows that on all of 127.0.0.0/8.
const (
	FirstRegistryPort = 25500
	LastRegistryPort  = 25531
)

// startTimeout is how long an engine may take to answer for the first time.
const startTimeout = time.Minute

// UnavailableError says why this machine cannot have an engine.
type UnavailableError struct {
	Engine string
	Reason string
}

func (e *UnavailableError) Error() string { return e.Engine + ": " + e.Reason }

// Bed is the folder that holds the engines' data, sockets, logs and process ids.
type Bed struct{ Dir string }

// Default returns the bed that all checkouts on this machine share.
func Default() Bed { return Bed{Dir: filepath.Join(os.TempDir(), "orchion-bed")} }

// daemon is one engine that a bed can run.
type daemon struct {
	name    string
	program string
	// install says how to get it.
	install string
	// system is the socket of the machine's own engine.
	system string
	// command returns how to start it.
	command func(Bed) (*exec.Cmd, error)
	// cleanUp puts in order what it leaves behind when it stops; may be nil.
	cleanUp func(context.Context, Bed) error
}

func docker() daemon {
	return daemon{
		name: "docker", program: "dockerd", system: "/var/run/docker.sock",
		install: "apt-get install --no-install-recommends docker.io", command: dockerCommand,
	}
}

func podman() daemon {
	return daemon{
		name: "podman", program: "podman", system: "/run/podman/podman.sock",
		install: "apt-get install --no-install-recommends podman netavark aardvark-dns runc iptables",
		command: podmanCommand, cleanUp: podmanCleanUp,
	}
}

// Docker makes sure that a Docker answers and returns its host, as in
// DOCKER_HOST. It tells whether it had to start one. An *UnavailableError says
// why this machine cannot have one.
func (b Bed) Docker(ctx context.Context, log io.Writer) (host string, started bool, err error) {
	return b.up(ctx, docker(), log)
}

// Podman does the same for Podman.
func (b Bed) Podman(ctx context.Context, log io.Writer) (host string, started bool, err error) {
	return b.up(ctx, podman(), log)
}

func (b Bed) up(ctx context.Context, d daemon, log io.Writer) (host string, started bool, err error) {
	for _, socket := range []string{b.socket(d), d.system} {
		if answers(ctx, "unix://"+socket) {
			return "unix://" + socket, false, nil
		}
	}
	if os.Geteuid() != 0 {
		return "", false, &UnavailableError{d.name, "none answers at " + d.system + ", and starting one needs root"}
	}
	if _, err := exec.LookPath(d.program); err != nil {
		return "", false, &UnavailableError{d.name, "not installed; on Debian: " + d.install}
	}
	if err := b.start(ctx, d); err != nil {
		return "", false, fmt.Errorf("start %s: %w", d.name, err)
	}
	fmt.Fprintf(log, "started %s at unix://%s\n", d.name, b.socket(d))
	return "unix://" + b.socket(d), true, nil
}

func (b Bed) start(ctx context.Context, d daemon) error {
	if err := os.MkdirAll(b.Dir, 0o755); err != nil {
		return err
	}
	if err := os.Remove(b.socket(d)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	cmd, err := d.command(b)
	if err != nil {
		return err
	}
	logFile, err := os.Create(b.logFile(d))
	if err != nil {
		return err
	}
	defer logFile.Close()
	cmd.Stdout, cmd.Stderr = logFile, logFile
	detach(cmd)
	if err := cmd.Start(); err != nil {
		return err
	}
	pid := cmd.Process.Pid
	if err := os.WriteFile(b.pidFile(d), []byte(strconv.Itoa(pid)), 0o600); err != nil {
		return errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // for as long as we live; the daemon may outlive us

	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			return fmt.Errorf("it ended at once (%w); the end of %s:\n%s", err, b.logFile(d), tail(b.logFile(d)))
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("no answer within %s; see %s", startTimeout, b.logFile(d)), cmd.Process.Kill())
		case <-tick.C:
			if answers(ctx, "unix://"+b.socket(d)) {
				return nil
			}
		}
	}
}

// Down stops the engines that were started in this bed, and removes their
// containers. Engines that were there before are left alone.
func (b Bed) Down(ctx context.Context, log io.Writer) error {
	return errors.Join(b.StopDocker(ctx, log), b.StopPodman(ctx, log))
}

// StopDocker stops this bed's Docker, if it has one.
func (b Bed) StopDocker(ctx context.Context, log io.Writer) error { return b.stop(ctx, docker(), log) }

// StopPodman stops this bed's Podman, if it has one.
func (b Bed) StopPodman(ctx context.Context, log io.Writer) error { return b.stop(ctx, podman(), log) }

func (b Bed) stop(ctx context.Context, d daemon, log io.Writer) error {
	text, err := os.ReadFile(b.pidFile(d))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("stop %s: %w", d.name, err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("stop %s: %s holds no process id: %w", d.name, b.pidFile(d), err)
	}
	// Its containers would otherwise go on without it.
	if e, err := engine.Connect(ctx, "unix://"+b.socket(d)); err == nil {
		if err := errors.Join(e.RemoveContainers(ctx, ""), e.Close()); err != nil {
			fmt.Fprintf(log, "%s: %v\n", d.name, err)
		}
	}
	if err := terminate(ctx, pid, d.program); err != nil {
		return fmt.Errorf("stop %s: %w", d.name, err)
	}
	if d.cleanUp != nil {
		if err := d.cleanUp(ctx, b); err != nil {
			return fmt.Errorf("stop %s: %w", d.name, err)
		}
	}
	fmt.Fprintf(log, "stopped %s\n", d.name)
	for _, path := range []string{b.pidFile(d), b.socket(d)} {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("stop %s: %w", d.name, err)
		}
	}
	return nil
}

func (b Bed) socket(d daemon) string  { return filepath.Join(b.Dir, d.name+".sock") }
func (b Bed) pidFile(d daemon) string { return filepath.Join(b.Dir, d.name+".pid") }
func (b Bed) logFile(d daemon) string { return filepath.Join(b.Dir, d.name+".log") }

func answers(ctx context.Context, host string) bool {
	e, err := engine.Connect(ctx, host)
	if err != nil {
		return false
	}
	_ = e.Close()
	return true
}

func tail(path string) string {
	const most = 2000
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-most):])
}
