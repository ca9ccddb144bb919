package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/policy"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// Policy says what the machine's owner allows.
type Policy interface {
	// Current is what is allowed now.
	Current() *policy.Policy
}

// engineFor is what runs the jobs of a kind; nil: there is none.
func (w *Worker) engineFor(spec *orchionv1.JobSpec) driver.Containers {
	switch {
	case spec.GetProcess() != nil:
		return w.cfg.Processes
	case w.cfg.Driver != nil:
		return w.cfg.Driver
	default:
		return nil
	}
}

// noun is what a job runs in, for people.
func noun(spec *orchionv1.JobSpec) string {
	if spec.GetProcess() != nil {
		return "process"
	}
	return "container"
}

const (
	// askPatience is how long looking at the files that a policy names may take: a network
	// file system that is gone does not answer, and cannot be told to.
	askPatience = 30 * time.Second
	// maxAsking bounds how many such looks there are at once, with those that are given up.
	maxAsking = 32
)

// ask asks the policy for a process, and gives what it may run and the file that is to be
// run for it.
func (w *Worker) ask(ctx context.Context, allowed *policy.Policy, process *orchionv1.ProcessSpec) (policy.Grant, string, error) {
	var grant policy.Grant
	var executable string
	err := w.look(ctx, func() (err error) {
		grant, err = allowed.Allow(process.GetCommand(), process.GetArgs(), process.GetEnv(), process.GetWorkingDir())
		if err == nil {
			executable, err = policy.Executable(grant.Path)
		}
		return err
	})
	if err != nil {
		return policy.Grant{}, "", err // what a look that was given up writes is not read
	}
	return grant, executable, nil
}

// look calls what looks at files and waits for it, but not for ever.
func (w *Worker) look(ctx context.Context, f func() error) error {
	bounded, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	answered := make(chan error, 1)
	select {
	case w.asking <- struct{}{}:
		go func() {
			defer func() { <-w.asking }()
			answered <- f()
		}()
	case <-bounded.Done():
	}
	select {
	case err := <-answered:
		return err
	case <-bounded.Done():
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return fmt.Errorf("the files that this node's policy names do not answer for %s: a network file system may be gone", askPatience)
}

// prepareProcess asks the machine's policy for a process, brings about what it needs, and
// says what it is to be. What the scheduler knew of the policy may be old, and it knows the
// names of programs only: this is where the policy is kept.
func (a *attempt) prepareProcess(spec *orchionv1.JobSpec) (driver.ContainerSpec, error) {
	process := spec.GetProcess()
	if a.w.cfg.Processes == nil || a.w.cfg.Policy == nil {
		return driver.ContainerSpec{}, classed(orchionv1.FailureClass_FAILURE_CLASS_NODE, "this node runs no process jobs")
	}
	allowed := a.w.cfg.Policy.Current()
	grant, executable, err := a.w.ask(a.work, allowed, process)
	var refusal *policy.RefusalError
	if errors.As(err, &refusal) {
		// Another node's policy may allow a program that this one's does not; what it is
		// given is most likely wrong everywhere.
		class := orchionv1.FailureClass_FAILURE_CLASS_INVALID
		if !allowed.Names(process.GetCommand()) {
			class = orchionv1.FailureClass_FAILURE_CLASS_NODE
		}
		return driver.ContainerSpec{}, classed(class, "%w", err)
	}
	if err != nil {
		return driver.ContainerSpec{}, classed(orchionv1.FailureClass_FAILURE_CLASS_NODE, "%w", err)
	}
	if err := a.openLink(a.w.cfg.ProcessLinks, process.GetModels()); err != nil {
		return driver.ContainerSpec{}, err
	}
	env := a.environment(process.GetEnv())
	// Which GPUs are its own, for programs that heed it: nothing else keeps it from others.
	if gpus := a.assignment.GetGpus(); len(gpus) > 0 {
		env["CUDA_VISIBLE_DEVICES"] = strings.Join(gpus, ",")
	}
	return driver.ContainerSpec{
		Name:       a.containerName(),
		Command:    []string{grant.Path},
		Executable: executable,
		Args:       process.GetArgs(),
		Env:        env,
		Labels:     a.labels(spec),
		WorkDir:    grant.WorkingDir,
		LogBytes:   a.w.cfg.LogBytes,
	}, nil
}
