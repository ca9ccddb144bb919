// Package process is the [driver.Containers] for programs that run on the machine itself,
// in no container.
//
// Each has a folder: what is to be run, its log, how it ended. A supervisor, which is this
// program started once more (see [Supervise]), runs the program, writes its log and its end
// into the folder and outlives the agent, as a container engine would. It holds a lock while
// it lives: a folder that says "started", has no end and no lock is one whose supervisor was
// killed, and how its program ended nobody knows.
package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// Name is the driver's name in errors.
const Name = "process"

// The files in the folder of a process.
const (
	specFile    = "spec.json"
	lockFile    = "lock"
	startedFile = "started.json"
	exitFile    = "exit.json"
	logFolder   = "log"
	workFolder  = "work"
)

// markVariable is in the environment of a program and of all that it starts, with the id:
// how they are found when the supervisor is gone.
const markVariable = "ORCHION_PROCESS_ID"

// Driver runs processes. Make it with Open.
type Driver struct {
	dir        string
	supervisor []string
	logger     *slog.Logger
	// startPatience and killPatience are the constants, but for tests.
	startPatience, killPatience time.Duration
}

var _ driver.Containers = (*Driver)(nil)

// Open makes a driver that keeps its processes in dir. supervisor is the command that
// becomes [Supervise] of the folder that is added to its arguments.
func Open(dir string, supervisor []string, logger *slog.Logger) (*Driver, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of processes: %w", err)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	d := &Driver{dir: dir, supervisor: supervisor, logger: logger, startPatience: startPatience, killPatience: killPatience}
	return d, d.tidyUp()
}

func (d *Driver) path(id string, elements ...string) string {
	return filepath.Join(append([]string{d.dir, id}, elements...)...)
}

// Create implements driver.Containers: Command is the absolute path of a program and its
// first arguments. What only a container can be given is CodeUnsupported.
func (d *Driver) Create(ctx context.Context, s driver.ContainerSpec) (string, error) {
	const op = "create process"
	if err := validate(s); err != nil {
		return "", fail(driver.CodeInvalid, op, s.Name, err)
	}
	if what := containerOnly(s); what != "" {
		return "", fail(driver.CodeUnsupported, op, s.Name, fmt.Errorf("%s: only a container can be given this", what))
	}
	if err := ctx.Err(); err != nil {
		return "", ended(op, s.Name, err)
	}
	kept := spec{
		ID: s.Name, Labels: map[string]string{driver.LabelManaged: "true"}, Command: append(slices.Clone(s.Command), s.Args...),
		Executable: s.Executable, Env: s.Env, WorkDir: s.WorkDir, LogBytes: s.LogBytes, CreatedAt: time.Now(),
	}
	for key, value := range s.Labels {
		kept.Labels[key] = value
	}
	if kept.ID == "" {
		kept.ID = "orchion-" + uuid.NewString()
	}
	if kept.LogBytes == 0 {
		kept.LogBytes = driver.DefaultLogBytes
	}
	// Renamed into place, so that a folder that is there is whole.
	made, err := os.MkdirTemp(d.dir, ".new-")
	if err == nil {
		err = fill(made, kept)
	}
	if err == nil {
		err = os.Rename(made, d.path(kept.ID))
	}
	if err != nil {
		_ = os.RemoveAll(made) // if not, the next start does
		if _, statErr := os.Stat(d.path(kept.ID)); statErr == nil {
			return "", fail(driver.CodeConflict, op, kept.ID, errors.New("the name is in use"))
		}
		return "", d.failure(op, kept.ID, err)
	}
	return kept.ID, nil
}

func fill(dir string, kept spec) error {
	for _, folder := range []string{logFolder, workFolder} {
		if err := os.Mkdir(filepath.Join(dir, folder), 0o700); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, lockFile), nil, 0o600); err != nil {
		return err
	}
	return writeJSON(filepath.Join(dir, specFile), kept)
}

func validate(s driver.ContainerSpec) error {
	if len(s.Command) == 0 || !filepath.IsAbs(s.Command[0]) {
		return errors.New("command[0]: must be the absolute path of a program")
	}
	if s.Executable != "" && !filepath.IsAbs(s.Executable) {
		return fmt.Errorf("executable: %q must be an absolute path", s.Executable)
	}
	if s.WorkDir != "" && !filepath.IsAbs(s.WorkDir) {
		return fmt.Errorf("workdir: %q must be an absolute path", s.WorkDir)
	}
	checked := s
	checked.Image, checked.WorkDir, checked.Executable = "none", "", "" // the rest is as with a container
	return checked.Validate()
}

// containerOnly names what a spec asks for and a process cannot have.
func containerOnly(s driver.ContainerSpec) string {
	for what, asked := range map[string]bool{
		"user": s.User != "", "ports": len(s.Ports) > 0, "mounts": len(s.Mounts) > 0, "tmpfs": len(s.Tmpfs) > 0,
		"network": s.Network != "", "gpus": s.GPUs.Wanted(), "resources": s.Resources != driver.Resources{}, "stdin": s.OpenStdin,
	} {
		if asked {
			return what
		}
	}
	return ""
}

