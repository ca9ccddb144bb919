package fake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// ctr is one container. Its fields are guarded by the driver's mu, but for those that
// never change.
type ctr struct {
	id, image string
	spec      driver.ContainerSpec
	args      []string // entrypoint and arguments
	env       map[string]string
	createdAt time.Time

	info  driver.Container
	log   []driver.LogEntry
	grown chan struct{} // closed and replaced when log or state change
	proc  *Process      // of the current or last run
	taps  []*tap        // attachments
	stdin *stdinPipe
	files map[string]driver.File // by path
}

// Create implements driver.Containers.
func (d *Driver) Create(ctx context.Context, spec driver.ContainerSpec) (string, error) {
	const op = "create container"
	if err := spec.Validate(); err != nil {
		return "", d.fail(driver.CodeInvalid, op, spec.Name, "%w", err)
	}
	img, found, err := d.image(ctx, op, spec.Image)
	if err != nil {
		return "", err
	}
	if !found {
		return "", d.fail(driver.CodeImageNotFound, op+" from image", spec.Image, "the image is not on this machine")
	}
	if spec.GPUs.Wanted() && !d.opts.Info.GPUs {
		return "", d.fail(driver.CodeUnsupported, op, spec.Name, "no GPU can be given to containers here")
	}

	d.mu.Lock()
	defer d.mu.Unlock()
	d.created++
	id := fmt.Sprintf("%064x", d.created)
	if spec.Name == "" {
		spec.Name = fmt.Sprintf("fake_%d", d.created)
	}
	if other, err := d.findLocked(op, spec.Name); err == nil {
		return "", d.fail(driver.CodeConflict, op, spec.Name, "the name is already in use by container %s", other.id)
	}
	args := slices.Concat(img.Entrypoint, img.Cmd)
	switch {
	case len(spec.Command) > 0:
		args = slices.Concat(spec.Command, spec.Args)
	case len(spec.Args) > 0:
		args = slices.Concat(img.Entrypoint, spec.Args)
	}
	if len(args) == 0 {
		return "", d.fail(driver.CodeInvalid, op, spec.Name, "no command specified")
	}
	env := maps.Clone(img.Env)
	if env == nil {
		env = map[string]string{}
	}
	maps.Copy(env, spec.Env)
	for _, m := range spec.Mounts {
		if _, found := d.volumes[m.Source]; m.Kind == driver.MountVolume && !found {
			d.volumes[m.Source] = driver.Volume{Name: m.Source} // as the engines do, unlabelled
		}
	}
	c := &ctr{
		id: id, image: mustNormalize(spec.Image), spec: spec, args: args, env: env,
		grown: make(chan struct{}), createdAt: time.Now(), files: map[string]driver.File{},
	}
	c.info = driver.Container{
		ID: id, Name: spec.Name, Image: c.image, Labels: managed(spec.Labels),
		State: driver.StateCreated, CreatedAt: c.createdAt,
	}
	if spec.OpenStdin {
		c.stdin = newStdinPipe()
	}
	d.containers[id] = c
	return id, nil
}

// find looks a container up by id or name.
func (d *Driver) find(ctx context.Context, op, id string) (*ctr, error) {
	if err := d.checkID(ctx, op, id); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.findLocked(op, id)
}

func (d *Driver) findLocked(op, id string) (*ctr, error) {
	if c, found := d.containers[id]; found {
		return c, nil
	}
	for _, c := range d.containers {
		if c.info.Name == id {
			return c, nil
		}
	}
	return nil, d.fail(driver.CodeNotFound, op, id, "no such container")
}

// Start implements driver.Containers.
func (d *Driver) Start(ctx context.Context, id string) error {
	const op = "start container"
	c, err := d.find(ctx, op, id)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.info.State == driver.StateRunning {
		return nil
	}
	program, found := d.opts.Programs[c.args[0]]
	if !found {
		return d.fail(driver.CodeInvalid, op, id, "exec %q: executable file not found", c.args[0])
	}
	if other, shared := c.spec.Network.Container(); shared {
		if peer, err := d.findLocked(op, other); err != nil || peer.info.State != driver.StateRunning {
			return d.fail(driver.CodeConflict, op, id, "container %s, whose network it shares, does not run", other)
		}
	}
	p := newProcess(d, c)
	for _, port := range c.spec.Ports {
		if d.opts.Listen {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port.Host))
			if err != nil {
				p.closeListeners()
				return d.fail(driver.CodeConflict, op, id, "%w", err)
			}
			p.listeners[port.Container] = l
			if addr, ok := l.Addr().(*net.TCPAddr); ok {
				port.Host = uint16(addr.Port)
			}
		} else if port.Host == 0 {
			d.created++
			port.Host = uint16(40000 + d.created%20000)
		}
		p.ports = append(p.ports, port)
	}
	c.proc = p
	c.info.State, c.info.StartedAt, c.info.Ports = driver.StateRunning, time.Now(), p.ports
	c.info.FinishedAt, c.info.Exit = time.Time{}, driver.Exit{}
	c.changedLocked()
	d.running.Go(func() {
		code := program(p)
		d.mu.Lock()
		defer d.mu.Unlock()
		c.endLocked(p, driver.Exit{Code: code})
	})
	return nil
}

