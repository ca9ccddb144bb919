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
	"syscall"
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
	refuse := func(err error) error {
		say(ready{Error: err.Error(), Code: startCode(err)})
		return err
	}
	lock, err := takeLock(filepath.Join(dir, lockFile))
	if err != nil {
		return refuse(err)
	}
	defer lock.Close() // last of all
	control, err := listen(filepath.Base(dir))
	if err != nil {
		return refuse(err)
	}
	defer control.stop()
	var s spec
	// After the lock: a folder that was removed meanwhile is not there now.
	if err := readJSON(filepath.Join(dir, specFile), &s); err != nil {
		return refuse(err)
	}
	log, err := newLogWriter(filepath.Join(dir, logFolder), s.LogBytes)
	if err != nil {
		return refuse(err)
	}
	defer log.close()
	work, err := workDir(&s, dir)
	if err != nil {
		return refuse(err)
	}
	// Before the program: if we are killed now, it counts as one that may have run.
	if err := writeJSON(filepath.Join(dir, startedFile), started{Supervisor: os.Getpid(), StartedAt: time.Now()}); err != nil {
		return refuse(err)
	}
	code, err := run(&s, dir, work, log, control, func() { say(ready{}) })
	end := exit{Code: code, FinishedAt: time.Now()}
	if err != nil {
		end.Code, end.Error, end.NoFault = 127, err.Error(), startCode(err) != driver.CodeInvalid
		_ = refuse(err) // it is in the folder, too
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

// startError is a failure of the program itself to be started.
type startError struct{ err error }

func (e *startError) Error() string { return e.err.Error() }
func (e *startError) Unwrap() error { return e.err }

// startCode sorts why a program does not run: it is the one that asked for it who is to
// blame only when the program, its arguments or its folder are not what can be run. The rest
// is the machine's.
func startCode(err error) driver.Code {
	var own *startError
	switch {
	case noSpace(err):
		return driver.CodeNoSpace
	case errors.As(err, &own) && notRunnable(own.err):
		return driver.CodeInvalid
	default:
		return driver.CodeMachine
	}
}

// workDir is the folder in which a program begins.
func workDir(s *spec, dir string) (string, error) {
	if s.WorkDir == "" {
		return filepath.Join(dir, workFolder), nil
	}
	info, err := os.Stat(s.WorkDir)
	if err == nil && !info.IsDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return "", &startError{fmt.Errorf("cannot be run: %s is no folder to begin in: %w", s.WorkDir, err)}
	}
	return s.WorkDir, nil
}

// run runs the program, with its output going into the log.
func run(s *spec, dir, work string, log *logWriter, control *control, begun func()) (int, error) {
	// They close with this process, which ends soon after the program.
	stdout, stdoutEnd, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	stderr, stderrEnd, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	c, err := start(s.program(), s.Command, environment(s, filepath.Join(dir, workFolder)), work, stdoutEnd, stderrEnd)
	if err != nil {
		return 0, &startError{fmt.Errorf("%s cannot be run: %w", s.program(), err)}
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
