package driver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"
)

// How long an engine may take to answer before it counts as hanging.
const (
	// lookPatience is for what only looks, or sends a signal.
	lookPatience = 30 * time.Second
	// changePatience is for what makes or removes something: on a busy disk that takes time.
	changePatience = 2 * time.Minute
	// slowestDisk is how many bytes it takes in or gives out in a second at least.
	slowestDisk = 4 << 20
)

var errNoAnswer = errors.New("no answer in time")

// Impatient gives a driver whose calls end with [CodeTimeout] when the engine does not
// answer: one that hangs must hold up nobody for ever. Calls that take as long as they take
// are as they were: pulling, importing, waiting for a container, following its log, and
// what connects to a process.
func Impatient(d Driver) Driver { return &impatient{Driver: d} }

// impatient bounds the calls of the Driver that it holds.
type impatient struct{ Driver }

// within makes a call that must be answered in time.
func within[T any](ctx context.Context, limit time.Duration, op, subject string, call func(context.Context) (T, error)) (T, error) {
	bounded, cancel := context.WithTimeoutCause(ctx, limit, errNoAnswer)
	defer cancel()
	answer, err := call(bounded)
	if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) || !errors.Is(context.Cause(bounded), errNoAnswer) {
		return answer, err
	}
	return answer, &Error{
		Code: CodeTimeout, Op: op, Subject: subject,
		Err:  fmt.Errorf("the container engine has not answered for %s", limit),
		Hint: "it hangs: restart it",
	}
}

// done is within for calls that answer nothing.
func done(ctx context.Context, limit time.Duration, op, subject string, call func(context.Context) error) error {
	_, err := within(ctx, limit, op, subject, func(ctx context.Context) (struct{}, error) { return struct{}{}, call(ctx) })
	return err
}

func (d *impatient) Ping(ctx context.Context) error {
	return done(ctx, lookPatience, "ask container engine", "", d.Driver.Ping)
}

func (d *impatient) Info(ctx context.Context) (Info, error) {
	return within(ctx, lookPatience, "describe engine", "", d.Driver.Info)
}

func (d *impatient) ImageExists(ctx context.Context, ref string) (bool, error) {
	return within(ctx, lookPatience, "find image", ref, func(ctx context.Context) (bool, error) { return d.Driver.ImageExists(ctx, ref) })
}

func (d *impatient) ListImages(ctx context.Context) ([]string, error) {
	return within(ctx, lookPatience, "list images", "", d.Driver.ListImages)
}

// EnsureImage looks first, since only that can be told to be quick.
func (d *impatient) EnsureImage(ctx context.Context, ref string, pull Pull, progress func(PullProgress)) error {
	if err := pull.Validate(ref); err == nil && pull.Policy != PullAlways {
		if there, err := d.ImageExists(ctx, ref); err != nil || there {
			return err
		}
	}
	return d.Driver.EnsureImage(ctx, ref, pull, progress)
}

func (d *impatient) RemoveImage(ctx context.Context, ref string) error {
	return done(ctx, changePatience, "remove image", ref, func(ctx context.Context) error { return d.Driver.RemoveImage(ctx, ref) })
}

func (d *impatient) Create(ctx context.Context, spec ContainerSpec) (string, error) {
	return within(ctx, changePatience, "create container", spec.Name, func(ctx context.Context) (string, error) { return d.Driver.Create(ctx, spec) })
}

func (d *impatient) PutFiles(ctx context.Context, id string, files []File) error {
	limit := changePatience
	for i := range files {
		limit += time.Duration(files[i].Size / slowestDisk * int64(time.Second))
	}
	return done(ctx, limit, "put files into container", id, func(ctx context.Context) error { return d.Driver.PutFiles(ctx, id, files) })
}

// CopyOut may take any time as long as it goes on; that of take does not count.
func (d *impatient) CopyOut(ctx context.Context, id, path string, take func(*Copied) error) error {
	bounded, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	patience := time.AfterFunc(changePatience, func() { cancel(errNoAnswer) })
	defer patience.Stop()
	err := d.Driver.CopyOut(bounded, id, path, func(found *Copied) error {
		patience.Stop()
		defer patience.Reset(changePatience)
		if found.Content == nil {
			return take(found)
		}
		content := &impatientReader{r: found.Content, patience: patience}
		found.Content = content
		if err := take(found); err != nil {
			return err
		}
		// The engine gives all of it, wanted or not, and goes on as long as it gives.
		_, err := io.Copy(io.Discard, content)
		return err
	})
	if err == nil || ctx.Err() != nil || !errors.Is(context.Cause(bounded), errNoAnswer) {
		return err
	}
	return &Error{
		Code: CodeTimeout, Op: "copy files out of container", Subject: id,
		Err:  fmt.Errorf("the container engine has not answered for %s", changePatience),
		Hint: "it hangs: restart it",
	}
}

// impatientReader lets the time run while it waits for content.
type impatientReader struct {
	r        io.Reader
	patience *time.Timer
}

func (r *impatientReader) Read(p []byte) (int, error) {
	r.patience.Reset(changePatience)
	defer r.patience.Stop()
	return r.r.Read(p)
}

func (d *impatient) Start(ctx context.Context, id string) error {
	return done(ctx, changePatience, "start container", id, func(ctx context.Context) error { return d.Driver.Start(ctx, id) })
}

func (d *impatient) Stop(ctx context.Context, id string, grace time.Duration) error {
	// Engines wait whole seconds.
	limit := time.Duration(math.Ceil(max(grace.Seconds(), 0)))*time.Second + lookPatience
	return done(ctx, limit, "stop container", id, func(ctx context.Context) error { return d.Driver.Stop(ctx, id, grace) })
}

func (d *impatient) Kill(ctx context.Context, id string) error {
	return done(ctx, lookPatience, "kill container", id, func(ctx context.Context) error { return d.Driver.Kill(ctx, id) })
}

func (d *impatient) Remove(ctx context.Context, id string) error {
	return done(ctx, changePatience, "remove container", id, func(ctx context.Context) error { return d.Driver.Remove(ctx, id) })
}

func (d *impatient) Inspect(ctx context.Context, id string) (Container, error) {
	return within(ctx, lookPatience, "inspect container", id, func(ctx context.Context) (Container, error) { return d.Driver.Inspect(ctx, id) })
}

func (d *impatient) List(ctx context.Context, labels map[string]string) ([]Container, error) {
	return within(ctx, lookPatience, "list containers", "", func(ctx context.Context) ([]Container, error) { return d.Driver.List(ctx, labels) })
}

func (d *impatient) Stats(ctx context.Context, id string) (Stats, error) {
	return within(ctx, lookPatience, "measure container", id, func(ctx context.Context) (Stats, error) { return d.Driver.Stats(ctx, id) })
}

func (d *impatient) CreateVolume(ctx context.Context, name string, labels map[string]string) error {
	return done(ctx, changePatience, "create volume", name, func(ctx context.Context) error { return d.Driver.CreateVolume(ctx, name, labels) })
}

func (d *impatient) RemoveVolume(ctx context.Context, name string) error {
	return done(ctx, changePatience, "remove volume", name, func(ctx context.Context) error { return d.Driver.RemoveVolume(ctx, name) })
}

func (d *impatient) ListVolumes(ctx context.Context, labels map[string]string) ([]Volume, error) {
	return within(ctx, lookPatience, "list volumes", "", func(ctx context.Context) ([]Volume, error) { return d.Driver.ListVolumes(ctx, labels) })
}
