package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/plantedbug"
)

const (
	// quickRemoval is how long the end of an attempt that could not be started waits for
	// what is left of it to be removed.
	quickRemoval = 10 * time.Second
	// stopPatience is how much longer than its grace stopping a container may take, for the
	// engine may be restarted meanwhile.
	stopPatience = 2 * time.Minute
)

// errUnstoppable says that a container that was to be stopped may run on.
var errUnstoppable = errors.New("its container could not be stopped: the container engine does not answer")

// unstoppable is the error of a job that was to be stopped and could not be.
func (s *stopError) unstoppable() error {
	if s.reason == "" {
		return classed(orchionv1.FailureClass_FAILURE_CLASS_ENGINE, "%w", errUnstoppable)
	}
	return classed(s.class, "%s; %w", s.reason, errUnstoppable)
}

// startTries is how often starting a container is tried when the engine or the registry
// cannot be reached; then the attempt fails and the job's own retry policy has the word.
const startTries = 4

// runContainer runs a container job to its end, or takes over the container that already
// does. The outcome means nothing when the hold has ended.
func (a *attempt) runContainer(spec *orchionv1.JobSpec) outcome {
	if a.adopted && a.foundDigest != digest(spec) {
		// The orchestrator was set up anew and counts from the beginning.
		a.removeContainer(a.w.root, 0)
		a.startOver()
	}
	if !a.adopted {
		a.engine = a.w.engineFor(spec)
	}
	release, err := a.takeSlot()
	if err != nil {
		return a.notStarted(err)
	}
	defer release()
	startedAt := a.startedAt().AsTime()
	if a.adopted {
		a.relink(spec)
	} else if startedAt, err = a.startInTime(spec); err != nil {
		if a.hold.Err() == nil {
			// The engine may have made and started it all the same, and the lease of an
			// attempt that has ended stops nothing. An engine that hangs does not hold up
			// the end; removing then goes on after it.
			a.discard = true
			quick, cancel := context.WithTimeout(a.w.root, quickRemoval)
			a.removeContainer(quick, 0)
			cancel()
		}
		return a.notStarted(err)
	}
	if a.hold.Err() != nil {
		return outcome{}
	}
	a.running(startedAt)

	log := a.pushLog()
	exit, err := a.awaitExit()
	a.stopped()
	release()
	if a.hold.Err() != nil {
		return outcome{}
	}
	if err == nil {
		a.leaveNetwork(spec)
	}
	end := a.judge(spec, exit, err)
	if errors.Is(err, errUnstoppable) {
		a.discard = true
		return end // its log ends when it does
	}
	end.output = log.wait(a.hold)
	a.keepArtifacts(spec, &end)
	return end
}

// startInTime is startContainer within the time that the job has for it.
func (a *attempt) startInTime(spec *orchionv1.JobSpec) (time.Time, error) {
	end := a.limitStart()
	defer end()
	return a.startContainer(spec)
}

// takeSlot waits until one more container of a job may run. The function it returns gives
// the slot back, once however often it is called.
func (a *attempt) takeSlot() (release func(), err error) {
	slots := a.w.slots
	taken := slots.TryAcquire(1)
	// A container that runs already is not stopped for there being too many.
	if !taken && !a.adopted {
		a.preparing("waiting: this node runs %d jobs already", a.w.cfg.MaxContainers)
		if err := slots.Acquire(a.work, 1); err != nil {
			return nil, err
		}
		taken = true
	}
	return func() {
		if taken {
			slots.Release(1)
		}
		taken = false
	}, nil
}

