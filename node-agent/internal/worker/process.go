package worker

import (
	"strings"

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

// prepareProcess asks the machine's policy for a process, brings about what it needs, and
// says what it is to be. What the scheduler knew of the policy may be old, and it knows the
// names of programs only: this is where the policy is kept.
func (a *attempt) prepareProcess(spec *orchionv1.JobSpec) (driver.ContainerSpec, error) {
	process := spec.GetProcess()
	if a.w.cfg.Processes == nil || a.w.cfg.Policy == nil {
		return driver.ContainerSpec{}, classed(orchionv1.FailureClass_FAILURE_CLASS_NODE, "this node runs no process jobs")
	}
	allowed := a.w.cfg.Policy.Current()
	grant, err := allowed.Allow(process.GetCommand(), process.GetArgs(), process.GetEnv(), process.GetWorkingDir())
	if err != nil {
		// Another node's policy may allow a program that this one's does not; what it is
		// given is most likely wrong everywhere.
		class := orchionv1.FailureClass_FAILURE_CLASS_INVALID
		if !allowed.Names(process.GetCommand()) {
			class = orchionv1.FailureClass_FAILURE_CLASS_NODE
		}
		return driver.ContainerSpec{}, classed(class, "%w", err)
	}
	if err := policy.Executable(grant.Path); err != nil {
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
		Name:     a.containerName(),
		Command:  []string{grant.Path},
		Args:     process.GetArgs(),
		Env:      env,
		Labels:   a.labels(spec),
		WorkDir:  grant.WorkingDir,
		LogBytes: a.w.cfg.LogBytes,
	}, nil
}