// changedLocked wakes everyone who waits for the container to change.
func (c *ctr) changedLocked() {
	close(c.grown)
	c.grown = make(chan struct{})
}

// endLocked ends the run p, if it has not ended yet.
func (c *ctr) endLocked(p *Process, exit driver.Exit) {
	if c.proc != p || c.info.State != driver.StateRunning {
		return
	}
	exit.FinishedAt = time.Now()
	c.info.State, c.info.Exit, c.info.FinishedAt = driver.StateExited, exit, exit.FinishedAt
	c.info.Ports = nil
	p.flushLocked()
	p.cancel()
	p.closeListeners()
	for _, t := range c.taps {
		t.end()
	}
	c.taps = nil
	if c.stdin != nil {
		c.stdin.close()
	}
	c.changedLocked()
}

func (c *ctr) killLocked() {
	if c.proc != nil {
		c.endLocked(c.proc, driver.Exit{Code: 128 + 9})
	}
}

// Wait implements driver.Containers.
func (d *Driver) Wait(ctx context.Context, id string) (driver.Exit, error) {
	const op = "wait for container"
	c, err := d.find(ctx, op, id)
	if err != nil {
		return driver.Exit{}, err
	}
	for {
		d.mu.Lock()
		state, exit, grown := c.info.State, c.info.Exit, c.grown
		d.mu.Unlock()
		switch state {
		case driver.StateExited:
			return exit, nil
		case driver.StateCreated:
			return driver.Exit{}, d.fail(driver.CodeConflict, op, id, "the container was never started")
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return driver.Exit{}, fmt.Errorf("%s %s: %w", op, id, ctx.Err())
		}
		if err := d.check(ctx, op, id); err != nil {
			return driver.Exit{}, err
		}
	}
}

// Stop implements driver.Containers.
func (d *Driver) Stop(ctx context.Context, id string, grace time.Duration) error {
	const op = "stop container"
	c, err := d.find(ctx, op, id)
	if err != nil {
		return err
	}
	d.mu.Lock()
	p, running := c.proc, c.info.State == driver.StateRunning
	d.mu.Unlock()
	if !running {
		return nil
	}
	if grace > 0 {
		p.terminate()
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-p.Context().Done():
			return nil
		case <-timer.C:
		case <-ctx.Done():
			return fmt.Errorf("%s %s: %w", op, id, ctx.Err())
		}
	}
	return d.Kill(ctx, id)
}

// Kill implements driver.Containers.
func (d *Driver) Kill(ctx context.Context, id string) error {
	c, err := d.find(ctx, "kill container", id)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	c.killLocked()
	return nil
}

// Remove implements driver.Containers.
func (d *Driver) Remove(ctx context.Context, id string) error {
	c, err := d.find(ctx, "remove container", id)
	if driver.CodeOf(err) == driver.CodeNotFound {
		return nil
	} else if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	c.killLocked()
	delete(d.containers, c.id)
	return nil
}

