package gateway

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/model"
	"github.com/orchion/orchion/orchestrator/internal/tunnel"
)

// coldModel is a deployment whose replica becomes ready when a test says so.
type coldModel struct {
	mu      sync.Mutex // guards what follows
	routes  fixedRoutes
	list    []model.Deployment
	changed chan struct{}
	demands []int // requests that waited, as they were told
}

func newColdModel() *coldModel {
	return &coldModel{changed: make(chan struct{}), list: []model.Deployment{{
		Name: "d", Spec: model.Spec{Model: "m", Replicas: 1},
		Replicas: []model.Replica{{ID: "r1", State: model.Loading, NodeID: "n1"}},
	}}}
}

func (m *coldModel) change(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = slices.Clone(m.list) // what readers were given does not change
	f()
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *coldModel) Routes(name string) []model.Route {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.routes.Routes(name)
}

func (m *coldModel) Models() []model.ModelInfo { return nil }

func (m *coldModel) config() Config {
	return Config{
		Routes: m, ColdTimeout: 5 * time.Minute,
		Changed: func() <-chan struct{} {
			m.mu.Lock()
			defer m.mu.Unlock()
			return m.changed
		},
		Deployments: func() []model.Deployment {
			m.mu.Lock()
			defer m.mu.Unlock()
			return m.list
		},
		Demand: func(_ string, d model.Demand) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.demands = append(m.demands, d.Queued)
		},
	}
}

func TestRequestsWaitForTheirModel(t *testing.T) {
	m := newColdModel()
	r := newRig(t, m.config(), map[string]http.Handler{"n1": http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		if strings.Contains(string(body), `"stream":true`) {
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, "data: 1\n\ndata: [DONE]\n\n")
			return
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"ok":true}`)
	})})
	const clients = 3
	type answer struct{ status, body, node string }
	answers := make(chan answer, clients+1)
	ask := func(body string, headers ...string) {
		res := r.do(t, http.MethodPost, "/v1/chat/completions", body, headers...)
		data, err := io.ReadAll(res.Body)
		if err != nil {
			data = []byte(err.Error())
		}
		answers <- answer{res.Status, string(data), res.Header.Get(headerNode)}
	}
	for range clients {
		go ask(`{"model":"m"}`)
	}
	go ask(`{"model":"m","stream":true}`, headerProgress, "true")
	for r.gateway.waiting.Load() < clients+1 {
		m.change(func() {}) // waking them is nothing to them
		runtime.Gosched()
	}
	m.change(func() { m.routes = oneRoute })
	streams := 0
	for range clients + 1 {
		a := <-answers
		switch {
		case a == answer{"200 OK", `{"ok":true}`, "n1"}:
		case a.status == "200 OK" && strings.HasSuffix(a.body, "data: 1\n\ndata: [DONE]\n\n"):
			streams++
		default:
			t.Errorf("answered %+v", a)
		}
	}
	if streams != 1 || r.gateway.waiting.Load() != 0 {
		t.Errorf("%d streams, %d requests still wait", streams, r.gateway.waiting.Load())
	}
	r.gateway.Close()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.demands) == 0 || m.demands[0] != 1 {
		t.Errorf("the demand was told as %v, want one that waits first", m.demands)
	}
}

// askCold has a request wait in a bubble of its own time.
func askCold(ctx context.Context, m *coldModel, body string, headers ...string) (*httptest.ResponseRecorder, time.Duration) {
	cfg := m.config()
	cfg.Dial = func(context.Context, string, tunnel.Target) (net.Conn, error) { return nil, io.ErrClosedPipe }
	g := New(cfg)
	defer g.Close()
	req := httptest.NewRequestWithContext(ctx, http.MethodPost, "/v1/chat/completions", strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	begun := time.Now()
	g.ServeHTTP(w, req)
	return w, time.Since(begun)
}

func TestWaitingEnds(t *testing.T) {
	failed := []model.Replica{{ID: "r1", State: model.Failed, NodeID: "n1", Reason: "no such model"}}
	cases := []struct {
		name    string
		headers []string
		body    string
		change  func(m *coldModel) // after a minute
		status  int
		after   time.Duration
		said    string
	}{
		{name: "when it has lasted too long", status: 503, after: 5 * time.Minute, said: `"the model \"m\" is deployed but not ready: loading on node n1; it was waited for 5m0s"`},
		{name: "when the client says so", headers: []string{headerTimeout, "90"}, status: 503, after: 90 * time.Second, said: "it was waited for 1m30s"},
		{name: "no later than the gateway does", headers: []string{headerTimeout, "1h"}, status: 503, after: 5 * time.Minute, said: "it was waited for 5m0s"},
		{name: "at once", headers: []string{headerTimeout, "0"}, status: 503, said: "loading on node n1"},
		{name: "with a wrong header", headers: []string{headerTimeout, "soon"}, status: 400, said: `X-Orchion-Timeout is \"soon\", want seconds or a duration such as 90s, from 0 to 1h0m0s`},
		{name: "when every replica has failed", change: func(m *coldModel) { m.list[0].Replicas = failed }, status: 503, after: time.Minute, said: "failed on node n1 (no such model)"},
		{name: "when the deployment is deleted", change: func(m *coldModel) { m.list = nil }, status: 404, after: time.Minute, said: "does not exist"},
		{name: "when it is scaled to none", change: func(m *coldModel) { m.list[0].Spec.Replicas, m.list[0].Replicas = 0, nil }, status: 503, after: time.Minute, said: "scaled to no replicas"},
		{name: "in a stream that has begun", headers: []string{headerProgress, "true", headerTimeout, "3"}, body: `{"model":"m","stream":true}`, status: 200, after: 3 * time.Second,
			said: ": waiting for the model \"m\": loading on node n1\n\ndata: {\"error\":{\"message\":\"the model \\\"m\\\" is deployed but not ready: loading on node n1; it was waited for 3s\""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newColdModel()
				if c.change != nil {
					time.AfterFunc(time.Minute, func() { m.change(func() { c.change(m) }) })
				}
				body := c.body
				if body == "" {
					body = `{"model":"m"}`
				}
				w, took := askCold(t.Context(), m, body, c.headers...)
				if w.Code != c.status || took != c.after || !strings.Contains(w.Body.String(), c.said) {
					t.Errorf("answered %d after %v: %s\nwant %d after %v: %s", w.Code, took, w.Body, c.status, c.after, c.said)
				}
				if c.status == 503 && w.Header().Get("Retry-After") == "" {
					t.Error("it does not say when to try again")
				}
				time.Sleep(2 * time.Minute) // let the change come in every case
			})
		})
	}
	t.Run("when the client leaves", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if w, took := askCold(ctx, newColdModel(), `{"model":"m"}`); took != time.Minute || w.Body.Len() > 0 {
				t.Errorf("after %v it was told %s", took, w.Body)
			}
		})
	})
	t.Run("when too many wait", func(t *testing.T) {
		m := newColdModel()
		r := newRig(t, m.config(), nil)
		r.gateway.waiting.Store(maxWaiting)
		checkError(t, r.chat(t, `{"model":"m"}`), 503, "too_many_waiting", "", "1024 requests wait already for models that are not ready")
	})
}

