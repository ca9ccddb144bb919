package node

import (
	"context"
	"slices"

	"github.com/orchion/orchion/orchestrator/internal/fault"
)

// MaxTaints is how many taints a node may have.
const MaxTaints = 32

// Taint keeps new work that does not tolerate the taints away from a node;
// durable. Errors: NotFound, Invalid past MaxTaints, Unavailable.
func (r *Registry) Taint(ctx context.Context, id string, taints []string) (*Node, error) {
	n, ok := r.Get(id)
	if !ok {
		return nil, notFound(id)
	}
	if all := mergeTaints(n.Taints, taints); len(all) > MaxTaints {
		return nil, fault.BadField("taints", "would be %d on node %q; at most %d are allowed", len(all), id, MaxTaints)
	}
	return r.editTaints(ctx, id, func(of []string) []string { return mergeTaints(of, taints) })
}

// Untaint takes taints off a node again; durable. Errors: NotFound,
// Precondition for one that its node agent gives it, Unavailable.
func (r *Registry) Untaint(ctx context.Context, id string, taints []string) (*Node, error) {
	n, ok := r.Get(id)
	if !ok {
		return nil, notFound(id)
	}
	for _, taint := range taints {
		if slices.Contains(n.AgentTaints, taint) {
			return nil, fault.New(fault.Precondition, "the taint %q is given to node %q by its node agent; take it out of the agent's --taints", taint, id)
		}
	}
	return r.editTaints(ctx, id, func(of []string) []string {
		return slices.DeleteFunc(slices.Clone(of), func(taint string) bool { return slices.Contains(taints, taint) })
	})
}

func (r *Registry) editTaints(ctx context.Context, id string, change func([]string) []string) (*Node, error) {
	return r.edit(ctx, id, func(n *Node) {
		n.UserTaints = change(n.UserTaints)
		n.Taints = mergeTaints(n.AgentTaints, n.UserTaints)
	})
}

// mergeTaints answers the distinct taints of two lists, ordered; nil when there
// are none.
func mergeTaints(a, b []string) []string {
	if len(a)+len(b) == 0 {
		return nil
	}
	merged := slices.Concat(a, b)
	slices.Sort(merged)
	return slices.Compact(merged)
}