// Inspect implements driver.Containers.
func (d *Driver) Inspect(_ context.Context, id string) (driver.Container, error) {
	return d.inspect("inspect process", id)
}

func (d *Driver) inspect(op, id string) (driver.Container, error) {
	if err := driver.ValidateID(id); err != nil {
		return driver.Container{}, fail(driver.CodeInvalid, op, id, err)
	}
	s, err := d.readSpec(id)
	if err != nil {
		return driver.Container{}, d.failure(op, id, err)
	}
	c := driver.Container{
		ID: s.ID, Name: s.ID, Image: s.Command[0], Labels: s.Labels, State: driver.StateCreated, CreatedAt: s.CreatedAt,
	}
	begun, err := d.readStarted(id)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c, nil
	case err != nil:
		return driver.Container{}, d.failure(op, id, err)
	}
	c.State, c.StartedAt = driver.StateRunning, begun.StartedAt
	over, err := d.readExit(op, &c)
	if err != nil || over {
		return c, err
	}
	// What was started had the lock then. A supervisor writes the end before it lets go.
	running, err := d.locked(id)
	if err != nil {
		return driver.Container{}, d.failure(op, id, err)
	}
	if running {
		return c, nil
	}
	if over, err = d.readExit(op, &c); err == nil && !over {
		c.State, c.Exit = driver.StateExited, driver.Exit{Code: -1, Error: errLost.Error()}
	}
	return c, err
}

// readExit says whether it is known how a process ended, and takes that over.
func (d *Driver) readExit(op string, c *driver.Container) (bool, error) {
	end, err := d.readEnd(c.ID)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, d.failure(op, c.ID, err)
	}
	c.State, c.FinishedAt = driver.StateExited, end.FinishedAt
	c.Exit = driver.Exit{Code: end.Code, Error: end.Error, NoFault: end.NoFault, FinishedAt: end.FinishedAt}
	return true, nil
}

// errLost says that nobody knows how a process ended.
var errLost = errors.New("how it ended is not known: its supervisor was killed, or the machine was restarted")

// List implements driver.Containers.
func (d *Driver) List(_ context.Context, labels map[string]string) ([]driver.Container, error) {
	const op = "list processes"
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return nil, d.failure(op, "", err)
	}
	var list []driver.Container
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || !e.IsDir() {
			continue
		}
		c, err := d.inspect(op, e.Name())
		if driver.CodeOf(err) == driver.CodeNotFound {
			continue // removed in the meantime
		}
		if errors.Is(err, errBroken) || errors.Is(err, fs.ErrPermission) {
			d.logger.Warn("passing over a process of which nothing can be known", "error", err)
			continue
		}
		if err != nil {
			return nil, err
		}
		if carries(c.Labels, labels) {
			list = append(list, c)
		}
	}
	slices.SortStableFunc(list, func(a, b driver.Container) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return list, nil
}

func carries(has, wanted map[string]string) bool {
	for key, value := range wanted {
		if got, there := has[key]; !there || (value != "" && got != value) {
			return false
		}
	}
	return true
}

// PutFiles implements driver.Containers: a process has the machine's files and no others.
func (d *Driver) PutFiles(_ context.Context, id string, _ []driver.File) error {
	return unsupported("put files into process", id)
}

// CopyOut implements driver.Containers: what a process left is the machine's.
func (d *Driver) CopyOut(_ context.Context, id, _ string, _ func(*driver.Copied) error) error {
	return unsupported("copy files out of process", id)
}

// Attach implements driver.Containers.
func (d *Driver) Attach(_ context.Context, id string) (*driver.Attachment, error) {
	return nil, unsupported("attach to process", id)
}

// Exec implements driver.Containers.
func (d *Driver) Exec(_ context.Context, id string, _ []string) (*driver.Attachment, error) {
	return nil, unsupported("start another program beside process", id)
}

// errNotRunning says that what asks for a running process cannot be had.
var errNotRunning = errors.New("the process does not run")

func unsupported(op, id string) error {
	return fail(driver.CodeUnsupported, op, id, errors.New("that can be done with containers only"))
}

func fail(code driver.Code, op, subject string, err error) error {
	return &driver.Error{Code: code, Engine: Name, Op: op, Subject: subject, Err: err}
}

// failure sorts an error of the file system.
func (d *Driver) failure(op, id string, err error) error {
	code := driver.CodeUnavailable // as with too many open files, or a disk that fails to answer
	switch {
	case errors.Is(err, fs.ErrNotExist):
		code, err = driver.CodeNotFound, errors.New("there is no such process")
	case noSpace(err):
		code = driver.CodeNoSpace
	case errors.Is(err, errBroken), errors.Is(err, errDamaged):
		code = driver.CodeInternal
	}
	return fail(code, op, id, err)
}

// ended passes on the end of a context, for the caller to recognise.
func ended(op, id string, err error) error { return fmt.Errorf("%s: %s %s: %w", Name, op, id, err) }
