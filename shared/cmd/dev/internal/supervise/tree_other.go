//go:build unix && !linux

package supervise

import "syscall"

// dieWithUs does nothing: these systems cannot tell a child of its parent's
// death. A kill -9 of the supervisor leaves its programs behind here.
func dieWithUs(*syscall.SysProcAttr) {}
