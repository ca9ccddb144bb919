package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

const (
	// lockPatience is how long a supervisor tries for its lock: others only look.
	lockPatience = 5 * time.Second
	// drainPatience is how long output may come when all processes have ended, as far as
	// is known.
	drainPatience = 5 * time.Second
)

// errInvalid marks that a program cannot run as it was asked for.
var errInvalid = errors.New("cannot be run")

// child is a program that is supervised.
type child interface {
	// ended receives the exit code, 128+n when signal n ended it.
	ended() <-chan int
	// terminate asks the program, and what is in its group, to end.
	terminate()
	// kill kills the program and everything that it started.
	kill()
}

// Supervise runs the process in a folder to its end. It is the life of a program of its
// own, which says in one line on out whether the process runs. Signals: see tell.
func Supervise(dir string, out io.WriteCloser) error {
	say := func(r ready) {
		// The agent that asked may be gone by now.
		_ = json.NewEncoder(out).Encode(r)
		_ = out.Close()
	}
	lock, err := takeLock(filepath.Join(dir, lockFile))
	if err != nil {
		say(ready{Error: err.Error()})
		return err
	}
	defer lock.Close() // last of all
	control, err := listen(filepath.Base(dir))
	if err != nil {
		say(ready{Error: err.Error()})
		return err
	}
	defer control.stop()
	var s spec
	// After the lock: a folder that was removed meanwhile is not there now.
	if err := readJSON(filepath.Join(dir, specFile), &s); err != nil {
		say(ready{Error: err.Error()})
		return err
	}
	log, err := newLogWriter(filepath.Join(dir, logFolder), s.LogBytes)
	if err != nil {
		say(ready{Error: err.Error()})
		return err
	}
	defer log.close()
	// Before the program: if we are killed now, it counts as one that may have run.
	if err := writeJSON(filepath.Join(dir, startedFile), started{Supervisor: os.Getpid(), StartedAt: time.Now()}); err != nil {
		say(ready{Error: err.Error()})
		return err
	}
	code, err := run(&s, dir, log, control, func() { say(ready{}) })
	end := exit{Code: code, FinishedAt: time.Now()}
	if err != nil {
		end.Code, end.Error = 127, err.Error()
		say(ready{Error: err.Error(), Invalid: errors.Is(err, errInvalid)})
	}
	return writeEnd(filepath.Join(dir, exitFile), end)
}

// writeEnd writes down how a process ended, and does not give up while the disk is full:
// nobody else knows.
func writeEnd(path string, end exit) error {
	for {
		err := writeJSON(path, end)
		if !noSpace(err) {
			return err
		}
		time.Sleep(time.Second)
	}
}

// run runs the program, with its output going into the log.
func run(s *spec, dir string, log *logWriter, control *control, begun func()) (int, error) {
	work := s.WorkDir
	if work == "" {
		work = filepath.Join(dir, workFolder)
	}
	if info, err := os.Stat(work); err != nil || !info.IsDir() {
		return 0, fmt.Errorf("%w: %s is no folder to begin in", errInvalid, work)
	}
	// They close with this process, which ends soon after the program.
	stdout, stdoutEnd, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	stderr, stderrEnd, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	c, err := start(s.Command, environment(s, filepath.Join(dir, workFolder)), work, stdoutEnd, stderrEnd)
	if err != nil {
		return 0, fmt.Errorf("%s %w: %w", s.Command[0], errInvalid, err)
	}
	_, _ = stdoutEnd.Close(), stderrEnd.Close() // the program has them
	begun()
	var pumps sync.WaitGroup
	pumps.Go(func() { log.pump(stdout, driver.Stdout) })
	pumps.Go(func() { log.pump(stderr, driver.Stderr) })
	code := watch(c, control)
	// What it started ends with it, as in a container.
	c.kill()
	drained := make(chan struct{})
	go func() { pumps.Wait(); close(drained) }()
	select {
	case <-drained:
	case <-time.After(drainPatience):
		// Something that is not to be found holds the pipes.
	}
	return code, nil
}

func watch(c child, control *control) int {
	for {
		select {
		case code := <-c.ended():
			return code
		case <-control.terminate:
			c.terminate()
		case <-control.kill:
			c.kill()
		}
	}
}

// environment is all that a program finds: nothing of the agent's own.
func environment(s *spec, home string) []string {
	env := baseEnv(home)
	maps.Copy(env, s.Env)
	env[markVariable] = s.ID
	list := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list
}

func takeLock(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(lockPatience); ; time.Sleep(firstPoll) {
		taken, err := tryLock(file)
		if taken {
			return file, nil
		}
		if err == nil && time.Now().After(deadline) {
			err = errors.New("another supervisor has this process")
		}
		if err != nil {
			return nil, errors.Join(err, file.Close())
		}
	}
}
