package process

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

const (
	// firstPoll and slowPoll are how soon, and how often at last, it is looked whether a
	// process has ended or printed something: its supervisor is no child of this program
	// after a restart, and cannot tell.
	firstPoll = 5 * time.Millisecond
	slowPoll  = 200 * time.Millisecond
	// looksPerInspection is how many looks for the end of a process go by until it is looked
	// whether its supervisor lives.
	looksPerInspection = 20
	// startPatience is how long a supervisor may take to say whether its program runs.
	startPatience = time.Minute
	// killPatience is how long a supervisor may take to kill its program before it is
	// killed itself.
	killPatience = 10 * time.Second
)

// ready is the one line that a supervisor prints.
type ready struct {
	// Error is why the program does not run; empty: it does.
	Error string `json:"error,omitempty"`
	// Code sorts that; see startCode.
	Code driver.Code `json:"code,omitempty"`
}

// Start implements driver.Containers. A process that has ended is not started again.
func (d *Driver) Start(ctx context.Context, id string) error {
	const op = "start process"
	c, err := d.inspect(op, id)
	switch {
	case err != nil:
		return err
	case c.State == driver.StateRunning:
		return nil
	case c.State == driver.StateExited && c.FinishedAt.IsZero():
		return fail(driver.CodeMachine, op, id, errLost)
	case c.State == driver.StateExited:
		return fail(driver.CodeConflict, op, id, errors.New("it has run already"))
	}
	// It outlives whoever asks for it.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), d.supervisor[0], append(append([]string{}, d.supervisor[1:]...), d.path(id))...)
	cmd.Dir = d.dir
	cmd.Env = supervisorEnv()
	cmd.SysProcAttr = apart()
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return d.notStarted(op, id, fmt.Errorf("start its supervisor: %w", err))
	}
	said, err := d.hear(cmd, out)
	switch {
	case errors.Is(err, errSilent):
		killMarked(id)
		return fail(driver.CodeTimeout, op, id, fmt.Errorf("%w for %s", err, d.startPatience))
	case err != nil:
		return fail(driver.CodeMachine, op, id, fmt.Errorf("its supervisor ended before it began: %w", err))
	case said.Error == "":
		return nil
	case said.Code == driver.CodeInvalid || said.Code == driver.CodeNoSpace:
		return fail(said.Code, op, id, errors.New(said.Error))
	default:
		return fail(driver.CodeMachine, op, id, errors.New(said.Error))
	}
}

// notStarted is the error of what kept a supervisor from being started: never its program.
func (d *Driver) notStarted(op, id string, err error) error {
	if noSpace(err) {
		return fail(driver.CodeNoSpace, op, id, err)
	}
	return fail(driver.CodeMachine, op, id, err)
}

// errSilent says that a supervisor was killed for saying nothing.
var errSilent = errors.New("its supervisor has not begun; a disk may hang: nothing was heard of it")

// hear waits for the one line of a supervisor. One that does not say it in time is killed.
func (d *Driver) hear(cmd *exec.Cmd, out io.ReadCloser) (ready, error) {
	patience := time.AfterFunc(d.startPatience, func() {
		_ = cmd.Process.Kill() // it may have ended just now
		_ = out.Close()        // ends the reading, whatever becomes of it
	})
	line, err := bufio.NewReader(out).ReadBytes('\n')
	inTime := patience.Stop()
	// The supervisor lives as long as the program. When it has ended it must be waited for,
	// if this agent is still there.
	go func() { _ = cmd.Wait() }() // how it ended is in the folder
	if !inTime {
		return ready{}, errSilent
	}
	var said ready
	if err == nil {
		err = json.Unmarshal(line, &said)
	}
	return said, err
}

// Wait implements driver.Containers. When nobody knows how the process ended, that is an
// error, and what it left running was killed.
func (d *Driver) Wait(ctx context.Context, id string) (driver.Exit, error) {
	const op = "wait for process"
	pause := firstPoll
	for looks := 0; ; looks++ {
		if d.mayHaveEnded(id, looks) {
			c, err := d.inspect(op, id)
			switch {
			case err != nil:
				return driver.Exit{}, err
			case c.State == driver.StateCreated:
				return driver.Exit{}, fail(driver.CodeConflict, op, id, errors.New("it was never started"))
			case c.State == driver.StateExited && c.FinishedAt.IsZero():
				killMarked(id)
				return driver.Exit{}, fail(driver.CodeInternal, op, id, errLost)
			case c.State == driver.StateExited:
				return c.Exit, nil
			}
		}
		if err := sleep(ctx, pause); err != nil {
			return driver.Exit{}, ended(op, id, err)
		}
		pause = min(2*pause, slowPoll)
	}
}

