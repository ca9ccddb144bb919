package docker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// Create implements driver.Containers.
func (d *Driver) Create(ctx context.Context, spec driver.ContainerSpec) (string, error) {
	const op = "create container"
	if err := spec.Validate(); err != nil {
		return "", d.invalid(op, spec.Name, err)
	}
	ref, err := d.resolveImage(ctx, op, spec.Image)
	if err != nil {
		return "", err
	}
	if ref == "" {
		return "", d.imageMissing(op+" from image", spec.Image, "pull it first")
	}
	if spec.GPUs.Wanted() {
		info, err := d.Info(ctx)
		if err != nil {
			return "", err
		}
		if !info.GPUs {
			return "", &driver.Error{
				Code: driver.CodeUnsupported, Engine: d.name, Op: op, Subject: spec.Name,
				Err: errors.New("no GPU can be given to containers here"), Hint: info.NoGPUReason,
			}
		}
	}
	network, err := d.networkMode(ctx, spec)
	if err != nil {
		return "", err
	}
	config, host := d.configs(spec, ref, network)
	id, err := d.create(ctx, spec.Name, config, host)
	if err != nil && host.Init != nil && lacksInit(err) {
		d.mu.Lock()
		d.noInit = true
		d.mu.Unlock()
		host.Init = nil
		id, err = d.create(ctx, spec.Name, config, host)
	}
	if err != nil && host.StorageOpt != nil && lacksQuota(err) {
		d.mu.Lock()
		d.noQuota = true
		d.mu.Unlock()
		host.StorageOpt = nil
		id, err = d.create(ctx, spec.Name, config, host)
	}
	if err != nil {
		return "", d.createFailure(ctx, op, spec.Name, err)
	}
	return id, nil
}

func (d *Driver) create(ctx context.Context, name string, config *container.Config, host *container.HostConfig) (string, error) {
	resp, err := d.cli.ContainerCreate(ctx, config, host, nil, nil, name)
	return resp.ID, err
}

func (d *Driver) createFailure(ctx context.Context, op, name string, err error) error {
	failure := d.fail(ctx, op, name, err)
	var e *driver.Error
	// Podman answers 500 for a name in use and for limits it does not take.
	if errors.As(failure, &e) && e.Code == driver.CodeInternal {
		switch text := err.Error(); {
		case strings.Contains(text, "already in use"):
			e.Code = driver.CodeConflict
		case strings.Contains(text, "unresolvable CDI devices"):
			e.Hint = "make the CDI specification anew, with UUIDs: nvidia-ctk cdi generate --device-name-strategy=uuid --device-name-strategy=index --output=/etc/cdi/nvidia.yaml"
		case strings.Contains(text, "invalid"):
			e.Code = driver.CodeInvalid
		}
	}
	return failure
}

// lacksInit recognises Podman's refusal of "init" where catatonit is not installed.
func lacksInit(err error) bool {
	return strings.Contains(err.Error(), "container-init binary") || strings.Contains(err.Error(), "init binary")
}

// lacksQuota recognises the refusal to bound the disk of a container: the engine's storage,
// or the file system below it, cannot.
func lacksQuota(err error) bool {
	text := strings.ToLower(err.Error())
	return strings.Contains(text, "storage-opt") || strings.Contains(text, "storage option") || strings.Contains(text, "quota")
}

// Start implements driver.Containers.
func (d *Driver) Start(ctx context.Context, id string) error {
	const op = "start container"
	if err := d.checkID(op, id); err != nil {
		return err
	}
	if err := d.checkIsolation(ctx); err != nil {
		return err
	}
	if err := d.cli.ContainerStart(ctx, id, container.StartOptions{}); err != nil {
		failure := d.fail(ctx, op, id, err)
		var e *driver.Error
		if errors.As(failure, &e) {
			// The runtime's word that the command is not in the image, or not executable.
			if text := err.Error(); strings.Contains(text, "executable file not found") ||
				strings.Contains(text, "no such file or directory") || strings.Contains(text, "permission denied") {
				if e.Code != driver.CodeUnavailable && !isPermission(err) {
					e.Code = driver.CodeInvalid
					e.Hint = "check the command: it must be an executable file in the image"
				}
			}
		}
		return failure
	}
	return nil
}

