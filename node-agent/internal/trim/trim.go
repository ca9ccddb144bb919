// Package trim makes a program small again once it has started: of what starting needs,
// most is not needed to wait for work.
package trim

import (
	"context"
	"runtime/debug"
	"time"
)

// settled is after how long an agent has started, registered and looked around.
const settled = 5 * time.Second

// WhenSettled gives back what starting needed, once, unless ctx ends before.
func WhenSettled(ctx context.Context) {
	timer := time.AfterFunc(settled, now)
	context.AfterFunc(ctx, func() { timer.Stop() })
}

func now() {
	debug.FreeOSMemory()
	dropProgram()
}