// mayHaveEnded says, at the cost of one look, whether a process is worth an inspection.
func (d *Driver) mayHaveEnded(id string, looks int) bool {
	if looks%looksPerInspection == 0 {
		return true
	}
	_, err := os.Stat(d.path(id, exitFile))
	return err == nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Stop implements driver.Containers. SIGTERM goes to all processes of the program's group,
// SIGKILL to everything that it started.
func (d *Driver) Stop(ctx context.Context, id string, grace time.Duration) error {
	const op = "stop process"
	if grace > 0 {
		running, err := d.signal(op, id, signalTerminate)
		if err != nil || !running {
			return err
		}
		bounded, cancel := context.WithTimeout(ctx, grace)
		err = d.awaitEnd(bounded, op, id)
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
	return d.kill(ctx, op, id)
}

// Kill implements driver.Containers.
func (d *Driver) Kill(ctx context.Context, id string) error { return d.kill(ctx, "kill process", id) }

func (d *Driver) kill(ctx context.Context, op, id string) error {
	running, err := d.signal(op, id, signalKill)
	if err != nil || !running {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, d.killPatience)
	defer cancel()
	if err := d.awaitEnd(bounded, op, id); err == nil || ctx.Err() != nil {
		return err
	}
	// The supervisor is stopped, or worse. Its program dies with it, where the system can.
	if _, err := d.signal(op, id, os.Kill); err != nil {
		return err
	}
	killMarked(id)
	return d.awaitEnd(ctx, op, id)
}

// awaitEnd waits until a process runs no more.
func (d *Driver) awaitEnd(ctx context.Context, op, id string) error {
	for pause := firstPoll; ; pause = min(2*pause, slowPoll) {
		c, err := d.inspect(op, id)
		if err != nil || c.State != driver.StateRunning {
			return err
		}
		if err := sleep(ctx, pause); err != nil {
			return ended(op, id, err)
		}
	}
}

// signal asks the supervisor of a process for something, and says whether the process runs.
func (d *Driver) signal(op, id string, sig os.Signal) (running bool, err error) {
	c, err := d.inspect(op, id)
	if err != nil || c.State != driver.StateRunning {
		return false, err
	}
	begun, err := d.readStarted(id)
	if err != nil {
		return false, d.failure(op, id, err)
	}
	process, err := os.FindProcess(begun.Supervisor)
	if err != nil {
		return true, nil // it has just ended, and that shows soon
	}
	defer func() { _ = process.Release() }()
	// With the lock still held after the process was found, the number is its.
	if held, err := d.locked(id); err != nil || !held {
		return err == nil, err
	}
	if err := tell(process, id, sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return true, d.failure(op, id, fmt.Errorf("tell its supervisor: %w", err))
	}
	return true, nil
}

// Remove implements driver.Containers.
func (d *Driver) Remove(ctx context.Context, id string) error {
	const op = "remove process"
	err := d.kill(ctx, op, id)
	if driver.CodeOf(err) == driver.CodeNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	lock, err := os.OpenFile(d.path(id, lockFile), os.O_RDWR, 0)
	if err != nil {
		return d.unlessGone(op, id, err)
	}
	defer lock.Close()
	// A supervisor that is only about to begin finds the lock taken, or the folder gone. One
	// that has the lock already begins its program all the same, and is killed then.
	for pause := firstPoll; ; pause = min(2*pause, slowPoll) {
		taken, err := tryLock(lock)
		if err != nil {
			return d.failure(op, id, err)
		}
		if taken {
			break
		}
		if err := sleep(ctx, pause); err != nil {
			return ended(op, id, err)
		}
		if err := d.kill(ctx, op, id); err != nil {
			if driver.CodeOf(err) == driver.CodeNotFound {
				return nil
			}
			return err
		}
	}
	killMarked(id)
	if runtime.GOOS == "windows" {
		lock.Close() // a folder with an open file cannot be renamed there
	}
	gone := filepath.Join(d.dir, ".gone-"+id)
	if err := os.Rename(d.path(id), gone); err != nil {
		return d.unlessGone(op, id, err)
	}
	// What cannot be removed now, the next start of the agent tries again.
	if err := removeAll(gone); err != nil {
		return d.failure(op, id, fmt.Errorf("remove what it left: %w", err))
	}
	return nil
}

func (d *Driver) unlessGone(op, id string, err error) error {
	if err = d.failure(op, id, err); driver.CodeOf(err) == driver.CodeNotFound {
		return nil
	}
	return err
}

// locked says whether the supervisor of a process lives.
func (d *Driver) locked(id string) (bool, error) {
	lock, err := os.OpenFile(d.path(id, lockFile), os.O_RDWR, 0)
	if err != nil {
		return false, err
	}
	defer lock.Close() // and lets go of the lock, if it was free
	taken, err := tryLock(lock)
	return !taken, err
}
