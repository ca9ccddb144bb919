package model_test

import (
	"testing"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/model"
)

func TestModelsGoWhereTheyFit(t *testing.T) {
	fits := &model.Suitability{
		Never: map[string]string{"a": "needs 40.0 GiB of memory; 32.0 GiB are missing"},
		Taken: map[string]string{"t": "needs 40.0 GiB of memory; 2.0 GiB are missing, which others use now"},
		Slow:  map[string]string{"b": "only on the CPU, which is slow: it has no GPU"},
	}
	bubbleWith(t, func(r *rig) { r.fits = fits }, func(t *testing.T, r *rig) {
		r.node("a")
		r.create("d")
		r.wantReason("d", "waits for a node: the only node cannot take it: needs 40.0 GiB of memory; 32.0 GiB are missing")
		// One where others have the memory is better than none, and says so: they may go.
		r.node("t")
		time.Sleep(time.Second)
		r.want("d", "pending: t pending")
		if got := r.on("d", "t").Reason; got != fits.Taken["t"] {
			t.Errorf("placed where the memory is taken for the reason %q", got)
		}
		// One that is slow is better.
		r.node("b")
		r.create("slow")
		r.want("slow", "pending: b pending")
		if got := r.on("slow", "b").Reason; got != fits.Slow["b"] {
			t.Errorf("placed for the reason %q", got)
		}
		r.ready("slow", "b")
		if got := r.on("slow", "b").Reason; got != fits.Slow["b"] {
			t.Errorf("it serves, and says %q", got)
		}
		// One that is neither is better still.
		r.node("c")
		r.create("other")
		r.want("other", "pending: c pending")
		// Who declares what it needs is believed.
		r.create("declared", needsMemory(gib), func(s *model.Spec) { s.Nodes = []string{"a"} })
		r.want("declared", "pending: a pending")
	})
}
