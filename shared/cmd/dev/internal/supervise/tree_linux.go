package supervise

import "syscall"

// dieWithUs has the kernel interrupt the child when we die without having
// stopped it, even by kill -9. The child is asked, not killed, so that it can
// in turn stop what it started.
func dieWithUs(attr *syscall.SysProcAttr) {
	attr.Pdeathsig = syscall.SIGTERM
}
