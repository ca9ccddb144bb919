package agent

import (
	"context"
	"os"
	"path/filepath"
	"runtime"

	"google.golang.org/protobuf/proto"

	"github.com/orchion/orchion/node-agent/internal/locallink"
	"github.com/orchion/orchion/node-agent/internal/policy"
	"github.com/orchion/orchion/node-agent/internal/tunnel"
	"github.com/orchion/orchion/node-agent/internal/worker"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
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

// openPolicy reads the policy file; the error is a *SettingError.
func openPolicy(cfg Config) (*policy.File, error) {
	path, required := cfg.Policy, true
	if path == "" {
		path, required = filepath.Join(cfg.DataDir, PolicyFile), false
	}
	file, err := policy.Open(path, required, cfg.Logger)
	if err != nil {
		return nil, wrong("policy", "cannot be used: %v", err)
	}
	return file, nil
}

// processesOf is what the orchestrator is told of a policy: names and paths, and no more.
func processesOf(p *policy.Policy) []*orchionv1.AllowedProcess {
	var list []*orchionv1.AllowedProcess
	for _, allowed := range p.Processes {
		list = append(list, &orchionv1.AllowedProcess{Name: allowed.Name, Path: allowed.Path})
	}
	return list
}

// offerProcesses registers the node anew with what its policy allows now.
func (n *node) offerProcesses() {
	n.mu.Lock()
	n.capabilities = proto.CloneOf(n.capabilities)
	n.capabilities.Processes = processesOf(n.policy.Policy())
	n.mu.Unlock()
	n.membership.Renew()
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
