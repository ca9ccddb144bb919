package node

import (
	"context"
	"fmt"
	"maps"

	"github.com/orchion/orchion/orchestrator/internal/fault"
)

// SetUserLabels replaces the labels that people gave a node; durable.
// Errors: NotFound, Unavailable.
func (r *Registry) SetUserLabels(ctx context.Context, id string, labels map[string]string) (*Node, error) {
	return r.edit(ctx, id, func(n *Node) {
		n.UserLabels = maps.Clone(labels)
		n.Labels = mergeLabels(n.AgentLabels, n.UserLabels)
	})
}

// edit stores a change of what is known of a node and then makes it. The
// node's agent may register or beat meanwhile: apply runs on what is current.
func (r *Registry) edit(ctx context.Context, id string, apply func(*Node)) (*Node, error) {
	r.mu.RLock()
	e := r.entries[id]
	r.mu.RUnlock()
	if e == nil {
		return nil, notFound(id)
	}
	e.saving.Lock()
	defer e.saving.Unlock()
	if r.cfg.Store != nil {
		r.mu.Lock()
		draft := *e.latest()
		r.mu.Unlock()
		apply(&draft)
		if err := r.cfg.Store.SaveNode(ctx, draft.known()); err != nil {
			return nil, fmt.Errorf("store node %s: %w", id, err)
		}
	}
	r.mu.Lock()
	if r.entries[id] != e {
		r.mu.Unlock()
		return nil, notFound(id) // deleted meanwhile
	}
	prev, next := e.latest(), *e.latest()
	apply(&next)
	e.node = &next
	if next.inMaintenance() {
		r.excuseLocked(e)
	}
	r.changeLocked(prev, &next)
	r.mu.Unlock()
	r.deliver()
	return &next, nil
}

// SetEngines replaces the engines that a node has found on its machine.
// Errors: as Heartbeat's.
func (r *Registry) SetEngines(id, instanceID string, engines []LocalEngine) error {
	r.mu.Lock()
	e, err := r.holderLocked(id, instanceID)
	if err != nil {
		r.mu.Unlock()
		return err
	}
	prev, next := e.latest(), *e.latest()
	next.Capabilities.Engines = engines
	e.node = &next
	r.markDirtyLocked(e)
	r.changeLocked(prev, &next)
	r.mu.Unlock()
	r.deliver()
	return nil
}

// Delete forgets an offline node.
// Errors: NotFound, Precondition while it is active, Unavailable.
func (r *Registry) Delete(ctx context.Context, id string) error {
	r.mu.RLock()
	e := r.entries[id]
	r.mu.RUnlock()
	if e == nil {
		return notFound(id)
	}
	e.saving.Lock()
	defer e.saving.Unlock()
	r.mu.Lock()
	if r.entries[id] != e {
		r.mu.Unlock()
		return notFound(id)
	}
	if state := e.node.State; state.Active() {
		r.mu.Unlock()
		return fault.New(fault.Precondition, "node %q is %s; stop its node agent first", id, state)
	}
	r.mu.Unlock()
	if r.cfg.Store != nil {
		if err := r.cfg.Store.DeleteNode(ctx, id); err != nil && fault.CodeOf(err) != fault.NotFound {
			return fmt.Errorf("delete node %s: %w", id, err)
		}
	}
	r.mu.Lock()
	if r.entries[id] != e {
		r.mu.Unlock()
		return nil
	}
	if e.node.State.Active() {
		// It registered while it was being deleted: it is a new node now.
		r.markDirtyLocked(e)
		r.mu.Unlock()
		return nil
	}
	delete(r.entries, id)
	r.excuseLocked(e)
	r.sorted = nil
	r.changeLocked(e.node, nil)
	r.mu.Unlock()
	r.deliver()
	return nil
}
