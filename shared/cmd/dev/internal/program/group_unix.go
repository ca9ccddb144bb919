//go:build unix

package program

import (
	"os/exec"
	"syscall"
)

// setGroup gives the program a process group of its own, so that an interrupt
// reaches the programs it starts in turn (npm, go test).
func setGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}

func interruptGroup(cmd *exec.Cmd) error {
	return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
}
