package gateway

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/orchion/orchion/orchestrator/internal/gateway/meter"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/store/memory"
	"github.com/orchion/orchion/orchestrator/internal/tunnel"
)

func TestTokens(t *testing.T) {
	const chunk = `data: {"choices":[{"delta":{"content":"x"}}],"usage":null}` + "\n\n"
	for name, tc := range map[string]struct {
		framing framing
		answer  string
		want    tokens
	}{
		"chat": {noStream, `{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":100,"total_tokens":103}}`, tokens{3, 100, true}},
		"with details": {
			noStream, `{"usage": {"prompt_tokens": 3, "prompt_tokens_details": {"prompt_tokens": 9}, "completion_tokens": 4}, "x": 1}`, tokens{3, 4, true},
		},
		"embeddings": {noStream, `{"data":[],"usage":{"prompt_tokens":8,"total_tokens":8}}`, tokens{8, 0, true}},
		"responses": {
			serverSentEvents, "event: response.completed\ndata: {\"response\":{\"usage\":{\"input_tokens\":5,\"input_tokens_details\":" +
				"{\"cached_tokens\":0},\"output_tokens\":7}}}\n\n", tokens{5, 7, true},
		},
		"messages":        {serverSentEvents, "event: message_delta\ndata: {\"usage\":{\"output_tokens\":15}}\n\nevent: message_stop\ndata: {}\n\n", tokens{0, 15, true}},
		"ollama":          {ndjson, `{"message":{}}` + "\n" + `{"done":true,"prompt_eval_count":26,"eval_count": 298,"eval_duration":4}` + "\n", tokens{26, 298, true}},
		"counted stream":  {serverSentEvents, strings.Repeat(chunk, 9) + "data: {\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":8}}\n\ndata: [DONE]\n\n", tokens{3, 8, true}},
		"stream":          {serverSentEvents, strings.Repeat(chunk, 9) + "data: [DONE]\n\n", tokens{0, 8, false}},
		"stream of CRLF":  {serverSentEvents, strings.ReplaceAll(strings.Repeat(chunk, 9)+"data: [DONE]\n\n", "\n", "\r\n"), tokens{0, 8, false}},
		"stream of lines": {ndjson, strings.Repeat("{}\n", 9), tokens{0, 8, false}},
		"empty stream":    {serverSentEvents, "data: [DONE]\n\n", tokens{}},
		"no usage":        {noStream, `{"choices":[]}`, tokens{}},
		"cut off":         {noStream, `{"usage":{"prompt_tokens":3,"completion_tokens":10`, tokens{}},
		"negative":        {noStream, `{"usage":{"prompt_tokens":3,"completion_tokens":-1}}`, tokens{}},
		"no numbers":      {noStream, `{"usage":{"prompt_tokens":"3","completion_tokens":1e3}}`, tokens{}},
		"quoted":          {noStream, `{"content":"\"usage\":{\"prompt_tokens\":3}"}`, tokens{}},
		"no object":       {noStream, `{"usage":[1]}`, tokens{}},
		"nothing":         {noStream, "", tokens{}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{1, 7, len(tc.answer) + 1} {
				u := usage{framing: tc.framing}
				for rest := tc.answer; rest != ""; {
					n := min(size, len(rest))
					u.note([]byte(rest[:n]))
					rest = rest[n:]
				}
				if got := u.tokens(); got != tc.want {
					t.Errorf("in pieces of %d: %+v, want %+v", size, got, tc.want)
				}
			}
		})
	}
	translated := usage{framing: serverSentEvents}
	for range 5 {
		translated.event([]byte("{}"))
	}
	if got := translated.tokens(); got != (tokens{out: 3}) {
		t.Errorf("a translated stream has %+v", got)
	}
}

// newMeter makes a meter that only remembers.
func newMeter(t *testing.T) *meter.Meter {
	t.Helper()
	m, err := meter.New(meter.Config{Store: memory.New()})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMetered(t *testing.T) {
	m := newMeter(t)
	answer := ""
	r := newRig(t, Config{Routes: oneRoute, Meter: m}, map[string]http.Handler{"n1": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !strings.HasPrefix(answer, "data:") {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, answer)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, answer)
		if !strings.Contains(answer, "[DONE]") {
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
	})})
	last := func() meter.Call {
		t.Helper()
		calls, _ := m.Recent(meter.Filter{Limit: 1})
		if len(calls) == 0 {
			t.Fatal("no call was metered")
		}
		return calls[0].Call
	}
	answer = `{"usage":{"prompt_tokens":3,"completion_tokens":4}}`
	res := r.do(t, http.MethodPost, "/v1/chat/completions", `{"model":"m"}`, "X-Request-Id", "mine")
	readAll(t, res)
	got := last()
	if got.Duration <= 0 || time.Since(got.Time) > time.Minute {
		t.Errorf("it took %v from %v on", got.Duration, got.Time)
	}
	got.Duration, got.Time = 0, time.Time{}
	want := meter.Call{
		RequestID: "mine", Endpoint: "/v1/chat/completions", Model: "m", Caller: "local", NodeID: "n1", ReplicaID: "r1", Engine: "ollama",
		RouteReason: res.Header.Get("X-Orchion-Route-Reason"), Status: 200, TokensIn: 3, TokensOut: 4,
	}
	if got != want {
		t.Errorf("metered\n%+v\nwant\n%+v", got, want)
	}

	answer = "data: {}\n\ndata: {}\n\ndata: {}\n\ndata: [DONE]\n\n"
	readAll(t, r.chat(t, streamQuestion))
	if got := last(); !got.Streamed || !got.Estimated || got.TokensOut != 2 || got.FirstToken <= 0 || got.FirstToken > got.Duration {
		t.Errorf("a stream is metered as %+v", got)
	}
	answer = "data: {}\n\n"
	readAll(t, r.chat(t, streamQuestion))
	if got := last(); got.Status != 200 || !got.Broken || got.Outcome() != meter.Failed {
		t.Errorf("a stream that breaks off is metered as %+v", got)
	}
	readAll(t, r.chat(t, `{"model":"none"}`))
	if got := last(); got.Status != 404 || got.Model != "" || got.NodeID != "" {
		t.Errorf("an unknown model is metered as %+v", got)
	}
	readAll(t, r.chat(t, `{`))
	if got := last(); got.Status != 400 {
		t.Errorf("a bad body is metered as %+v", got)
	}
}

