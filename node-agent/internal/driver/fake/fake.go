// Package fake is a [driver.Driver] in memory, whose containers run Go functions.
//
// It keeps the contract that drivertest checks on real engines, and adds what tests need
// besides: programs instead of images, registries whose pulls take time and fail, engines
// that go away. All its waiting is on channels and timers, so it runs under
// testing/synctest; only Options.Listen opens real sockets.
package fake

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// Options configures a fake engine.
type Options struct {
	// Info is what Info answers; its zero fields get the values of a plain Docker.
	Info driver.Info
	// Programs are the executables that images may hold, by path.
	Programs map[string]Program
	// Listen makes published ports real sockets on 127.0.0.1, which programs accept
	// connections from through Process.Listen. Without it they are numbers only.
	Listen bool
}

// Program is the main function of a container; it returns the exit code. It must return
// once the process's context ends.
type Program func(p *Process) int

// Driver is a fake engine.
type Driver struct {
	opts Options

	mu         sync.Mutex // guards what follows
	images     map[string]Image
	remote     map[string]RemoteImage
	containers map[string]*ctr // by id
	volumes    map[string]driver.Volume
	created    int
	down       error
	hanging    chan struct{} // closed when it hangs no more; nil: it does not
	running    sync.WaitGroup
}

var _ driver.Driver = (*Driver)(nil)

// Image is the configuration of an image.
type Image struct {
	Entrypoint, Cmd []string
	Env             map[string]string
}

// RemoteImage is an image in a registry.
type RemoteImage struct {
	Image
	// SizeBytes come in Steps equal parts, one each Step of time.
	SizeBytes int64
	Steps     int
	Step      time.Duration
	// Err fails the pull after half of the steps.
	Err error
	// Login must be shown, unless it is zero.
	Login driver.Login
}

// New makes an engine without images and containers. Close stops what runs in it.
func New(opts Options) *Driver {
	if opts.Info.Name == "" {
		opts.Info.Name = driver.NameDocker
	}
	if opts.Info.Version == "" {
		opts.Info.Version = "0.0.0-fake"
	}
	if opts.Info.Endpoint == "" {
		opts.Info.Endpoint = "fake://"
	}
	if opts.Info.OS == "" {
		opts.Info.OS, opts.Info.Arch = "linux", "amd64"
	}
	if !opts.Info.GPUs && opts.Info.NoGPUReason == "" {
		opts.Info.NoGPUReason = "this engine is a fake without GPUs"
	}
	return &Driver{
		opts:       opts,
		images:     map[string]Image{},
		remote:     map[string]RemoteImage{},
		containers: map[string]*ctr{},
		volumes:    map[string]driver.Volume{},
	}
}

// AddImage puts an image onto the machine. It panics when ref is no reference.
func (d *Driver) AddImage(ref string, img Image) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.images[mustNormalize(ref)] = img
}

// AddRemoteImage puts an image into the registry. It panics when ref is no reference.
func (d *Driver) AddRemoteImage(ref string, img RemoteImage) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.remote[mustNormalize(ref)] = img
}

// SetDown makes every call fail as if the engine were gone, for the reason err; nil brings
// it back. Containers go on running, as they do when a daemon is restarted.
func (d *Driver) SetDown(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.down = err
}

// SetHanging makes every call wait, as if the engine were stopped, until it is called with
// false or the call's context ends. Containers go on running.
func (d *Driver) SetHanging(hanging bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case hanging && d.hanging == nil:
		d.hanging = make(chan struct{})
	case !hanging && d.hanging != nil:
		close(d.hanging)
		d.hanging = nil
	}
}

func mustNormalize(ref string) string {
	full, err := driver.NormalizeReference(ref)
	if err != nil {
		panic(err)
	}
	return full
}

// Close implements driver.Driver. Unlike a real engine it kills what still runs, and
// waits for that, so that a test leaves nothing behind.
func (d *Driver) Close() error {
	d.mu.Lock()
	for _, c := range d.containers {
		c.killLocked()
	}
	d.mu.Unlock()
	d.running.Wait()
	return nil
}

