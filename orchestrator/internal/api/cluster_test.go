package api

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/orchion/orchion/orchestrator/internal/events"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// cluster reads an answer that is the cluster.
func (a answer) cluster(t *testing.T) *orchionv1.Cluster {
	t.Helper()
	c := &orchionv1.Cluster{}
	if err := protojson.Unmarshal(a.body, c); err != nil || a.status != http.StatusOK {
		t.Fatalf("HTTP %d: %s (%v)", a.status, a.body, err)
	}
	return c
}

func TestClusterPausesAndResumes(t *testing.T) {
	h := newHarness(t, settings{heartbeats: 300 * time.Millisecond})
	h.submit(t, `{"spec":{"container":{"image":"alpine"}}}`)
	watching := h.bus.Subscribe("")
	defer watching.Close()
	for _, id := range []string{"n1", "n2", "n3"} {
		h.register(t, worker(id), "")
	}
	c := h.call(t, http.MethodGet, "/api/cluster", "").cluster(t)
	if c.GetNodes().GetOnline() != 3 || c.GetNodes().GetOffline() != 0 || c.GetPause() != nil {
		t.Errorf("the cluster is %v", c)
	}
	// Nobody beats; the event tells when that was noticed.
	var paused *orchionv1.Cluster
	for paused.GetPause() == nil {
		e, err := watching.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if e.Cluster {
			if name := eventName(&e); name != "cluster" || e.Type != events.Updated {
				t.Errorf("the event is %q of type %v", name, e.Type)
			}
			paused = h.server.cfg.eventToProto(&e).GetCluster()
		}
	}
	c = h.call(t, http.MethodGet, "/api/cluster", "").cluster(t)
	p := c.GetPause()
	if p.GetSilentNodes() < 2 || !strings.Contains(p.GetReason(), "nodes went silent within a minute") ||
		p.GetUntil().AsTime().Sub(p.GetSince().AsTime()) != 5*time.Minute || c.GetJobs().GetQueued() != 1 {
		t.Errorf("the paused cluster is %v", c)
	}
	if a := h.call(t, http.MethodGet, "/metrics", ""); !strings.Contains(string(a.body), "orchion_rescheduling_paused 1\n") {
		t.Error("the metrics do not tell of the pause")
	}
	for range 2 { // idempotent
		if c = h.call(t, http.MethodPost, "/api/cluster:resume", "").cluster(t); c.GetPause() != nil {
			t.Errorf("resumed it is %v", c)
		}
	}
}