func TestShowWaitsForItsModel(t *testing.T) {
	m := newColdModel()
	r := newRig(t, leading(m.config(), map[string][]string{"fast": {"gone", "m"}}), map[string]http.Handler{"n1": http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.Copy(w, req.Body)
	})})
	checkOllamaError(t, r.do(t, http.MethodPost, "/ollama/api/show", `{"model":"m"}`, headerTimeout, "0"), 503, `the model "m" is deployed but not ready: loading on node n1`)
	checkOllamaError(t, r.do(t, http.MethodPost, "/ollama/api/show", `{"model":"m"}`, headerTimeout, "soon"), 400, `X-Orchion-Timeout is "soon", want seconds or a duration such as 90s, from 0 to 1h0m0s`)
	answer := make(chan *http.Response)
	go func() { answer <- r.do(t, http.MethodPost, "/ollama/api/show", `{"model":"m","x":1}`) }()
	for r.gateway.waiting.Load() < 1 {
		runtime.Gosched()
	}
	m.change(func() { m.routes = oneRoute })
	res := <-answer
	if got := readAll(t, res); res.StatusCode != http.StatusOK || got != `{"model":"m","x":1}` {
		t.Errorf("it shows %d %s", res.StatusCode, got)
	}
	if got := readAll(t, r.do(t, http.MethodPost, "/ollama/api/show", `{"model":"fast"}`)); got != `{"model":"m"}` {
		t.Errorf("for an alias the engine is asked %s", got)
	}
}