// Info implements driver.Driver.
func (d *Driver) Info(ctx context.Context) (driver.Info, error) {
	if err := d.check(ctx, "describe engine", ""); err != nil {
		return driver.Info{}, err
	}
	return d.opts.Info, nil
}

// Ping implements driver.Driver.
func (d *Driver) Ping(ctx context.Context) error { return d.check(ctx, "ask engine", "") }

func (d *Driver) fail(code driver.Code, op, subject, format string, args ...any) error {
	return &driver.Error{
		Code: code, Engine: d.opts.Info.Name, Op: op, Subject: subject, Err: fmt.Errorf(format, args...),
	}
}

// check begins every call: is the caller still there, and is the engine?
func (d *Driver) check(ctx context.Context, op, subject string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s %s: %w", op, subject, err)
	}
	d.mu.Lock()
	hanging := d.hanging
	d.mu.Unlock()
	if hanging != nil {
		select {
		case <-hanging:
		case <-ctx.Done():
			return fmt.Errorf("%s %s: %w", op, subject, ctx.Err())
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down != nil {
		return d.fail(driver.CodeUnavailable, op, subject, "%w", d.down)
	}
	return nil
}

// ImageExists implements driver.Images.
func (d *Driver) ImageExists(ctx context.Context, ref string) (bool, error) {
	_, found, err := d.image(ctx, "find image", ref)
	return found, err
}

// ListImages implements driver.Images.
func (d *Driver) ListImages(ctx context.Context) ([]string, error) {
	if err := d.check(ctx, "list images", ""); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.images)), nil
}

