package api

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// node reads an answer that is a node.
func (a answer) node(t *testing.T) *orchionv1.Node {
	t.Helper()
	n := &orchionv1.Node{}
	if err := protojson.Unmarshal(a.body, n); err != nil || a.status != http.StatusOK {
		t.Fatalf("HTTP %d: %s (%v)", a.status, a.body, err)
	}
	return n
}

func TestDrainOverREST(t *testing.T) {
	h := newHarness(t, settings{})
	h.register(t, worker("n1"), "")

	n := h.call(t, http.MethodPost, "/api/nodes/n1:drain", "").node(t)
	if d := n.GetDrain(); n.GetState() != orchionv1.NodeState_NODE_STATE_DRAINING || n.GetCordoned() ||
		d.GetMode() != orchionv1.DrainMode_DRAIN_MODE_FINISH || d.GetDeadline() != nil || d.GetSince() == nil || d.GetMaintenance() {
		t.Errorf("drained without saying how it is %v", n)
	}
	since := n.GetDrain().GetSince().AsTime()
	n = h.call(t, http.MethodPost, "/api/nodes/n1:drain", `{"deadline":"600s","reason":"new disk","maintenance":true}`).node(t)
	d := n.GetDrain()
	if left := time.Until(d.GetDeadline().AsTime()); left < 9*time.Minute || left > 10*time.Minute {
		t.Errorf("the deadline is in %v, want 10m", left)
	}
	if d.GetReason() != "new disk" || !d.GetMaintenance() || !d.GetSince().AsTime().Equal(since) || d.GetRemainingJobs() != 0 {
		t.Errorf("drained again it is %v", d)
	}
	n = h.call(t, http.MethodPost, "/api/nodes/n1:drain", `{"mode":"DRAIN_MODE_MOVE"}`).node(t)
	if d := n.GetDrain(); d.GetMode() != orchionv1.DrainMode_DRAIN_MODE_MOVE || d.GetDeadline() != nil || d.GetReason() != "" {
		t.Errorf("drained to move it is %v", d)
	}
	if n = h.call(t, http.MethodPost, "/api/nodes/n1:undrain", "").node(t); n.GetDrain() != nil || n.GetState() != orchionv1.NodeState_NODE_STATE_ONLINE {
		t.Errorf("undrained it is %v", n)
	}
}

func TestCordonOverREST(t *testing.T) {
	h := newHarness(t, settings{})
	h.register(t, worker("n1"), "")
	for range 2 { // idempotent
		n := h.call(t, http.MethodPost, "/api/nodes/n1:cordon", "").node(t)
		if !n.GetCordoned() || n.GetState() != orchionv1.NodeState_NODE_STATE_ONLINE || n.GetDrain() != nil {
			t.Errorf("cordoned it is %v", n)
		}
	}
	// Draining it does not touch the cordon.
	h.call(t, http.MethodPost, "/api/nodes/n1:drain", "")
	if n := h.call(t, http.MethodPost, "/api/nodes/n1:undrain", "").node(t); !n.GetCordoned() {
		t.Errorf("undrained it is %v", n)
	}
	if n := h.call(t, http.MethodPost, "/api/nodes/n1:uncordon", "").node(t); n.GetCordoned() {
		t.Errorf("uncordoned it is %v", n)
	}
}

func TestDrainRefusesBadInput(t *testing.T) {
	h := newHarness(t, settings{})
	h.register(t, worker("n1"), "")
	for body, want := range map[string]string{
		`{"mode":7}`:                                     "mode: is 7; allowed are DRAIN_MODE_FINISH, DRAIN_MODE_MOVE",
		`{"deadline":"-1s"}`:                             "deadline: is -1s; it must be between 1s and 720h0m0s",
		`{"deadline":"0.5s"}`:                            "deadline: is 500ms; it must be between 1s and 720h0m0s",
		`{"deadline":"1e9s"}`:                            "body: ",
		`{"deadline":"99999999s"}`:                       "deadline: is",
		`{"mode":"DRAIN_MODE_MOVE","deadline":"60s"}`:    "deadline: does not go with DRAIN_MODE_MOVE",
		`{"reason":"` + strings.Repeat("x", 1025) + `"}`: "reason: has 1025 bytes; at most 1024 are allowed",
		`{"reason":"a\u0000b"}`:                          "reason: holds characters that cannot be printed",
		`{"mod":"x"}`:                                    "body: ",
	} {
		h.call(t, http.MethodPost, "/api/nodes/n1:drain", body).wantError(t, http.StatusBadRequest, codes.InvalidArgument, want)
	}
	for _, verb := range []string{"drain", "undrain", "cordon", "uncordon"} {
		h.call(t, http.MethodPost, "/api/nodes/stranger:"+verb, "").wantError(t, http.StatusNotFound, codes.NotFound, `node "stranger" is not known`)
	}
	if n := h.call(t, http.MethodGet, "/api/nodes/n1", "").node(t); n.GetDrain() != nil || n.GetCordoned() {
		t.Errorf("refused calls made it %v", n)
	}
}
