package hosting

import (
	"context"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/engine"
)

// Log finds the log of the container of key, which need not run any more.
func (h *Host) Log(ctx context.Context, key string) (engine.Log, error) {
	list, err := h.Driver.List(ctx, h.labels())
	if err != nil {
		return nil, err
	}
	for _, c := range list {
		if c.Name == h.name(key) {
			return h.logOf(c.ID), nil
		}
	}
	return nil, &engine.Error{Code: engine.CodeUnavailable, Engine: h.Engine, Op: "read log", Message: "there is no container yet"}
}

func (h *Host) logOf(id string) engine.Log {
	return func(ctx context.Context, tail int, follow bool, handle func(driver.LogEntry) error) error {
		skip := int64(0)
		if tail > 0 {
			// Where the last ones begin is known when all have been counted.
			last := int64(0)
			if err := h.Driver.Logs(ctx, id, driver.LogOptions{}, func(e driver.LogEntry) error {
				last = e.Index
				return nil
			}); err != nil {
				return err
			}
			skip = max(last-int64(tail), 0)
		}
		return h.Driver.Logs(ctx, id, driver.LogOptions{Follow: follow, Skip: skip}, handle)
	}
}
