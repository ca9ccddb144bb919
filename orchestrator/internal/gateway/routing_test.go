package gateway

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/orchion/orchion/orchestrator/internal/tunnel"
)

// threeRoutes serve the model "m" on n1, n2 and n3.
var threeRoutes = fixedRoutes{
	{Model: "m", NodeID: "n1", ReplicaID: "r1"},
	{Model: "m", NodeID: "n2", ReplicaID: "r2"},
	{Model: "m", NodeID: "n3", EngineEndpoint: "http://engine.local:1234/sub/"},
}

func answers(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, text+" "+r.Host+r.URL.Path)
	})
}

func failsWith(status int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(status)
	})
}

func TestRoundRobin(t *testing.T) {
	r := newRig(t, Config{Routes: threeRoutes}, map[string]http.Handler{"n1": answers("1"), "n2": answers("2"), "n3": answers("3")})
	var got []string
	for range 6 {
		res := r.chat(t, `{"model":"m"}`)
		got = append(got, readAll(t, res))
		if reason := res.Header.Get("X-Orchion-Route-Reason"); reason != "the least busy of 3 replicas, with 0 requests in flight" {
			t.Errorf("reason %q", reason)
		}
		if answered := res.Header.Get("X-Orchion-Model"); answered != "m" {
			t.Errorf("model %q", answered)
		}
	}
	want := []string{"1 localhost/v1/chat/completions", "2 localhost/v1/chat/completions", "3 engine.local:1234/sub/v1/chat/completions"}
	if !slices.Equal(got, append(want, want...)) {
		t.Errorf("answers %q", got)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if want := []string{"n1 r1", "n2 r2", "n3 http://engine.local:1234/sub/"}; !slices.Equal(r.dials, want) {
		t.Errorf("dialled %q, want each once: connections are kept", r.dials)
	}
}

func TestAnotherReplicaIsTried(t *testing.T) {
	cases := []struct {
		name    string
		engines map[string]http.Handler
		status  int
		body    string
		reason  string
	}{
		{"the first is not connected", map[string]http.Handler{"n2": answers("2"), "n3": answers("3")}, 200, "2 localhost/v1/chat/completions",
			"the least busy of 3 replicas, with 0 requests in flight; before it, n1 failed"},
		{"two are overloaded", map[string]http.Handler{"n1": failsWith(503), "n2": failsWith(429), "n3": answers("3")}, 200, "3 engine.local:1234/sub/v1/chat/completions",
			"the least busy of 3 replicas, with 0 requests in flight; before it, n1 answered 503 and n2 answered 429"},
		{"a bad request is bad everywhere", map[string]http.Handler{"n1": failsWith(400), "n2": answers("2"), "n3": answers("3")}, 400,
			`{"error":{"message":"the engine on node n1 answered 400","type":"invalid_request_error","param":null,"code":"engine_error"}}`,
			"the least busy of 3 replicas, with 0 requests in flight"},
		{"all are overloaded", map[string]http.Handler{"n1": failsWith(503), "n2": failsWith(503), "n3": failsWith(503)}, 503,
			`{"error":{"message":"the engine on node n3 answered 503","type":"server_error","param":null,"code":"engine_error"}}`,
			"the least busy of 3 replicas, with 0 requests in flight; before it, n1 answered 503 and n2 answered 503"},
		{"none is connected", nil, 503, `{"error":{"message":"node n3 is not connected","type":"server_error","param":null,"code":"engine_unreachable"}}`, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Config{Routes: threeRoutes}, c.engines)
			res := r.chat(t, `{"model":"m"}`)
			if body := readAll(t, res); res.StatusCode != c.status || body != c.body {
				t.Errorf("answer %s: %s, want %d: %s", res.Status, body, c.status, c.body)
			}
			if got := res.Header.Get("X-Orchion-Route-Reason"); got != c.reason {
				t.Errorf("reason %q, want %q", got, c.reason)
			}
		})
	}
}