// Inspect implements driver.Containers.
func (d *Driver) Inspect(ctx context.Context, id string) (driver.Container, error) {
	c, err := d.find(ctx, "inspect container", id)
	if err != nil {
		return driver.Container{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return c.describeLocked(), nil
}

func (c *ctr) describeLocked() driver.Container {
	info := c.info
	info.Labels = maps.Clone(info.Labels)
	info.Ports = slices.Clone(info.Ports)
	return info
}

// List implements driver.Containers.
func (d *Driver) List(ctx context.Context, labels map[string]string) ([]driver.Container, error) {
	if err := d.check(ctx, "list containers", ""); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	list := []driver.Container{}
	for _, c := range d.containers {
		if carries(c.info.Labels, labels) {
			info := c.describeLocked()
			info.Exit = driver.Exit{}
			list = append(list, info)
		}
	}
	slices.SortFunc(list, func(a, b driver.Container) int { return strings.Compare(a.ID, b.ID) })
	return list, nil
}

// Stats implements driver.Containers. The CPU time is half of the time that has passed.
func (d *Driver) Stats(ctx context.Context, id string) (driver.Stats, error) {
	const op = "measure container"
	c, err := d.find(ctx, op, id)
	if err != nil {
		return driver.Stats{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.info.State != driver.StateRunning {
		return driver.Stats{}, d.fail(driver.CodeConflict, op, id, "the container does not run")
	}
	const machine = 16 << 30
	limit := uint64(machine)
	if c.spec.Resources.MemoryBytes > 0 {
		limit = uint64(c.spec.Resources.MemoryBytes)
	}
	return driver.Stats{
		Time: time.Now(), CPUTotal: time.Since(c.info.StartedAt) / 2,
		MemoryBytes: 1<<20 + uint64(c.proc.allocated), MemoryLimitBytes: limit, PIDs: 1,
	}, nil
}

// Logs implements driver.Containers.
func (d *Driver) Logs(ctx context.Context, id string, opts driver.LogOptions, handle func(driver.LogEntry) error) error {
	const op = "read log of container"
	c, err := d.find(ctx, op, id)
	if err != nil {
		return err
	}
	if opts.Exact != nil {
		opts.Exact()
	}
	for next := max(opts.Skip, 0); ; {
		d.mu.Lock()
		entries := slices.Clone(c.log[min(next, int64(len(c.log))):])
		state, grown := c.info.State, c.grown
		_, present := d.containers[c.id]
		d.mu.Unlock()
		for _, e := range entries {
			if err := handle(e); err != nil {
				return err
			}
		}
		next += int64(len(entries))
		if len(entries) > 0 {
			continue
		}
		if !opts.Follow || state == driver.StateExited || !present {
			return nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return fmt.Errorf("%s %s: %w", op, id, ctx.Err())
		}
		if err := d.check(ctx, op, id); err != nil {
			return err
		}
	}
}

// Attach implements driver.Containers.
func (d *Driver) Attach(ctx context.Context, id string) (*driver.Attachment, error) {
	const op = "attach to container"
	c, err := d.find(ctx, op, id)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.info.State == driver.StateExited {
		return nil, d.fail(driver.CodeConflict, op, id, "the container does not run")
	}
	t := newTap()
	c.taps = append(c.taps, t)
	var in io.WriteCloser
	if c.stdin != nil {
		in = stdinWriter{pipe: c.stdin}
	}
	return driver.NewAttachment(in, t.stdout.r, t.stderr.r, func() error {
		d.mu.Lock()
		c.taps = slices.DeleteFunc(c.taps, func(other *tap) bool { return other == t })
		d.mu.Unlock()
		t.end()
		if in == nil {
			return nil
		}
		return in.Close()
	}), nil
}

// Exec implements driver.Containers.
func (d *Driver) Exec(ctx context.Context, id string, command []string) (*driver.Attachment, error) {
	const op = "run command in container"
	if err := driver.ValidateCommand(command); err != nil {
		return nil, d.fail(driver.CodeInvalid, op, id, "%w", err)
	}
	c, err := d.find(ctx, op, id)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.info.State != driver.StateRunning {
		return nil, d.fail(driver.CodeConflict, op, id, "the container does not run")
	}
	program, found := d.opts.Programs[command[0]]
	if !found {
		return nil, d.fail(driver.CodeInvalid, op, id, "exec %q: executable file not found", command[0])
	}
	t := newTap()
	p := newProcess(d, c)
	p.args, p.stdin = command[1:], newStdinPipe()
	p.stdout.only, p.stderr.only = t, t
	stop := context.AfterFunc(c.proc.ctx, func() { // the container's end is the process's, too
		p.cancel()
		p.stdin.close()
	})
	d.running.Go(func() {
		defer stop()
		program(p)
		p.cancel()
		t.end()
	})
	return driver.NewAttachment(stdinWriter{pipe: p.stdin}, t.stdout.r, t.stderr.r, func() error {
		t.end()
		p.stdin.close()
		return nil
	}), nil
}

func drain(r io.Reader) error {
	if r == nil {
		return errors.New("no root file system")
	}
	_, err := io.Copy(io.Discard, r)
	return err
}
