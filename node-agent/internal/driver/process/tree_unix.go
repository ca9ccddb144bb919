//go:build unix && !linux

package process

import "syscall"

// dieTogether: this system has no way to make it so.
func dieTogether(*syscall.SysProcAttr) {}

// killDescendants: this system does not tell what they are. What is left of the program's
// group is killed.
func killDescendants(group int) {
	_ = syscall.Kill(-group, syscall.SIGKILL) // there may be none
}

// killMarked: this system does not show the environment of others.
func killMarked(string) {}
