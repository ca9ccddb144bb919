//go:build unix

package bed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// stopTimeout is how long an engine may take to stop; then it is killed.
const stopTimeout = 20 * time.Second

// detach has the program go on when we, or our terminal, are gone.
func detach(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
}

// terminate ends the process and waits until it is gone. A process of that id
// that is another program by now is left alone.
func terminate(ctx context.Context, pid int, program string) error {
	if !isProgram(pid, program) {
		return nil
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		if errors.Is(err, syscall.ESRCH) {
			return nil
		}
		return fmt.Errorf("interrupt process %d: %w", pid, err)
	}
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return syscall.Kill(pid, syscall.SIGKILL)
		case <-tick.C:
			if !isProgram(pid, program) {
				return nil
			}
		}
	}
}

func isProgram(pid int, program string) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if errors.Is(err, os.ErrNotExist) {
		// No /proc on this system, so no way to tell: the file of ids is ours.
		_, noProc := os.Stat("/proc/self")
		return noProc != nil
	}
	return err == nil && strings.Contains(string(cmdline), program)
}
