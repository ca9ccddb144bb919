package gateway

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/model"
	"github.com/orchion/orchion/orchestrator/internal/tunnel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixedRoutes are routes that do not change.
type fixedRoutes []model.Route

func (f fixedRoutes) Routes(name string) []model.Route {
	var found []model.Route
	for _, r := range f {
		if r.Model == name {
			found = append(found, r)
		}
	}
	return found
}

func (f fixedRoutes) Models() []model.ModelInfo {
	var infos []model.ModelInfo
	seen := map[string]bool{}
	for _, r := range f {
		if !seen[r.Model] {
			seen[r.Model] = true
			infos = append(infos, model.ModelInfo{ID: r.Model, Routes: f.Routes(r.Model)})
		}
	}
	return infos
}

// rig is a gateway with engines behind it, one on each node.
type rig struct {
	gateway *Gateway
	url     string
	client  *http.Client

	mu    sync.Mutex
	dials []string // what was dialled; guarded by mu
}

// newRig makes a gateway whose nodes run the engines given; a node without one
// cannot be dialled.
func newRig(t *testing.T, cfg Config, engines map[string]http.Handler) *rig {
	t.Helper()
	r := &rig{}
	addrs := map[string]string{}
	for nodeID, handler := range engines {
		server := httptest.NewServer(handler)
		t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
		addrs[nodeID] = server.Listener.Addr().String()
	}
	if cfg.Dial == nil {
		cfg.Dial = func(ctx context.Context, nodeID string, target tunnel.Target) (net.Conn, error) {
			r.mu.Lock()
			r.dials = append(r.dials, nodeID+" "+target.ReplicaID+target.EngineEndpoint)
			r.mu.Unlock()
			addr, ok := addrs[nodeID]
			if !ok {
				return nil, fault.New(fault.Unavailable, "node %s is not connected", nodeID)
			}
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		}
	}
	r.gateway = New(cfg)
	front := httptest.NewServer(r.gateway)
	transport := &http.Transport{DisableCompression: true}
	r.url, r.client = front.URL, &http.Client{Transport: transport}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		front.Close()
		r.gateway.Close()
	})
	return r
}

// oneRoute serves the model "m" by replica r1 on node n1.
var oneRoute = fixedRoutes{{Model: "m", ServedModel: "m", NodeID: "n1", ReplicaID: "r1", Engine: "ollama"}}

func (r *rig) do(t *testing.T, method, path, body string, headers ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

func (r *rig) chat(t *testing.T, body string) *http.Response {
	t.Helper()
	return r.do(t, http.MethodPost, "/v1/chat/completions", body)
}

func readAll(t *testing.T, res *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// checkError checks an answer's status and its error in OpenAI's shape.
func checkError(t *testing.T, res *http.Response, status int, code, param, message string) {
	t.Helper()
	body := readAll(t, res)
	if res.StatusCode != status || res.Header.Get("Content-Type") != "application/json" {
		t.Errorf("answer %s (%s), want %d: %s", res.Status, res.Header.Get("Content-Type"), status, body)
	}
	var got struct {
		Error struct {
			Message, Type, Code string
			Param               *string
		}
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatalf("not an error of OpenAI's shape: %s", body)
	}
	gotParam := ""
	if got.Error.Param != nil {
		gotParam = *got.Error.Param
	}
	if got.Error.Message != message || got.Error.Code != code || gotParam != param || got.Error.Type == "" {
		t.Errorf("error:\n %+v param %q\nwant message %q, code %q, param %q", got.Error, gotParam, message, code, param)
	}
	if res.Header.Get("X-Request-Id") == "" {
		t.Error("the answer has no X-Request-Id")
	}
}

// serve puts a handler in front of the rig instead of its gateway.
func serve(t *testing.T, r *rig, h http.Handler) {
	t.Helper()
	front := httptest.NewServer(h)
	transport := &http.Transport{DisableCompression: true}
	r.url, r.client = front.URL, &http.Client{Transport: transport}
	t.Cleanup(func() { transport.CloseIdleConnections(); front.Close() })
}