// startContainer brings the container about and starts it.
func (a *attempt) startContainer(spec *orchionv1.JobSpec) (time.Time, error) {
	prepare := a.prepareContainer
	if spec.GetProcess() != nil {
		prepare = a.prepareProcess
	}
	wanted, err := prepare(spec)
	if err != nil {
		return time.Time{}, err
	}
	in, err := a.fetchInputs(spec.GetContainer())
	if err != nil {
		return time.Time{}, err
	}
	defer in.release()
	a.preparing("starting")
	// From here on the job may take effect, so that the lease must be beyond doubt.
	select {
	case <-a.leaseOK:
	case <-a.work.Done():
		return time.Time{}, a.work.Err()
	}
	a.borrowNetwork(spec, &wanted)
	err = a.bringUp(wanted, spec.GetContainer(), in)
	if err != nil && a.withoutNetwork(&wanted, err) {
		err = a.bringUp(wanted, spec.GetContainer(), in)
	}
	if err != nil {
		return time.Time{}, err
	}
	return time.Now(), nil
}

// bringUp makes the container and starts it. None of this is broken off when the job is to
// be stopped: what an engine does with such a request is not known, and might be left behind.
func (a *attempt) bringUp(wanted driver.ContainerSpec, spec *orchionv1.ContainerSpec, in inputs) error {
	if err := a.retry(func() error { return a.create(wanted) }); err != nil {
		return err
	}
	if err := a.retry(func() error { return a.putFiles(spec, in) }); err != nil {
		return err
	}
	return a.retry(func() error { return a.engine.Start(a.w.root, a.containerID) })
}

// prepareContainer brings about what a container needs, and says what it is to be.
func (a *attempt) prepareContainer(spec *orchionv1.JobSpec) (driver.ContainerSpec, error) {
	container := spec.GetContainer()
	if a.w.cfg.Driver == nil {
		return driver.ContainerSpec{}, classed(orchionv1.FailureClass_FAILURE_CLASS_ENGINE,
			"this node has no container engine: install Docker or Podman there, or constrain the job to nodes that have one")
	}
	if err := a.ensureImage(container); err != nil {
		return driver.ContainerSpec{}, err
	}
	if err := a.openLink(a.w.cfg.Links, container.GetModels()); err != nil {
		return driver.ContainerSpec{}, err
	}
	if err := a.retry(func() error { return a.ensureVolumes(container) }); err != nil {
		return driver.ContainerSpec{}, err
	}
	return a.containerSpec(spec), nil
}

func (a *attempt) ensureImage(container *orchionv1.ContainerSpec) error {
	policies := map[orchionv1.PullPolicy]driver.PullPolicy{
		orchionv1.PullPolicy_PULL_POLICY_ALWAYS: driver.PullAlways,
		orchionv1.PullPolicy_PULL_POLICY_NEVER:  driver.PullNever,
	}
	image := container.GetImage()
	login, err := a.login(container)
	if err != nil {
		return err
	}
	pull := driver.Pull{Policy: policies[container.GetPullPolicy()], Login: login}
	told := -1
	progress := func(p driver.PullProgress) {
		percent := int(p.Percent)
		if percent == told {
			return
		}
		told = percent
		a.preparing("pulling image %s, %d %%", image, percent)
	}
	err = a.retry(func() error {
		return a.w.cfg.Driver.EnsureImage(a.work, image, pull, progress)
	})
	if err == nil && told >= 0 && a.w.cfg.ImagePulled != nil {
		a.w.cfg.ImagePulled()
	}
	return err
}

// retry tries what may fail because something is out of reach for a moment.
func (a *attempt) retry(try func() error) error {
	wait := time.Second
	for n := 1; ; n++ {
		err := try()
		// One that hangs has had its time.
		if err == nil || n == startTries || !temporary(err) || driver.CodeOf(err) == driver.CodeTimeout {
			return err
		}
		a.w.cfg.Logger.Warn("starting an attempt failed, trying again", "job", a.key.jobID, "attempt", a.key.attempt, "error", err)
		if !pause(a.work, wait) {
			return err
		}
		wait *= 2
	}
}

// temporary says whether the same call may go through later.
func temporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