func TestNodeLabels(t *testing.T) {
	labels := map[string]map[string]string{"n1": {"room": "office", "gpu": "old"}, "n2": {"room": "office"}, "n3": {"room": "cellar"}}
	r := newRig(t, Config{Routes: threeRoutes, NodeLabels: func(id string) map[string]string { return labels[id] }},
		map[string]http.Handler{"n1": answers("1"), "n2": answers("2"), "n3": answers("3")})
	for range 3 {
		res := r.do(t, http.MethodPost, "/v1/chat/completions", `{"model":"m"}`, headerNodeLabels, "room=office,gpu!=old")
		if node := res.Header.Get(headerNode); node != "n2" {
			t.Errorf("served by %q: %s", node, readAll(t, res))
		}
	}
	checkError(t, r.do(t, http.MethodPost, "/v1/chat/completions", `{"model":"m"}`, headerNodeLabels, "room=attic"),
		503, "no_replica_with_labels", headerNodeLabels,
		`no replica of the model "m" is on a node with labels room=attic, as X-Orchion-Node-Labels asks; `+
			`the nodes that serve it have "gpu=old", "room=cellar", "room=office"`)
	checkError(t, r.do(t, http.MethodPost, "/v1/chat/completions", `{"model":"m"}`, headerNodeLabels, "=x"),
		400, "invalid_request", headerNodeLabels, `X-Orchion-Node-Labels has no key in "=x"; write key=value, key!=value or key`)
}

// A conversation goes back to where its beginning was read, whoever is next.
func TestConversationStays(t *testing.T) {
	r := newRig(t, Config{Routes: threeRoutes}, map[string]http.Handler{"n1": answers("1"), "n2": answers("2"), "n3": answers("3")})
	turns := map[string]string{}
	nodes := map[string]string{}
	for turn := range 4 {
		for _, who := range []string{"anna", "bert", "carl"} {
			turns[who] += strings.Repeat(fmt.Sprintf("%s says %d. ", who, turn), 40)
			res := r.chat(t, `{"model":"m","messages":[{"role":"user","content":"`+turns[who]+`"}]}`)
			readAll(t, res)
			node := res.Header.Get(headerNode)
			if was := nodes[who]; was != "" && was != node {
				t.Errorf("turn %d of %s is on %s, not on %s: %s", turn, who, node, was, res.Header.Get(headerRouteReason))
			}
			nodes[who] = node
		}
	}
	if nodes["anna"] == nodes["bert"] || nodes["bert"] == nodes["carl"] {
		t.Errorf("conversations share replicas though others are idle: %v", nodes)
	}
}

// A replica that fails is left alone; when all do, the client is told how long.
func TestFailingReplicasAreLeftAlone(t *testing.T) {
	r := newRig(t, Config{Routes: threeRoutes[:2]}, map[string]http.Handler{"n2": answers("2")})
	for range 20 {
		res := r.chat(t, `{"model":"m"}`)
		if body := readAll(t, res); res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", res.Status, body)
		}
	}
	r.mu.Lock()
	dials := len(slices.DeleteFunc(slices.Clone(r.dials), func(d string) bool { return d != "n1 r1" }))
	r.mu.Unlock()
	if dials > 5 { // three, and a probe if the test took its time
		t.Errorf("the failing replica was asked %d times", dials)
	}
	alone := newRig(t, Config{Routes: oneRoute}, nil)
	for range 3 {
		checkError(t, alone.chat(t, `{"model":"m"}`), 503, "engine_unreachable", "", "node n1 is not connected")
	}
	res := alone.chat(t, `{"model":"m"}`)
	if body := readAll(t, res); res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, `"code":"replicas_failing"`) || res.Header.Get("Retry-After") == "" {
		t.Errorf("%s %q: %s", res.Status, res.Header.Get("Retry-After"), body)
	}
}

func TestEngineThatHangsUp(t *testing.T) {
	r := newRig(t, Config{Routes: oneRoute, Dial: func(context.Context, string, tunnel.Target) (net.Conn, error) {
		near, far := net.Pipe()
		far.Close()
		return near, nil
	}}, nil)
	checkError(t, r.chat(t, `{"model":"m"}`), 502, "engine_failed", "", "the engine on node n1 broke the connection before it answered")
}

