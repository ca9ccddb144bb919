package api

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/gateway/routing"
	"github.com/orchion/orchion/orchestrator/internal/model"
)

func TestModelTraffic(t *testing.T) {
	s := settings{traffic: func(name string) ([]routing.QueueStatus, []routing.ReplicaStatus) {
		if name != "" && name != "m" {
			return nil, nil
		}
		return []routing.QueueStatus{{Model: "m", Interactive: 3, Batch: 2, Oldest: time.Now().Add(-time.Minute), InFlight: 8, Replicas: 2, MaxInFlight: 8, MaxQueued: 256}},
			[]routing.ReplicaStatus{
				{Route: model.Route{Model: "m", NodeID: "n2", EngineEndpoint: "127.0.0.1:11434", Engine: "ollama"}, Breaker: routing.Open, RetryAfter: 2 * time.Second},
				{Route: model.Route{Model: "m", NodeID: "n1", ReplicaID: "m-1", Engine: "ollama", MaxInFlight: 8}, InFlight: 8, First: 250 * time.Millisecond, Rate: 31.5},
			}
	}}
	h := newHarness(t, s)
	read := func(path string, out any) {
		t.Helper()
		a := h.call(t, http.MethodGet, path, "")
		if a.status != http.StatusOK {
			t.Fatalf("%s answers %d %s", path, a.status, a.body)
		}
		a.decode(t, out)
	}
	var queues struct {
		Queues []struct {
			Model, Oldest                                                  string
			Interactive, Batch, InFlight, Replicas, MaxInFlight, MaxQueued int
		}
	}
	read("/api/gateway/queues", &queues)
	if len(queues.Queues) != 1 {
		t.Fatalf("the queues are %+v", queues)
	}
	q := queues.Queues[0]
	if !strings.HasPrefix(q.Oldest, "60") {
		t.Errorf("the oldest has waited %q, want a minute", q.Oldest)
	}
	q.Oldest = ""
	if q.Model != "m" || q.Interactive != 3 || q.Batch != 2 || q.InFlight != 8 || q.Replicas != 2 || q.MaxInFlight != 8 || q.MaxQueued != 256 {
		t.Errorf("the queue is %+v", q)
	}
	type replica struct {
		Model, NodeID, ReplicaID, EngineEndpoint, Engine, Breaker, RetryAfter, FirstToken string
		InFlight, MaxInFlight                                                             int
		TokensPerSecond                                                                   float64
	}
	var replicas struct {
		Replicas      []replica
		NextPageToken string
	}
	read("/api/gateway/replicas?pageSize=1&model=m", &replicas)
	want := replica{Model: "m", NodeID: "n1", ReplicaID: "m-1", Engine: "ollama", Breaker: "closed", FirstToken: "0.250s", InFlight: 8, MaxInFlight: 8, TokensPerSecond: 31.5}
	if len(replicas.Replicas) != 1 || replicas.Replicas[0] != want || replicas.NextPageToken == "" {
		t.Fatalf("the first page is %+v, want %+v", replicas, want)
	}
	replicas.Replicas = nil
	read("/api/gateway/replicas?pageToken="+replicas.NextPageToken, &replicas)
	want = replica{Model: "m", NodeID: "n2", EngineEndpoint: "127.0.0.1:11434", Engine: "ollama", Breaker: "open", RetryAfter: "2s"}
	if got := replicas.Replicas[len(replicas.Replicas)-1]; got != want {
		t.Errorf("the second page has %+v, want %+v", got, want)
	}
	queues.Queues = nil
	if read("/api/gateway/queues?model=other", &queues); len(queues.Queues) != 0 {
		t.Errorf("another model has %+v", queues)
	}
	if a := h.call(t, http.MethodGet, "/api/gateway/queues?pageSize=-1", ""); a.status != http.StatusBadRequest {
		t.Errorf("a wrong size answers %d", a.status)
	}
}