// pause waits for d, or less when the context ends, and says whether it still lives.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// create makes the container. One of the same name that is in the way can only be left
// over from this very attempt, created but never started.
func (a *attempt) create(wanted driver.ContainerSpec) error {
	engine, ctx := a.engine, a.w.root
	a.maybeMade = true
	id, err := engine.Create(ctx, wanted)
	if driver.CodeOf(err) == driver.CodeConflict {
		old, inspectErr := engine.Inspect(ctx, a.containerName())
		if inspectErr != nil || !a.made(old) || old.State != driver.StateCreated {
			return err
		}
		if err := engine.Remove(ctx, old.ID); err != nil {
			return err
		}
		id, err = engine.Create(ctx, wanted)
	}
	if err != nil {
		return err
	}
	a.containerID = id
	if a.work.Err() != nil {
		return a.work.Err()
	}
	return nil
}

// made says whether a container with the name of this attempt's is this attempt's.
func (a *attempt) made(c driver.Container) bool {
	return c.Labels[labelNode] == a.w.cfg.NodeID && c.Labels[labelJob] == a.key.jobID
}

// findMade looks for a container that was to be made, when nothing is known of it.
func (a *attempt) findMade(ctx context.Context) error {
	if a.containerID != "" || !a.maybeMade {
		return nil
	}
	c, err := a.engine.Inspect(ctx, a.containerName())
	switch {
	case driver.CodeOf(err) == driver.CodeNotFound:
	case err != nil:
		return err
	case a.made(c):
		a.containerID = c.ID
	}
	a.maybeMade = false
	return nil
}

func (a *attempt) containerName() string {
	return fmt.Sprintf("orchion-job-%s-%d", a.key.jobID, a.key.attempt)
}

func (a *attempt) containerSpec(spec *orchionv1.JobSpec) driver.ContainerSpec {
	container, resources := spec.GetContainer(), spec.GetResources()
	s := driver.JobSpec(container.GetImage())
	s.Name = a.containerName()
	s.Command = container.GetCommand()
	s.Args = container.GetArgs()
	s.Labels = a.labels(spec)
	s.Resources = driver.Resources{CPUMillis: resources.GetCpuMillis(), MemoryBytes: resources.GetMemoryBytes()}
	s.GPUs = driver.RequestGPUs(a.assignment.GetGpus(), int(resources.GetGpus()))
	s.LogBytes = a.w.cfg.LogBytes
	surround(&s, spec)
	if a.link != nil {
		s.Network = a.link.Network()
	}
	s.Env = a.environment(container.GetEnv())
	return s
}

// environment is what a job finds: what it asked for, and what Orchion tells it.
func (a *attempt) environment(own map[string]string) map[string]string {
	env := map[string]string{}
	if a.link != nil {
		env["OPENAI_BASE_URL"], env["OPENAI_API_KEY"] = a.link.BaseURL(), a.link.Key()
	}
	maps.Copy(env, own)
	env["ORCHION_JOB_ID"] = a.key.jobID
	env["ORCHION_JOB_NAME"] = a.assignment.GetName()
	env["ORCHION_ATTEMPT"] = strconv.Itoa(int(a.key.attempt))
	env["ORCHION_NODE_ID"] = a.w.cfg.NodeID
	if id := a.assignment.GetArrayId(); id != "" {
		env["ORCHION_ARRAY_ID"] = id
		env["ORCHION_ARRAY_INDEX"] = strconv.Itoa(int(a.assignment.GetArrayIndex()))
		env["ORCHION_ARRAY_COUNT"] = strconv.Itoa(int(a.assignment.GetArrayCount()))
	}
	return env
}

// openLink makes the way to the gateway for a job that may call models.
func (a *attempt) openLink(links Linker, models []string) error {
	if len(models) == 0 {
		return nil
	}
	if links == nil {
		return classed(orchionv1.FailureClass_FAILURE_CLASS_NODE, "this node cannot connect jobs with models")
	}
	a.preparing("connecting the job with the gateway")
	return a.retry(func() error {
		link, err := links.Open(a.work, a.key.jobID, int(a.key.attempt))
		if err != nil {
			// The link is the node's, whatever is wrong with it.
			return classed(classify(err, orchionv1.FailureClass_FAILURE_CLASS_NODE), "connect the job with the gateway: %w", err)
		}
		a.link = link
		return nil
	})
}

