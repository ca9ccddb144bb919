package agent

import (
	"context"
	"os"
	"path/filepath"
	"runtime"

	"github.com/orchion/orchion/node-agent/internal/locallink"
	"github.com/orchion/orchion/node-agent/internal/tunnel"
	"github.com/orchion/orchion/node-agent/internal/worker"
)

const (
	// processFolder and linkFolder are the folders of process jobs, and of their ways to the
	// gateway, in the data directory.
	processFolder = "processes"
	linkFolder    = "process-links"
)

// SuperviseCommand makes this program the supervisor of the process in a folder, which is
// its only argument.
const SuperviseCommand = "supervise"

// supervisor is this program as the supervisor of a process, also when its file was replaced
// by another version since.
func supervisor() []string {
	self := "/proc/self/exe"
	if runtime.GOOS != "linux" {
		var err error
		if self, err = os.Executable(); err != nil {
			self = os.Args[0]
		}
	}
	return []string{self, SuperviseCommand}
}

func (n *node) processLinks(dialer *tunnel.Dialer) worker.Linker {
	return processLinks{locallink.New(locallink.Config{
		Dir: filepath.Join(n.cfg.DataDir, linkFolder), Client: dialer.HTTPClient, Logger: n.cfg.Logger,
	})}
}

// processLinks lets the worker use package locallink.
type processLinks struct{ links *locallink.Links }

func (l processLinks) Open(ctx context.Context, jobID string, attempt int) (worker.Link, error) {
	link, err := l.links.Open(ctx, jobID, attempt)
	if err != nil {
		return nil, err
	}
	return link, nil
}

func (l processLinks) Reap(ctx context.Context, keep func(jobID string, attempt int) bool) error {
	return l.links.Reap(ctx, keep)
}
