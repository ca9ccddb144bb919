package docker

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// Podman 4 now and then never answers a wait for a container, or never ends the log that is
// followed, when the container ends just as the request comes in. So a look at the container
// itself stands beside both: soon at first, when that happens, and seldom later.
const (
	firstLook = time.Second
	lastLook  = 30 * time.Second
)

// errEnded is the cause of requests that are broken off because there is nothing to come.
var errEnded = errors.New("the container has ended")

// watchEnd looks at a container until ctx is done. It calls ended, once, when the container
// runs no more and nothing has moved since the look before; moved counts what has come in.
func (d *Driver) watchEnd(ctx context.Context, id string, moved *atomic.Int64, ended func(driver.Exit)) {
	wait := d.firstLook
	over, seen := false, int64(-1)
	for {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		before := moved.Load()
		c, err := d.inspect(ctx, "look at container", id)
		switch {
		case err != nil || c.State != driver.StateExited:
			over = false
			wait = min(2*wait, lastLook)
		case over && before == seen:
			ended(c.Exit)
			return
		default:
			over, seen = true, before
			wait = d.firstLook
		}
	}
}