func (d *Driver) image(ctx context.Context, op, ref string) (Image, bool, error) {
	full, err := driver.NormalizeReference(ref)
	if err != nil {
		return Image{}, false, d.fail(driver.CodeInvalid, op, "", "%w", err)
	}
	if err := d.check(ctx, op, ref); err != nil {
		return Image{}, false, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	img, found := d.images[full]
	return img, found, nil
}

// EnsureImage implements driver.Images.
func (d *Driver) EnsureImage(ctx context.Context, ref string, pull driver.Pull, progress func(driver.PullProgress)) error {
	const op = "pull image"
	if err := pull.Validate(ref); err != nil {
		return d.fail(driver.CodeInvalid, op, ref, "%w", err)
	}
	_, found, err := d.image(ctx, op, ref)
	if err != nil || (found && pull.Policy != driver.PullAlways) {
		return err
	}
	if pull.Policy == driver.PullNever {
		return d.fail(driver.CodeImageNotFound, op, ref, "the image is not on this machine")
	}
	full := mustNormalize(ref)
	d.mu.Lock()
	img, found := d.remote[full]
	d.mu.Unlock()
	if !found {
		return d.fail(driver.CodeImageNotFound, op, ref, "manifest unknown")
	}
	if img.Login != (driver.Login{}) && (pull.Login == nil || *pull.Login != img.Login) {
		return d.fail(driver.CodeImageDenied, op, ref, "unauthorized")
	}
	if progress == nil {
		progress = func(driver.PullProgress) {}
	}
	if err := img.download(ctx, progress); err != nil {
		if ended := ctx.Err(); ended != nil {
			return fmt.Errorf("%s %s: %w", op, ref, ended)
		}
		var known *driver.Error
		if errors.As(err, &known) {
			return err
		}
		return d.fail(driver.CodeRegistryUnavailable, op, ref, "%w", err)
	}
	d.mu.Lock()
	d.images[full] = img.Image
	d.mu.Unlock()
	progress(driver.PullProgress{Status: "pulled", CompletedBytes: img.SizeBytes, TotalBytes: img.SizeBytes, Percent: 100})
	return nil
}

func (img RemoteImage) download(ctx context.Context, progress func(driver.PullProgress)) error {
	for i := range img.Steps {
		if img.Err != nil && i >= img.Steps/2 {
			return img.Err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(img.Step):
		}
		completed := img.SizeBytes * int64(i+1) / int64(img.Steps)
		progress(driver.PullProgress{
			Status: "downloading", CompletedBytes: completed, TotalBytes: img.SizeBytes,
			Percent: 99 * float64(i+1) / float64(img.Steps),
		})
	}
	return img.Err
}

// ImportImage implements driver.Images. The root file system is read and forgotten.
func (d *Driver) ImportImage(ctx context.Context, img driver.ImageImport) error {
	const op = "import image"
	full, err := driver.NormalizeReference(img.Ref)
	if err != nil {
		return d.fail(driver.CodeInvalid, op, "", "%w", err)
	}
	if err := driver.ValidateLabels(img.Labels); err != nil {
		return d.fail(driver.CodeInvalid, op, full, "%w", err)
	}
	if err := d.check(ctx, op, full); err != nil {
		return err
	}
	if err := drain(img.RootFS); err != nil {
		return d.fail(driver.CodeInvalid, op, full, "read root file system: %w", err)
	}
	d.AddImage(full, Image{Entrypoint: img.Entrypoint, Cmd: img.Cmd, Env: img.Env})
	return nil
}

// RemoveImage implements driver.Images.
func (d *Driver) RemoveImage(ctx context.Context, ref string) error {
	const op = "remove image"
	if _, found, err := d.image(ctx, op, ref); err != nil || !found {
		return err
	}
	full := mustNormalize(ref)
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.containers {
		if c.image == full {
			return d.fail(driver.CodeConflict, op, ref, "container %s uses the image", c.id)
		}
	}
	delete(d.images, full)
	return nil
}

// CreateVolume implements driver.Volumes.
func (d *Driver) CreateVolume(ctx context.Context, name string, labels map[string]string) error {
	const op = "create volume"
	if err := d.checkID(ctx, op, name); err != nil {
		return err
	}
	if err := driver.ValidateLabels(labels); err != nil {
		return d.fail(driver.CodeInvalid, op, name, "%w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, found := d.volumes[name]; !found {
		d.volumes[name] = driver.Volume{Name: name, Labels: managed(labels)}
	}
	return nil
}

// RemoveVolume implements driver.Volumes.
func (d *Driver) RemoveVolume(ctx context.Context, name string) error {
	const op = "remove volume"
	if err := d.checkID(ctx, op, name); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.containers {
		for _, m := range c.spec.Mounts {
			if m.Kind == driver.MountVolume && m.Source == name {
				return d.fail(driver.CodeConflict, op, name, "container %s uses the volume", c.id)
			}
		}
	}
	delete(d.volumes, name)
	return nil
}

// ListVolumes implements driver.Volumes.
func (d *Driver) ListVolumes(ctx context.Context, labels map[string]string) ([]driver.Volume, error) {
	if err := d.check(ctx, "list volumes", ""); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	list := []driver.Volume{}
	for _, name := range slices.Sorted(maps.Keys(d.volumes)) {
		if v := d.volumes[name]; carries(v.Labels, labels) {
			v.Labels = maps.Clone(v.Labels)
			list = append(list, v)
		}
	}
	return list, nil
}

func (d *Driver) checkID(ctx context.Context, op, id string) error {
	if err := driver.ValidateID(id); err != nil {
		return d.fail(driver.CodeInvalid, op, "", "%w", err)
	}
	return d.check(ctx, op, id)
}

func managed(labels map[string]string) map[string]string {
	all := maps.Clone(labels)
	if all == nil {
		all = map[string]string{}
	}
	all[driver.LabelManaged] = "true"
	return all
}

func carries(have, want map[string]string) bool {
	for key, value := range want {
		got, found := have[key]
		if !found || (value != "" && got != value) {
			return false
		}
	}
	return true
}