// Wait implements driver.Containers.
func (d *Driver) Wait(ctx context.Context, id string) (driver.Exit, error) {
	const op = "wait for container"
	c, err := d.inspect(ctx, op, id)
	if err != nil {
		return driver.Exit{}, err
	}
	switch c.State {
	case driver.StateExited:
		return c.Exit, nil
	case driver.StateCreated:
		return driver.Exit{}, &driver.Error{
			Code: driver.CodeConflict, Engine: d.name, Op: op, Subject: id,
			Err: errors.New("the container was never started"), Hint: "start it first",
		}
	}
	exit, err := d.waitOrLook(ctx, c.ID)
	if err != nil {
		return driver.Exit{}, d.fail(ctx, op, id, err)
	}
	ended, err := d.inspect(ctx, op, id)
	switch {
	case driver.CodeOf(err) == driver.CodeNotFound && exit.Error == "":
		return exit, nil // removed in the meantime; the code is known
	case err != nil:
		return driver.Exit{}, err
	}
	ended.Exit.Code = exit.Code
	return ended.Exit, nil
}

// waitOrLook waits until the engine says that the container has ended, or a look shows it.
func (d *Driver) waitOrLook(ctx context.Context, id string) (driver.Exit, error) {
	asking, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(nil)
	var found driver.Exit
	wg.Go(func() {
		d.watchEnd(asking, id, new(atomic.Int64), func(exit driver.Exit) {
			found = exit
			cancel(errEnded)
		})
	})
	// No race with the context here: its end makes the request fail, through failed.
	results, failed := d.cli.ContainerWait(asking, id, container.WaitConditionNotRunning)
	select {
	case result := <-results:
		exit := driver.Exit{Code: int(result.StatusCode)}
		if result.Error != nil {
			exit.Error = result.Error.Message
		}
		return exit, nil
	case err := <-failed:
		if errors.Is(context.Cause(asking), errEnded) {
			wg.Wait()
			return found, nil
		}
		return driver.Exit{}, err
	}
}

// Stop implements driver.Containers.
func (d *Driver) Stop(ctx context.Context, id string, grace time.Duration) error {
	const op = "stop container"
	if err := d.checkID(op, id); err != nil {
		return err
	}
	if grace <= 0 {
		return d.Kill(ctx, id) // Docker would send SIGTERM first even without any grace
	}
	seconds := int(math.Ceil(grace.Seconds()))
	if err := d.cli.ContainerStop(ctx, id, container.StopOptions{Timeout: &seconds}); err != nil {
		return d.unlessStopped(ctx, op, id, err)
	}
	return nil
}

// Kill implements driver.Containers.
func (d *Driver) Kill(ctx context.Context, id string) error {
	const op = "kill container"
	if err := d.checkID(op, id); err != nil {
		return err
	}
	if err := d.cli.ContainerKill(ctx, id, "SIGKILL"); err != nil {
		return d.unlessStopped(ctx, op, id, err)
	}
	return nil
}

// unlessStopped forgives an error about a container that does not run anyway: the engines
// say that in different ways.
func (d *Driver) unlessStopped(ctx context.Context, op, id string, err error) error {
	if c, inspectErr := d.inspect(ctx, op, id); inspectErr == nil && c.State != driver.StateRunning {
		return nil
	}
	return d.fail(ctx, op, id, err)
}

// removePoll is how often Remove looks whether a removal by someone else is through.
const removePoll = 100 * time.Millisecond

// Remove implements driver.Containers.
func (d *Driver) Remove(ctx context.Context, id string) error {
	const op = "remove container"
	if err := d.checkID(op, id); err != nil {
		return err
	}
	tick := time.NewTicker(removePoll)
	defer tick.Stop()
	for {
		err := d.cli.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
		switch {
		case err == nil || errdefs.IsNotFound(err):
			return nil
		case strings.Contains(err.Error(), "has dependent containers"):
			// Podman, of one whose network others have joined, ended or not.
			return &driver.Error{
				Code: driver.CodeConflict, Engine: d.name, Op: op, Subject: id, Err: err,
				Hint: "remove the containers that depend on it first",
			}
		case !errdefs.IsConflict(err): // a removal is already in progress
			return d.fail(ctx, op, id, err)
		}
		select {
		case <-ctx.Done():
			return d.fail(ctx, op, id, err)
		case <-tick.C:
		}
	}
}

