//go:build unix

package process

import (
	"errors"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// What the agent tells a supervisor.
var (
	signalTerminate os.Signal = syscall.SIGTERM
	signalKill      os.Signal = syscall.SIGUSR1
)

// tell sends a signal to a supervisor.
func tell(p *os.Process, _ string, sig os.Signal) error { return p.Signal(sig) }

// apart keeps what is sent to the agent's terminal from its supervisors.
func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

func supervisorEnv() []string { return []string{"PATH=" + defaultPath} }

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// baseEnv is what every program finds, with its own folder as its home.
func baseEnv(home string) map[string]string {
	return map[string]string{"PATH": defaultPath, "HOME": home, "TMPDIR": home, "LANG": "C.UTF-8"}
}

func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// notRunnable says whether it is the program, or what it is given, that cannot be run: on
// this machine it never will be.
func notRunnable(err error) bool {
	for _, cause := range []error{
		syscall.ENOENT, syscall.EACCES, syscall.ENOEXEC, syscall.E2BIG, syscall.ENOTDIR,
		syscall.EINVAL, // a zero byte in an argument
	} {
		if errors.Is(err, cause) {
			return true
		}
	}
	return false
}

// tryLock takes a file's flock, which the kernel drops with the process.
func tryLock(file *os.File) (bool, error) {
	err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// control receives what the agent tells its supervisor.
type control struct{ terminate, kill chan os.Signal }

func listen(string) (*control, error) {
	c := &control{terminate: make(chan os.Signal, 1), kill: make(chan os.Signal, 1)}
	signal.Notify(c.terminate, signalTerminate)
	signal.Notify(c.kill, signalKill)
	// Of the agent that asked for it, and of its terminal, it is independent.
	signal.Ignore(syscall.SIGPIPE, syscall.SIGHUP, syscall.SIGINT)
	return c, nil
}

func (c *control) stop() {
	signal.Stop(c.terminate)
	signal.Stop(c.kill)
}

type unixChild struct {
	exited chan int

	mu     sync.Mutex // guards what follows
	pid    int
	reaped bool // the number may be another's by now
}

// start starts a program in a session of its own. It must be called from a thread that
// lives as long as this process: see dieTogether.
func start(path string, command, env []string, dir string, stdout, stderr *os.File) (child, error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	attributes := &syscall.SysProcAttr{Setsid: true}
	dieTogether(attributes)
	// As it is in the terminal of a person, and not as in this process.
	signal.Reset(syscall.SIGPIPE, syscall.SIGHUP, syscall.SIGINT)
	pid, err := syscall.ForkExec(path, command, &syscall.ProcAttr{
		Dir: dir, Env: env, Files: []uintptr{null.Fd(), stdout.Fd(), stderr.Fd()}, Sys: attributes,
	})
	signal.Ignore(syscall.SIGPIPE, syscall.SIGHUP, syscall.SIGINT)
	if err != nil {
		return nil, err
	}
	c := &unixChild{pid: pid, exited: make(chan int, 1)}
	go c.reap()
	return c, nil
}

// reap waits for the program, and for all that it leaves to this process.
func (c *unixChild) reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return // no more children
		}
		if pid != c.pid {
			continue
		}
		c.mu.Lock()
		c.reaped = true
		c.mu.Unlock()
		if status.Signaled() {
			c.exited <- 128 + int(status.Signal())
		} else {
			c.exited <- status.ExitStatus()
		}
	}
}

func (c *unixChild) ended() <-chan int { return c.exited }

func (c *unixChild) terminate() { c.signalGroup(syscall.SIGTERM) }

func (c *unixChild) signalGroup(sig syscall.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.reaped {
		_ = syscall.Kill(-c.pid, sig) // it may have ended just now
	}
}

func (c *unixChild) kill() {
	c.signalGroup(syscall.SIGKILL)
	killDescendants(c.pid)
}
