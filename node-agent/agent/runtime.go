package agent

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

const (
	// pingPeriod is how often the container engine is asked whether it is there while the
	// node has attempts or the last question was not answered, and idlePingPeriod how often
	// otherwise: Podman, where systemd starts it for each question, had rather be left alone.
	pingPeriod     = 5 * time.Second
	idlePingPeriod = 30 * time.Second
	// pingPatience is how long it may take to answer.
	pingPatience = 5 * time.Second
	// maxPings is how many questions in a row it may leave unanswered: it may be restarted,
	// which takes it a moment and needs not concern anybody.
	maxPings = 2
)

// watchRuntime withdraws the container engine from what the node offers while it does not
// answer, so that the node is given no containers to run.
func (n *node) watchRuntime(ctx context.Context) {
	ticker := time.NewTicker(pingPeriod)
	defer ticker.Stop()
	asked := time.Now()
	for missed := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if missed == 0 && time.Since(asked) < idlePingPeriod && len(n.worker.Leases()) == 0 {
			continue
		}
		asked = time.Now()
		err := n.ping(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			missed = 0
			n.offerRuntime(ctx)
		default:
			if missed++; missed == maxPings {
				n.withdrawRuntime(err)
			}
		}
	}
}

func (n *node) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingPatience)
	defer cancel()
	return n.engine.Ping(ctx)
}

// offerRuntime puts the engine back among what the node offers, when it is not there.
func (n *node) offerRuntime(ctx context.Context) {
	n.mu.Lock()
	offered := len(n.capabilities.GetRuntimes()) > 0
	n.mu.Unlock()
	if offered {
		return
	}
	runtime := n.machine.runtime(ctx, n.engine)
	if runtime == nil {
		return // the next ping tries again
	}
	n.cfg.Logger.Info("the container engine answers again: this node can run containers", "runtime", runtime.GetName())
	n.setRuntimes([]*orchionv1.ContainerRuntime{runtime})
}

func (n *node) withdrawRuntime(err error) {
	n.cfg.Logger.Warn("the container engine does not answer: this node takes no containers until it does; restart it if it hangs", "error", err)
	n.setRuntimes(nil)
}

// setRuntimes changes what the node offers and registers it anew with that.
func (n *node) setRuntimes(runtimes []*orchionv1.ContainerRuntime) {
	n.mu.Lock()
	n.capabilities = proto.CloneOf(n.capabilities)
	n.capabilities.Runtimes = runtimes
	n.mu.Unlock()
	n.membership.Renew()
}
