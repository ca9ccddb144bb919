package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/orchion/orchion/shared/testbed/ways"
)

// ownNetwork is set in the environment of the process that has a network
// namespace of its own.
const ownNetwork = "ORCHION_FAULTS_OWN_NETWORK"

func inOwnNetwork() bool { return os.Getenv(ownNetwork) != "" }

// enterNetwork runs this program again in a network namespace of its own, where
// the packet filter is nobody else's, and exits as it did. It returns where that
// is not possible, with the reason, and in the process that is there already.
func enterNetwork() error {
	if inOwnNetwork() {
		return loopbackUp()
	}
	if os.Geteuid() != 0 {
		return errors.New("a network namespace of its own needs root")
	}
	if _, err := exec.LookPath("iptables"); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	// Interrupts reach both, and the other one cleans up.
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(interrupts)
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), ownNetwork+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("a network namespace of its own: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-interrupts:
			_ = cmd.Process.Signal(s) // it may have ended just now
		case err := <-ended:
			var status *exec.ExitError
			if err != nil && !errors.As(err, &status) {
				return err
			}
			os.Exit(cmd.ProcessState.ExitCode())
		}
	}
}

// loopbackUp brings up the one interface of a new network namespace.
func loopbackUp() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("bring up the loopback interface: %w", err)
	}
	return nil
}

// filter is a way that the kernel's packet filter can close: packets are lost
// without an answer, and TCP on both sides does what it does about that.
type filter struct {
	ip, port string
}

// newFilter gives a machine an address of its own at which the orchestrator is.
func newFilter(n int, orchestrator string) (*filter, error) {
	host, port, err := net.SplitHostPort(orchestrator)
	if err != nil {
		return nil, err
	}
	f := &filter{ip: fmt.Sprintf("127.0.%d.%d", 1+n/250, 1+n%250), port: port}
	return f, iptables("-t", "nat", "-A", "OUTPUT", "-p", "tcp", "-d", f.ip, "--dport", port, "-j", "DNAT", "--to-destination", host)
}

func (f *filter) Address() string { return net.JoinHostPort(f.ip, f.port) }

// rule is about the packets of one direction.
func (f *filter) rule(way ways.Direction, action ...string) []string {
	side := map[ways.Direction]string{ways.Up: "ORIGINAL", ways.Down: "REPLY"}[way]
	return slices.Concat([]string{"INPUT", "-p", "tcp", "-m", "conntrack", "--ctorigdst", f.ip, "--ctorigdstport", f.port, "--ctdir", side, "-j"}, action)
}

func (f *filter) Hold(directions ...ways.Direction) (release func(), err error) {
	return f.apply(directions, "DROP")
}

// Reset answers what the node agent sends next as if nothing were known of it.
func (f *filter) Reset() error {
	release, err := f.apply([]ways.Direction{ways.Up}, "REJECT", "--reject-with", "tcp-reset")
	if err != nil {
		return err
	}
	time.Sleep(time.Second) // a heartbeat's interval: something is sent
	release()
	return nil
}

func (f *filter) apply(directions []ways.Direction, action ...string) (release func(), err error) {
	release = func() {
		for _, way := range directions {
			if err := iptables(append([]string{"-D"}, f.rule(way, action...)...)...); err != nil {
				panic(fmt.Sprintf("the network cannot be mended: %v", err)) // nothing that follows would mean anything
			}
		}
	}
	for i, way := range directions {
		if err := iptables(append([]string{"-A"}, f.rule(way, action...)...)...); err != nil {
			directions = directions[:i]
			release()
			return nil, err
		}
	}
	return release, nil
}

// Close has nothing to do: the rules end with the namespace.
func (f *filter) Close() {}

func iptables(args ...string) error {
	out, err := exec.CommandContext(context.Background(), "iptables", append([]string{"-w"}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("iptables %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
