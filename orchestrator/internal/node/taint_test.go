package node

import (
	"fmt"
	"slices"
	"testing"

	"github.com/orchion/orchion/orchestrator/internal/fault"
)

func TestTaintsOutliveRestarts(t *testing.T) {
	store := newMemoryStore()
	first := NewRegistry(Config{Store: store})
	if err := first.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := func(n *Node, err error, taints ...string) {
		t.Helper()
		if err != nil || !slices.Equal(n.Taints, taints) {
			t.Errorf("taints are %q, %v; want %q", n.Taints, err, taints)
		}
	}
	n := register(t, first, Registration{ID: "n", Taints: []string{"gpu-only"}})
	want(n, nil, "gpu-only")
	n, err := first.Taint(t.Context(), "n", []string{"slow", "gpu-only", "slow"})
	want(n, err, "gpu-only", "slow")
	first.Stop()

	second := start(t, Config{Store: store})
	n, _ = second.Get("n")
	want(n, nil, "gpu-only", "slow")
	n = register(t, second, Registration{ID: "n", Taints: []string{"attic"}})
	// What a person put on it stays, whoever else gave it.
	want(n, nil, "attic", "gpu-only", "slow")
	_, err = second.Untaint(t.Context(), "n", []string{"slow", "attic"})
	wantFault(t, err, fault.Precondition, `the taint "attic" is given to node "n" by its node agent; take it out of the agent's --taints`)
	n, err = second.Untaint(t.Context(), "n", []string{"slow", "unknown", "gpu-only"})
	want(n, err, "attic")
}

func TestTaintRefusals(t *testing.T) {
	r := start(t, Config{})
	register(t, r, Registration{ID: "n"})
	_, err := r.Taint(t.Context(), "stranger", []string{"x"})
	wantFault(t, err, fault.NotFound, `node "stranger" is not known`)
	_, err = r.Untaint(t.Context(), "stranger", []string{"x"})
	wantFault(t, err, fault.NotFound, `node "stranger" is not known`)
	var many []string
	for i := range MaxTaints + 1 {
		many = append(many, fmt.Sprint("t", i))
	}
	_, err = r.Taint(t.Context(), "n", many)
	wantFault(t, err, fault.Invalid, `taints: would be 33 on node "n"; at most 32 are allowed`)
	if n, err := r.Taint(t.Context(), "n", many[1:]); err != nil || len(n.Taints) != MaxTaints {
		t.Errorf("with as many as are allowed: %v", err)
	}
}
