//go:build unix

package supervise

import (
	"os/exec"
	"syscall"
)

// tree is a program with everything it started: its process group.
type tree struct{ pgid int }

func prepare(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		// Its own group: Ctrl-C in the terminal then reaches us alone, and we
		// stop the parts in order.
		Setpgid: true,
	}
	dieWithUs(cmd.SysProcAttr)
}

func adopt(cmd *exec.Cmd) (*tree, error) {
	return &tree{pgid: cmd.Process.Pid}, nil
}

// The group may be gone already; that is what was wanted.
func (t *tree) interrupt() { _ = syscall.Kill(-t.pgid, syscall.SIGINT) }
func (t *tree) kill()      { _ = syscall.Kill(-t.pgid, syscall.SIGKILL) }
