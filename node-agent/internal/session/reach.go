package session

import (
	"log/slog"
	"sync"

	"google.golang.org/grpc/status"
)

// Reach tells people once when the orchestrator goes out of reach and once when it is
// back, however many calls fail in between.
type Reach struct {
	address string
	logger  *slog.Logger

	mu    sync.Mutex // guards what follows
	known bool       // whether a call has succeeded or failed yet
	away  bool
	back  chan struct{} // closed when it is back; nil unless away
}

// NewReach makes a Reach for the orchestrator at address, which it names in its messages.
func NewReach(address string, logger *slog.Logger) *Reach {
	return &Reach{address: address, logger: logger}
}

// Failed takes note of a call that did not get through.
func (r *Reach) Failed(err error) {
	r.mu.Lock()
	first := !r.away
	never := !r.known
	r.away, r.known = true, true
	if first {
		r.back = make(chan struct{})
	}
	r.mu.Unlock()
	if !first {
		return
	}
	reason := status.Convert(err).Message()
	if never {
		r.logger.Warn("cannot reach the orchestrator, retrying until it answers: start it with `orchestrator`, or name its address with --orchestrator",
			"orchestrator", r.address, "error", reason)
		return
	}
	r.logger.Warn("lost the orchestrator, retrying until it answers", "orchestrator", r.address, "error", reason)
}

// Succeeded takes note of a call that got through.
func (r *Reach) Succeeded() {
	r.mu.Lock()
	back := r.away
	r.away, r.known = false, true
	if back {
		close(r.back)
		r.back = nil
	}
	r.mu.Unlock()
	if back {
		r.logger.Info("the orchestrator answers again", "orchestrator", r.address)
	}
}

// returned gives a channel that is closed when an orchestrator that is away is back, so
// that nobody sits out a pause that has lost its reason. It is nil when it is not away.
func (r *Reach) returned() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.back
}
