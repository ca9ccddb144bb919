package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/orchion/orchion/shared/cmd/dev/internal/program"
	"github.com/orchion/orchion/shared/testbed/bed"
	"github.com/orchion/orchion/shared/testbed/engine"
)

// engineSetup is how the node agents of a run get at a container engine.
type engineSetup struct {
	// env tells them where it is, when it is not in a usual place.
	env []string
	// stop stops it again when it was started for this run.
	stop func(context.Context) error
}

// ensureEngine looks for a container engine. When none answers, it installs and
// starts one if --yes allows it. Without one a demo cannot work; anything else
// can.
func ensureEngine(ctx context.Context, o runOptions) (engineSetup, error) {
	none := engineSetup{stop: func(context.Context) error { return nil }}
	if found := engine.Find(ctx); len(found) > 0 {
		for _, e := range found {
			fmt.Printf("container engine: %s %s at %s\n", e.Name, e.Version, e.Host)
			_ = e.Close() // it was only asked
		}
		return none, nil
	}
	plan := planEngine(machine{
		os: runtime.GOOS, root: os.Geteuid() == 0, found: program.Found, systemd: hasSystemd(), user: os.Getenv("USER"),
	})
	if !o.yes {
		advice := "no container engine answers. To get one:\n\n" + plan.String() + "\nor let --yes do that"
		if o.demo {
			return none, errors.New(advice)
		}
		fmt.Println("Models and container jobs will not run:", advice)
		return none, nil
	}
	if plan.unknown {
		return none, errors.New("--yes: no way known to install a container engine here; " + plan.String())
	}
	for _, step := range plan.steps {
		fmt.Println("running:", strings.Join(step, " "))
		if err := program.Run(ctx, program.Command{Name: step[0], Args: step[1:]}); err != nil {
			return none, fmt.Errorf("get a container engine: %w", err)
		}
	}
	if !plan.daemon {
		if found := engine.Find(ctx); len(found) == 0 {
			return none, errors.New("a container engine was installed but does not answer; start it, or log in again, and try again")
		}
		return none, nil
	}
	// No service manager: it runs for as long as we do.
	b := bed.Default()
	host, started, err := b.Docker(ctx, os.Stdout)
	if err != nil {
		return none, fmt.Errorf("start a container engine: %w", err)
	}
	setup := engineSetup{env: []string{"DOCKER_HOST=" + host}, stop: none.stop}
	if started {
		setup.stop = func(ctx context.Context) error { return b.StopDocker(ctx, os.Stdout) }
	}
	return setup, nil
}

// machine is what decides how an engine is installed.
type machine struct {
	os      string
	root    bool
	found   func(program string) bool
	systemd bool
	user    string
}

// enginePlan is how to get a container engine.
type enginePlan struct {
	steps [][]string
	// daemon tells that dockerd then has to be started by hand.
	daemon bool
	// unknown tells that there is no plan but to read.
	unknown bool
}

func (p enginePlan) String() string {
	var b strings.Builder
	for _, step := range p.steps {
		b.WriteString("    " + strings.Join(step, " ") + "\n")
	}
	if p.daemon {
		b.WriteString("    dockerd &        (as root)\n")
	}
	if p.unknown {
		b.WriteString("    see https://podman.io/docs/installation or https://docs.docker.com/engine/install/\n")
	}
	return b.String()
}

// planEngine chooses the shortest way to an engine that this system's own
// package manager has.
func planEngine(m machine) enginePlan {
	sudo := func(step ...string) []string {
		if m.root {
			return step
		}
		return append([]string{"sudo"}, step...)
	}
	switch {
	case m.os == "darwin" && m.found("brew"):
		return enginePlan{steps: [][]string{
			{"brew", "install", "podman"}, {"podman", "machine", "init", "--now"},
		}}
	case m.os == "windows" && m.found("winget"):
		return enginePlan{steps: [][]string{
			{"winget", "install", "--exact", "--id", "RedHat.Podman"}, {"podman", "machine", "init", "--now"},
		}}
	case m.os != "linux":
		return enginePlan{unknown: true}
	}

	var plan enginePlan
	switch {
	case m.found("dockerd"): // it only has to be started
	case m.found("apt-get"):
		plan.steps = [][]string{
			sudo("apt-get", "update"),
			sudo("apt-get", "-o", "DPkg::Lock::Timeout=500", "install", "-y", "--no-install-recommends", "docker.io", "iptables"),
		}
	case m.found("pacman"):
		plan.steps = [][]string{sudo("pacman", "-S", "--noconfirm", "docker")}
	case m.found("zypper"):
		plan.steps = [][]string{sudo("zypper", "--non-interactive", "install", "docker")}
	case m.found("dnf") && m.systemd:
		// Fedora and its kin have Podman, whose service needs no root.
		return enginePlan{steps: [][]string{
			sudo("dnf", "install", "-y", "podman"), {"systemctl", "--user", "enable", "--now", "podman.socket"},
		}}
	default:
		return enginePlan{unknown: true}
	}
	switch {
	case m.systemd:
		plan.steps = append(plan.steps, sudo("systemctl", "enable", "--now", "docker"))
		if !m.root {
			plan.steps = append(plan.steps, []string{"sudo", "usermod", "-aG", "docker", m.user})
		}
	case m.root:
		plan.daemon = true
	default:
		plan.daemon, plan.unknown = true, true
	}
	return plan
}

func hasSystemd() bool {
	_, err := os.Stat("/run/systemd/system")
	return err == nil
}
