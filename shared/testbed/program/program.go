//go:build unix

// Package program runs the programs under test as processes, and ends and freezes them as
// crashes, power cuts and laptop lids do.
package program

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// A Program is a running process.
type Program struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// Launch starts a program whose output goes to a file, appended. env is added to this
// process's own.
func Launch(path, logFile string, env []string, args ...string) (*Program, error) {
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p := &Program{cmd: exec.Command(path, args...), done: make(chan struct{})} //nolint:noctx // it is ended by whoever started it, in one of several ways
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(path), err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // most are killed
	}()
	return p, nil
}

// PID is the process id.
func (p *Program) PID() int { return p.cmd.Process.Pid }

// Alive says whether it has not ended.
func (p *Program) Alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Wait waits until it has ended.
func (p *Program) Wait() { <-p.done }

// Kill ends it as a crash or a power cut would, frozen or not.
func (p *Program) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended just now
	<-p.done
}

// Stop asks it to end and waits; after patience it is killed, which is an error.
func (p *Program) Stop(patience time.Duration) error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended just now
	select {
	case <-p.done:
		return nil
	case <-time.After(patience):
		p.Kill()
		return errors.New("it did not end within " + patience.String() + " of SIGTERM")
	}
}

// Freeze stops it as a laptop's lid does, until the answer is called.
func (p *Program) Freeze() (thaw func()) {
	_ = p.cmd.Process.Signal(syscall.SIGSTOP) // it may have ended just now
	return func() { _ = p.cmd.Process.Signal(syscall.SIGCONT) }
}
