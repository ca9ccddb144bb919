package agent

import (
	"context"

	"github.com/orchion/orchion/node-agent/internal/joblink"
	"github.com/orchion/orchion/node-agent/internal/jobnet"
	"github.com/orchion/orchion/node-agent/internal/worker"
)

// jobLinks lets the worker use package joblink.
type jobLinks struct{ links *joblink.Links }

func (l jobLinks) Open(ctx context.Context, jobID string, attempt int) (worker.Link, error) {
	link, err := l.links.Open(ctx, jobID, attempt)
	if err != nil {
		return nil, err
	}
	return link, nil
}

func (l jobLinks) Reap(ctx context.Context, keep func(jobID string, attempt int) bool) error {
	return l.links.Reap(ctx, keep)
}

// jobNetworks lets the worker use package jobnet.
type jobNetworks struct{ pool *jobnet.Pool }

func (n jobNetworks) Lend(ctx context.Context) worker.Network { return n.pool.Lend(ctx) }

func (n jobNetworks) TakeOver(id string) worker.Network { return n.pool.TakeOver(id) }

func (n jobNetworks) Reap(ctx context.Context, keep func(id string) bool) error {
	return n.pool.Reap(ctx, keep)
}
