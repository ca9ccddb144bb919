package agent

import (
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// probePeriod is how often the engines that serve on this machine are looked for.
const probePeriod = 30 * time.Second

// watchEngines keeps the orchestrator told of the engines that this node adopts.
func (n *node) watchEngines(ctx context.Context) {
	if slices.Equal(n.cfg.Adopt, []string{AdoptNone}) {
		return
	}
	ticker := time.NewTicker(probePeriod)
	defer ticker.Stop()
	for {
		n.adopt(n.machine.adoptable(ctx, n.engine))
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// adopt takes over what was found, and tells when it is new.
func (n *node) adopt(found []*orchionv1.LocalEngine) {
	n.mu.Lock()
	before := n.capabilities.GetEngines()
	changed := !slices.EqualFunc(before, found, func(a, b *orchionv1.LocalEngine) bool { return proto.Equal(a, b) })
	if changed {
		n.capabilities = proto.CloneOf(n.capabilities)
		n.capabilities.Engines = found
	}
	n.mu.Unlock()
	if !changed {
		return
	}
	for _, e := range found {
		if !slices.ContainsFunc(before, func(b *orchionv1.LocalEngine) bool { return b.GetEndpoint() == e.GetEndpoint() }) {
			n.cfg.Logger.Info("adopting a model engine that runs here already", "engine", e.GetName(), "endpoint", e.GetEndpoint(), "models", e.GetModels())
		}
	}
	for _, b := range before {
		if !slices.ContainsFunc(found, func(e *orchionv1.LocalEngine) bool { return e.GetEndpoint() == b.GetEndpoint() }) {
			n.cfg.Logger.Info("an adopted model engine is gone", "engine", b.GetName(), "endpoint", b.GetEndpoint())
		}
	}
	n.stream.ReportEngines(found)
}

// adopts says whether an endpoint is one of an engine that this node adopts.
func (n *node) adopts(endpoint string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.ContainsFunc(n.capabilities.GetEngines(), func(e *orchionv1.LocalEngine) bool { return e.GetEndpoint() == endpoint })
}

// adopted gives the endpoints of the engines that this node adopts now.
func (n *node) adopted() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var endpoints []string
	for _, e := range n.capabilities.GetEngines() {
		endpoints = append(endpoints, e.GetEndpoint())
	}
	return endpoints
}
