package ollama

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/orchion/orchion/node-agent/internal/engine"
)

var errStalled = errors.New("no progress")

// obtain brings a model to the machine: from another node, or else from its registry. Other
// nodes have the replica's own model; where that is made of the one that is needed, its
// files are most of what a registry would give.
func (e *Engine) obtain(ctx context.Context, c *api, containerID string, spec engine.Spec, model string, r *engine.Reporter) error {
	own := canonical(spec.Model)
	there, why, err := e.fromPeers(ctx, c, containerID, spec, own, r)
	if err != nil || there && own == model {
		return err
	}
	reason := "pulling model " + model
	if why != nil {
		reason += ", since it could not be copied from another node: " + why.Error()
	}
	return e.pull(ctx, c, model, reason, r)
}

// pull downloads a model and reports it.
func (e *Engine) pull(ctx context.Context, c *api, model, reason string, r *engine.Reporter) error {
	op := "pull model " + model
	r.Pulling(0, 0, 0, reason)

	watched, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(e.cfg.StallTimeout, func() { cancel(errStalled) })
	defer stall.Stop()

	var layers layers
	succeeded := false
	err := c.pull(watched, model, func(event pullEvent) error {
		if layers.add(event) || event.Digest == "" {
			// Lines that repeat what is known already do not count as life.
			stall.Reset(e.cfg.StallTimeout)
		}
		switch {
		case event.Status == "success":
			succeeded = true
		case event.Digest != "":
			r.Pulling(layers.percent(), layers.completed, layers.total, reason)
		}
		return nil
	})
	switch {
	case errors.Is(context.Cause(watched), errStalled):
		return &engine.Error{
			Code: engine.CodeUnavailable, Engine: name, Op: op,
			Message: fmt.Sprintf("no progress for %v", e.cfg.StallTimeout),
			Hint:    "check that the node reaches the model registry; what has come is kept",
		}
	case errors.Is(err, io.EOF) && succeeded:
		return nil
	case errors.Is(err, io.EOF):
		return &engine.Error{Code: engine.CodeUnavailable, Engine: name, Op: op, Message: "the answer ended early"}
	}
	return e.fail(ctx, op, err)
}

// layers adds up the parts of a model, of which Ollama reports each apart and the largest
// first, learning of the others one by one.
type layers struct {
	byDigest         map[string]pullEvent
	completed, total int64
}

// add takes a line; it says whether that brought anything new.
func (l *layers) add(event pullEvent) bool {
	if event.Digest == "" {
		return false
	}
	if l.byDigest == nil {
		l.byDigest = map[string]pullEvent{}
	}
	old, known := l.byDigest[event.Digest]
	event.Completed = max(event.Completed, old.Completed)
	event.Total = max(event.Total, old.Total, event.Completed)
	l.byDigest[event.Digest] = event
	l.completed += event.Completed - old.Completed
	l.total += event.Total - old.Total
	return !known || event.Completed > old.Completed
}

// percent leaves the last hundredth for checking and storing.
func (l *layers) percent() float64 {
	if l.total == 0 {
		return 0
	}
	return min(99, 100*float64(l.completed)/float64(l.total))
}