// A pooled connection that the engine has dropped meanwhile costs the client
// nothing.
func TestDroppedConnectionIsReplaced(t *testing.T) {
	dials := 0
	r := newRig(t, Config{Routes: oneRoute, Dial: func(context.Context, string, tunnel.Target) (net.Conn, error) {
		near, far := net.Pipe()
		dials++
		go func() {
			defer far.Close()
			buf := make([]byte, 64<<10)
			for range 2 { // the second question is read and not answered
				if _, err := far.Read(buf); err != nil {
					return
				}
				if !strings.Contains(string(buf), `"second"`) || dials > 1 {
					io.WriteString(far, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				}
			}
		}()
		return near, nil
	}}, nil)
	for _, question := range []string{`{"model":"m"}`, `{"model":"m","x":"second"}`} {
		if res := r.chat(t, question); res.StatusCode != http.StatusOK || readAll(t, res) != "ok" {
			t.Fatalf("answer to %s: %s", question, res.Status)
		}
	}
}

func TestBodiesAreBounded(t *testing.T) {
	g := New(Config{Routes: oneRoute, Dial: rawEngine(t, ""), MaxBody: 1000, MaxBodies: 1000})
	if !g.bodies.TryAcquire(900) { // another request's
		t.Fatal("no room to begin with")
	}
	r := &rig{gateway: g}
	serve(t, r, g)
	res := r.chat(t, `{"model":"m","x":"`+strings.Repeat("x", 200)+`"}`)
	if got := res.Header.Get("Retry-After"); got != "1" {
		t.Errorf("Retry-After %q", got)
	}
	checkError(t, res, 503, "overloaded", "", "too many large requests at once; try again in a second")
	for range 20 { // each gives its room back, however it ends
		checkError(t, r.chat(t, `{"model":"none"}`), 404, "model_not_found", "model", `the model "none" does not exist; there is "m"`)
	}
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	r := newRig(t, Config{Routes: oneRoute, Metrics: registry}, map[string]http.Handler{"n1": http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		if strings.Contains(string(body), "stream") {
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, strings.Repeat("data: {\"usage\":null}\n\n", 200)+
				"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":200,\"total_tokens\":205}}\n\ndata: [DONE]\n\n")
			return
		}
		io.WriteString(w, `{"usage":{"prompt_tokens":1,"completion_tokens":2}}`)
	})})
	readAll(t, r.chat(t, `{"model":"m"}`))
	readAll(t, r.chat(t, streamQuestion))
	readAll(t, r.chat(t, `{"model":"none"}`))
	want := map[string]float64{
		`orchion_gateway_requests_total{code="200",endpoint="/v1/chat/completions",model="m"}`: 2,
		`orchion_gateway_requests_total{code="404",endpoint="/v1/chat/completions",model=""}`:  1,
		`orchion_gateway_tokens_total{kind="prompt",model="m"}`:                                6,
		`orchion_gateway_tokens_total{kind="completion",model="m"}`:                            202,
		`orchion_gateway_request_duration_seconds{endpoint="/v1/chat/completions",model="m"}`:  2,
		`orchion_gateway_first_byte_seconds{endpoint="/v1/chat/completions",model="m"}`:        2,
		`orchion_gateway_requests_in_flight{}`:                                                 0,
	}
	got := gather(t, registry)
	for series, value := range want {
		if v, ok := got[series]; !ok || v != value {
			t.Errorf("%s = %v, want %v (there: %v)", series, v, value, ok)
		}
	}
}

// gather gives the value of every series; of a histogram, its count.
func gather(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			var labels []string
			for _, l := range metric.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			value := metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + float64(metric.GetHistogram().GetSampleCount())
			values[fmt.Sprintf("%s{%s}", family.GetName(), strings.Join(labels, ","))] = value
		}
	}
	return values
}
