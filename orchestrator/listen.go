package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"syscall"

	"github.com/orchion/orchion/orchestrator/internal/fault"
)

// errWindowsInUse is WSAEADDRINUSE, which package syscall has no name for
// on other systems.
const errWindowsInUse = syscall.Errno(10048)

// listen binds one of the ports; flag is the one that chooses it.
func listen(ctx context.Context, host string, port int, flag string) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", hostPort(host, port))
	switch {
	case err == nil:
		return listener, nil
	case addressInUse(err):
		return nil, fault.New(fault.Unavailable,
			"port %d on %s is in use by another program; stop that one, or choose another port with --%s (0 takes a free one)", port, host, flag)
	case errors.Is(err, syscall.EACCES):
		return nil, fault.New(fault.Unavailable,
			"port %d on %s needs more rights than this user has; choose a port from 1024 with --%s", port, host, flag)
	default:
		return nil, fmt.Errorf("listen on %s (--listen, --%s): %w", hostPort(host, port), flag, err)
	}
}

func addressInUse(err error) bool {
	if errors.Is(err, syscall.EADDRINUSE) {
		return true
	}
	return runtime.GOOS == "windows" && errors.Is(err, errWindowsInUse)
}