// Inspect implements driver.Containers.
func (d *Driver) Inspect(ctx context.Context, id string) (driver.Container, error) {
	return d.inspect(ctx, "inspect container", id)
}

func (d *Driver) inspect(ctx context.Context, op, id string) (driver.Container, error) {
	if err := d.checkID(op, id); err != nil {
		return driver.Container{}, err
	}
	resp, err := d.cli.ContainerInspect(ctx, id)
	if err != nil {
		return driver.Container{}, d.fail(ctx, op, id, err)
	}
	if resp.ContainerJSONBase == nil || resp.State == nil || resp.Config == nil {
		return driver.Container{}, d.fail(ctx, op, id, errors.New("the engine's answer lacks the state"))
	}
	c := driver.Container{
		ID:         resp.ID,
		Name:       strings.TrimPrefix(resp.Name, "/"),
		Image:      resp.Config.Image,
		Labels:     resp.Config.Labels,
		State:      stateOf(resp.State.Status),
		CreatedAt:  engineTime(resp.Created),
		StartedAt:  engineTime(resp.State.StartedAt),
		FinishedAt: engineTime(resp.State.FinishedAt),
	}
	if c.State == driver.StateRunning {
		c.FinishedAt = time.Time{} // of an earlier run
		c.Ports = portsOf(resp.NetworkSettings)
	}
	if c.State == driver.StateExited {
		c.Exit = driver.Exit{
			Code:       resp.State.ExitCode,
			OOMKilled:  resp.State.OOMKilled,
			MaybeOOM:   resp.State.ExitCode == exitKilled && !resp.State.OOMKilled && resp.HostConfig != nil && resp.HostConfig.Memory > 0,
			Error:      resp.State.Error,
			FinishedAt: c.FinishedAt,
		}
	}
	return c, nil
}

// exitKilled is the exit code of a process that SIGKILL ended.
const exitKilled = 128 + 9

// List implements driver.Containers.
func (d *Driver) List(ctx context.Context, labels map[string]string) ([]driver.Container, error) {
	found, err := d.cli.ContainerList(ctx, container.ListOptions{All: true, Filters: labelFilter(labels)})
	if err != nil {
		return nil, d.fail(ctx, "list containers", "", err)
	}
	list := make([]driver.Container, 0, len(found))
	for _, s := range found {
		c := driver.Container{
			ID: s.ID, Image: s.Image, Labels: s.Labels,
			State: stateOf(s.State), CreatedAt: time.Unix(s.Created, 0),
		}
		if len(s.Names) > 0 {
			c.Name = strings.TrimPrefix(s.Names[0], "/")
		}
		if c.State == driver.StateRunning {
			for _, p := range s.Ports {
				if p.Type == "tcp" && p.PublicPort != 0 {
					c.Ports = append(c.Ports, driver.Port{Container: p.PrivatePort, Host: p.PublicPort})
				}
			}
		}
		list = append(list, c)
	}
	slices.SortStableFunc(list, func(a, b driver.Container) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return list, nil
}

func labelFilter(labels map[string]string) filters.Args {
	args := filters.NewArgs(filters.Arg("label", driver.LabelManaged+"=true"))
	for key, value := range labels {
		if value != "" {
			key += "=" + value
		}
		args.Add("label", key)
	}
	return args
}

// stateOf sorts the states of both engines; those Podman adds to Docker's are "configured",
// "initialized", "stopping" and "stopped".
func stateOf(status string) driver.State {
	switch status {
	case "created", "configured", "initialized":
		return driver.StateCreated
	case "running", "paused", "restarting", "stopping":
		return driver.StateRunning
	}
	return driver.StateExited
}

// engineTime parses an engine's time; what it writes for "never" becomes the zero time.
func engineTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.Year() <= 1 {
		return time.Time{}
	}
	return t
}

func portsOf(settings *container.NetworkSettings) []driver.Port {
	if settings == nil {
		return nil
	}
	var ports []driver.Port
	for port, bindings := range settings.Ports {
		if port.Proto() != "tcp" {
			continue
		}
		for _, b := range bindings {
			var host uint16
			if _, err := fmt.Sscanf(b.HostPort, "%d", &host); err == nil && host != 0 {
				ports = append(ports, driver.Port{Container: uint16(port.Int()), Host: host})
				break
			}
		}
	}
	slices.SortFunc(ports, func(a, b driver.Port) int { return int(a.Container) - int(b.Container) })
	return ports
}