// TestMeteredLeaving holds that a call whose client leaves is metered as such.
func TestMeteredLeaving(t *testing.T) {
	m := newMeter(t)
	over := make(chan struct{})
	r := newRig(t, Config{Routes: oneRoute, Meter: m}, map[string]http.Handler{"n1": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: {}\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(over)
	})})
	res := r.chat(t, streamQuestion)
	if _, err := res.Body.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	<-over
	var calls []meter.Numbered
	for len(calls) == 0 { // until the handler has noticed too
		calls, _ = m.Recent(meter.Filter{Limit: 1})
	}
	if c := calls[0]; c.Outcome() != meter.Cancelled || c.Status != 499 {
		t.Errorf("it is metered as %+v", c)
	}
}

// TestMeteredLeavingAtTheEnd holds that a call has gone well whose client leaves once it has all of the
// answer, though the engine has not ended it yet.
func TestMeteredLeavingAtTheEnd(t *testing.T) {
	for _, tc := range []struct{ path, body, kind, answer string }{
		{"/v1/chat/completions", streamQuestion, "text/event-stream", "data: {}\n\ndata: [DONE]\n\n"},
		{"/ollama/api/chat", streamQuestion, "application/x-ndjson", `{"done":true}` + "\n"},
	} {
		t.Run(tc.path, func(t *testing.T) {
			m := newMeter(t)
			registry := prometheus.NewRegistry()
			r := newRig(t, Config{Routes: oneRoute, Meter: m, Metrics: registry}, map[string]http.Handler{"n1": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				w.Header().Set("Content-Type", tc.kind)
				fmt.Fprint(w, tc.answer)
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			})})
			res := r.do(t, http.MethodPost, tc.path, tc.body)
			if _, err := io.ReadFull(res.Body, make([]byte, len(tc.answer))); err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			var calls []meter.Numbered
			for len(calls) == 0 { // until the handler has noticed too
				calls, _ = m.Recent(meter.Filter{Limit: 1})
			}
			if c := calls[0]; c.Outcome() != meter.OK || c.Status != http.StatusOK {
				t.Errorf("it is metered as %+v", c)
			}
			if counted := requestsCounted(t, registry); len(counted) != 1 || counted["200 "+tc.path+" m"] != 1 {
				t.Errorf("counted are %v", counted)
			}
		})
	}
}

// TestLabels holds that the models which have series of their own are bounded.
func TestLabels(t *testing.T) {
	registry := prometheus.NewRegistry()
	m := newMetrics(registry)
	for i := range 3 * maxLabels {
		m.observe(&call{endpoint: &endpoint{path: "/p"}, model: fmt.Sprint("m", i)}, http.StatusOK)
	}
	m.observe(&call{endpoint: &endpoint{path: "/p"}}, http.StatusNotFound)
	counted := requestsCounted(t, registry)
	if len(counted) != maxLabels+2 || counted["200 /p m7"] != 1 || counted["200 /p "+otherLabel] != 2*maxLabels || counted["404 /p "] != 1 {
		t.Errorf("counted are %v", counted)
	}
}

// requestsCounted gives what is counted of requests by code, endpoint and model.
func requestsCounted(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counted := map[string]float64{}
	for _, family := range families {
		if family.GetName() != "orchion_gateway_requests_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			var labels []string
			for _, label := range metric.GetLabel() {
				labels = append(labels, label.GetValue())
			}
			counted[strings.Join(labels, " ")] = metric.GetCounter().GetValue()
		}
	}
	return counted
}

func TestCallerName(t *testing.T) {
	ctx := context.WithValue(t.Context(), callerKey{}, tunnel.Caller{NodeID: "n", Ref: job.Ref{JobID: "j1", Attempt: 2}})
	if got := callerName(ctx); got != "job:j1" {
		t.Errorf("a job is %q", got)
	}
	if got := callerName(t.Context()); got != "local" {
		t.Errorf("others are %q", got)
	}
}
