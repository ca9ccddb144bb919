//go:build unix

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// process is one of the programs under test.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// launch starts a program whose output goes to a file, appended.
func launch(path, logFile string, env []string, args ...string) (*process, error) {
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p := &process{cmd: exec.Command(path, args...), done: make(chan struct{})}
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

func (p *process) alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// kill ends it as a crash or a power cut would, frozen or not.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended just now
	<-p.done
}

// stop asks it to end and waits.
func (p *process) stop(patience time.Duration) error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended just now
	select {
	case <-p.done:
		return nil
	case <-time.After(patience):
		p.kill()
		return errors.New("it did not end within " + patience.String() + " of SIGTERM")
	}
}

// freeze stops it as a laptop's lid does, until the answer is called.
func (p *process) freeze() (thaw func()) {
	_ = p.cmd.Process.Signal(syscall.SIGSTOP) // it may have ended just now
	return func() { _ = p.cmd.Process.Signal(syscall.SIGCONT) }
}