// relink takes over the link of a container that runs already. Without one the job goes
// on: its calls fail, and it may have made all of them.
func (a *attempt) relink(spec *orchionv1.JobSpec) {
	a.mu.Lock()
	ended := a.ended
	a.mu.Unlock()
	if ended {
		return
	}
	links, models := a.w.cfg.Links, spec.GetContainer().GetModels()
	if spec.GetProcess() != nil {
		links, models = a.w.cfg.ProcessLinks, spec.GetProcess().GetModels()
	}
	if err := a.openLink(links, models); err != nil && a.work.Err() == nil {
		a.w.cfg.Logger.Warn("a job that goes on after a restart of the agent has lost its way to the gateway",
			"job", a.key.jobID, "attempt", a.key.attempt, "error", err)
	}
}

// closeLink removes the link, if there is one.
func (a *attempt) closeLink(ctx context.Context) {
	if a.link == nil {
		return
	}
	a.cleanUpWithin(ctx, "remove the link of an attempt", a.link.Close)
	if ctx.Err() == nil {
		a.link = nil
	}
}

// awaitExit waits for the container to end, and stops it when it is to be stopped.
func (a *attempt) awaitExit() (driver.Exit, error) {
	exit, err := a.waitExit(a.work)
	if err == nil || a.work.Err() == nil {
		return exit, err
	}
	var request *stopError
	if !errors.As(context.Cause(a.work), &request) {
		return driver.Exit{}, err
	}
	stopping, cancel := context.WithTimeout(a.hold, request.grace+stopPatience)
	defer cancel()
	a.cleanUpWithin(stopping, "stop the container of an attempt", func(ctx context.Context) error {
		return a.engine.Stop(ctx, a.containerID, request.grace)
	})
	exit, err = a.waitExit(stopping)
	if err != nil && stopping.Err() != nil && a.hold.Err() == nil {
		err = request.unstoppable()
	}
	return exit, err
}

// waitExit waits for the container to end, over an engine that is restarted as well.
func (a *attempt) waitExit(ctx context.Context) (driver.Exit, error) {
	wait := time.Second
	for {
		exit, err := a.engine.Wait(ctx, a.containerID)
		if err == nil || ctx.Err() != nil || !temporary(err) {
			return exit, err
		}
		if !pause(ctx, wait) {
			return exit, err
		}
		wait = min(2*wait, 10*time.Second)
	}
}

// removeContainer stops the container, if there is one, and removes it, and then what it used
// the network of: never before, for it may still run there. What is not done can be done by
// another call, or by the next run of the agent.
func (a *attempt) removeContainer(ctx context.Context, grace time.Duration) {
	if (a.containerID != "" || a.maybeMade) && !plantedbug.On(plantedbug.LeavesContainers) {
		removed := a.cleanUpWithin(ctx, "remove the container of an attempt", func(ctx context.Context) error {
			if err := a.findMade(ctx); err != nil || a.containerID == "" {
				return err
			}
			if grace > 0 {
				if err := a.engine.Stop(ctx, a.containerID, grace); err != nil {
					return err
				}
			}
			return a.engine.Remove(ctx, a.containerID)
		})
		if !removed {
			return
		}
		a.containerID, a.maybeMade = "", false
	}
	a.closeNetwork(ctx)
	a.closeLink(ctx)
}

// cleanUpWithin does what must be done in the end, again and again while ctx lives and it
// may yet go through. False: it is not done.
func (a *attempt) cleanUpWithin(ctx context.Context, what string, f func(context.Context) error) bool {
	wait := time.Second
	for {
		err := f(ctx)
		switch {
		case ctx.Err() != nil:
			return false
		case err == nil || driver.CodeOf(err) == driver.CodeNotFound:
			return true
		}
		a.w.cfg.Logger.Warn("cleaning up after an attempt failed", "action", what, "job", a.key.jobID, "attempt", a.key.attempt, "error", err)
		if !temporary(err) || !pause(ctx, wait) {
			return false
		}
		wait = min(2*wait, 30*time.Second)
	}
}
