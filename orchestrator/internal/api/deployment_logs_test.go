package api

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protodelim"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

type gotLog struct {
	status int
	body   string
}

// readLog asks for a log in the background.
func (h *harness) readLog(t *testing.T, path, accept string) <-chan gotLog {
	t.Helper()
	answered := make(chan gotLog, 1)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.http.URL+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	go func() {
		defer close(answered)
		response, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Error(err)
			return
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Error(err)
		}
		answered <- gotLog{response.StatusCode, string(body)}
	}()
	return answered
}

func TestEngineLogs(t *testing.T) {
	h := newHarness(t, settings{})
	h.register(t, worker("n1"), "")
	a := h.connect(t, "n1")
	deployments := orchionv1.NewDeploymentsClient(h.conn)
	for _, name := range []string{"d", "none"} {
		zero := int32(0)
		spec := &orchionv1.DeploymentSpec{Model: "m", Engine: orchionv1.Engine_ENGINE_OLLAMA}
		if name == "none" {
			spec.Replicas = &zero
		}
		if _, err := deployments.CreateDeployment(t.Context(), &orchionv1.CreateDeploymentRequest{Name: name, Spec: spec}); err != nil {
			t.Fatal(err)
		}
	}
	replica := a.receive().GetAssignReplica().GetReplicaId()
	if replica == "" {
		t.Fatal("no replica was assigned")
	}

	for _, tt := range []struct{ name, accept, query, want string }{
		{"text", "", "", "listening\norchion: cut\n"},
		{"JSON", "application/x-ndjson", "?tail=2&follow=true&replicaId=" + replica, `{"stream":"stderr","attempt":0,"text":"listening"`},
		{"events", "text/event-stream", "", "event: end\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			answered := h.readLog(t, "/api/deployments/d/logs"+tt.query, tt.accept)
			open := a.receive().GetOpenTunnel()
			ask := open.GetEngineLog()
			if ask.GetReplicaId() != replica || ask.GetFollow() != (tt.query != "") || open.GetPlace() != nil {
				t.Errorf("the node is asked for %v", open)
			}
			stream, err := orchionv1.NewTunnelClient(h.conn).Serve(asNode(t.Context(), "n1", "run", keyTunnelID, open.GetTunnelId()))
			if err != nil {
				t.Fatal(err)
			}
			var data bytes.Buffer
			for _, entry := range []*orchionv1.LogEntry{{Stream: "stderr", Text: "listening", Line: 1}, {Text: "cut", Note: true}} {
				if _, err := protodelim.MarshalTo(&data, entry); err != nil {
					t.Fatal(err)
				}
			}
			if err := stream.Send(&orchionv1.ServeRequest{Data: data.Bytes()}); err != nil {
				t.Fatal(err)
			}
			if err := stream.CloseSend(); err != nil {
				t.Fatal(err)
			}
			if got := <-answered; got.status != http.StatusOK || !strings.Contains(got.body, tt.want) {
				t.Errorf("answered %d %q, want %q", got.status, got.body, tt.want)
			}
		})
	}

	t.Run("refused", func(t *testing.T) {
		answered := h.readLog(t, "/api/deployments/d/logs", "")
		open := a.receive().GetOpenTunnel()
		a.send(&orchionv1.ConnectRequest{Message: &orchionv1.ConnectRequest_TunnelRefused{
			TunnelRefused: &orchionv1.TunnelRefused{TunnelId: open.GetTunnelId(), Reason: "there is no container yet"},
		}})
		if got := <-answered; got.status != http.StatusServiceUnavailable || !strings.Contains(got.body, "there is no container yet") {
			t.Errorf("answered %+v", got)
		}
	})
	for path, want := range map[string]gotLog{
		"/api/deployments/nope/logs":              {http.StatusNotFound, "nope"},
		"/api/deployments/d/logs?replicaId=nope":  {http.StatusNotFound, "no replica"},
		"/api/deployments/none/logs":              {http.StatusBadRequest, "no replica on a node"},
		"/api/deployments/d/logs?tail=10001":      {http.StatusBadRequest, "tail: is 10001"},
		"/api/deployments/d/logs?tail=x":          {http.StatusBadRequest, "tail: is"},
		"/api/deployments/d/logs?follow=maybe":    {http.StatusBadRequest, "follow: is"},
		"/api/deployments/d/logs?since=yesterday": {http.StatusBadRequest, "since"},
		"/api/deployments/UPPER/logs":             {http.StatusBadRequest, "name: is"},
	} {
		if got := <-h.readLog(t, path, ""); got.status != want.status || !strings.Contains(got.body, want.body) {
			t.Errorf("%s answers %d %s, want %d %s", path, got.status, got.body, want.status, want.body)
		}
	}
}
