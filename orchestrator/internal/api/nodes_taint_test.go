package api

import (
	"net/http"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

func TestTaintsOverREST(t *testing.T) {
	h := newHarness(t, settings{})
	n := worker("n1")
	n.Taints, n.Labels = []string{"gpu-only"}, map[string]string{"room": "office"}
	h.register(t, n, "")
	want := func(n *orchionv1.Node, taints ...string) {
		t.Helper()
		if !slices.Equal(n.GetTaints(), taints) {
			t.Errorf("taints are %q, want %q", n.GetTaints(), taints)
		}
	}
	want(h.call(t, http.MethodPost, "/api/nodes/n1:taint", `{"taints":["slow","attic"]}`).node(t), "attic", "gpu-only", "slow")
	want(h.call(t, http.MethodPost, "/api/nodes/n1:untaint", `{"taints":["slow","unknown"]}`).node(t), "attic", "gpu-only")
	h.call(t, http.MethodPost, "/api/nodes/n1:untaint", `{"taints":["gpu-only"]}`).
		wantError(t, http.StatusBadRequest, codes.FailedPrecondition, `the taint "gpu-only" is given to node "n1" by its node agent`)
	for _, verb := range []string{"taint", "untaint"} {
		h.call(t, http.MethodPost, "/api/nodes/n1:"+verb, `{}`).
			wantError(t, http.StatusBadRequest, codes.InvalidArgument, "taints: must name at least one taint")
		h.call(t, http.MethodPost, "/api/nodes/n1:"+verb, `{"taints":["*"]}`).
			wantError(t, http.StatusBadRequest, codes.InvalidArgument, `taints[0]: is "*"; a taint is`)
		h.call(t, http.MethodPost, "/api/nodes/stranger:"+verb, `{"taints":["x"]}`).
			wantError(t, http.StatusNotFound, codes.NotFound, `node "stranger" is not known`)
	}
	want(h.call(t, http.MethodGet, "/api/nodes/n1", "").node(t), "attic", "gpu-only")

	// Those labels that people put on it are told apart from the agent's.
	got := h.call(t, http.MethodPatch, "/api/nodes/n1", `{"labels":{"disk":"ssd"}}`).node(t)
	if len(got.GetLabels()) != 2 || len(got.GetUserLabels()) != 1 || got.GetUserLabels()["disk"] != "ssd" {
		t.Errorf("labels are %v, of people %v", got.GetLabels(), got.GetUserLabels())
	}

	h.call(t, http.MethodPost, "/api/jobs", `{"spec":{"container":{"image":"alpine"},"tolerations":["ok","*","a b"]}}`).
		wantError(t, http.StatusBadRequest, codes.InvalidArgument, `spec.tolerations[2]: is "a b"; a taint is 1 to 63 characters`)
	h.call(t, http.MethodPost, "/api/deployments", `{"spec":{"model":"m","engine":"ENGINE_OLLAMA","tolerations":[""]}}`).
		wantError(t, http.StatusBadRequest, codes.InvalidArgument, `spec.tolerations[0]: is ""; a taint is 1 to 63 characters`)
}
