package gateway

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/gateway/routing"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/tunnel"
)

// narrow is a replica that is given one request at once, for which two may wait.
var narrow = fixedRoutes{{Model: "m", ServedModel: "m", NodeID: "n1", ReplicaID: "r1", Engine: "ollama", MaxInFlight: 1, MaxQueued: 2}}

// waitFor spins until so many requests wait, by their class, and are in flight.
func waitFor(t *testing.T, g *Gateway, interactive, batch, inFlight int) {
	t.Helper()
	for t.Context().Err() == nil {
		queues, replicas := g.Traffic("m")
		if len(queues) != 1 || len(replicas) != 1 {
			t.Fatalf("the traffic is %+v %+v", queues, replicas)
		}
		if q := queues[0]; q.Interactive == interactive && q.Batch == batch && q.InFlight == inFlight {
			return
		}
		runtime.Gosched()
	}
}

func TestRequestsWaitForTheirTurn(t *testing.T) {
	asked, answer := make(chan string), make(chan struct{})
	r := newRig(t, Config{Routes: narrow, QueueTimeout: time.Minute}, map[string]http.Handler{
		"n1": http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			body, _ := io.ReadAll(req.Body)
			asked <- string(body)
			<-answer
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"ok":true}`)
		}),
	})
	results := make(chan string, 3)
	ask := func(name string, headers ...string) {
		res := r.do(t, http.MethodPost, "/v1/chat/completions", `{"model":"m","name":"`+name+`"}`, headers...)
		_, _ = io.Copy(io.Discard, res.Body)
		waited := ""
		if strings.Contains(res.Header.Get(headerRouteReason), " of waiting") {
			waited = " waited"
		}
		results <- name + " " + res.Status + waited
	}
	go ask("first")
	<-asked
	go ask("night", headerPriority, "batch")
	waitFor(t, r.gateway, 0, 1, 1)
	go ask("urgent")
	waitFor(t, r.gateway, 1, 1, 1)

	res := r.chat(t, `{"model":"m"}`)
	if body := readAll(t, res); res.StatusCode != http.StatusTooManyRequests || !strings.Contains(body, `"code":"queue_full"`) ||
		!strings.Contains(body, "2 requests wait already") || res.Header.Get("Retry-After") == "" {
		t.Errorf("with a full queue: %s %s %v", res.Status, body, res.Header)
	}
	for _, want := range []struct{ ended, next string }{{"first 200 OK", "urgent"}, {"urgent 200 OK waited", "night"}} {
		answer <- struct{}{}
		if body := <-asked; !strings.Contains(body, want.next) {
			t.Errorf("the next asked was %s, want %s", body, want.next)
		}
		if got := <-results; got != want.ended {
			t.Errorf("ended: %s, want %s", got, want.ended)
		}
	}
	answer <- struct{}{}
	if got := <-results; got != "night 200 OK waited" {
		t.Errorf("the last: %s", got)
	}
	waitFor(t, r.gateway, 0, 0, 0)
}

func TestWaitingForATurnEnds(t *testing.T) {
	type outcome struct {
		status int
		after  time.Duration
		body   string
	}
	// ask has a request wait while its only replica is busy, in a bubble of its own time.
	ask := func(t *testing.T, cfg Config, do func(*Gateway, context.CancelFunc), body string, headers ...string) outcome {
		cfg.Routes = narrow
		cfg.Dial = func(context.Context, string, tunnel.Target) (net.Conn, error) { return nil, io.ErrClosedPipe }
		g := New(cfg)
		defer g.Close()
		busy, _, err := g.router.Acquire(&routing.Ask{Model: "m"})
		if err != nil {
			t.Fatal(err)
		}
		defer busy.Done(routing.Outcome{})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if do != nil {
			time.AfterFunc(10*time.Second, func() { do(g, cancel) })
		}
		req := httptest.NewRequestWithContext(ctx, http.MethodPost, "/v1/chat/completions", strings.NewReader(body))
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		begun := time.Now()
		g.ServeHTTP(w, req)
		o := outcome{w.Code, time.Since(begun), w.Body.String()}
		if queues, _ := g.Traffic(""); queues[0].Interactive+queues[0].Batch != 0 || queues[0].InFlight != 1 {
			t.Errorf("afterwards the queue is %+v", queues[0])
		}
		return o
	}
	minute := Config{QueueTimeout: time.Minute}
	cases := []struct {
		name    string
		cfg     Config
		do      func(*Gateway, context.CancelFunc)
		body    string
		headers []string
		status  int
		after   time.Duration
		said    string
	}{
		{name: "when it has lasted too long", cfg: minute, status: 503, after: time.Minute, said: `the replicas of the model \"m\" have all they can do: after 1m0s this was request 1 of 1 in its queue`},
		{name: "when the client says so", cfg: minute, headers: []string{headerTimeout, "5s"}, status: 503, after: 5 * time.Second, said: `"code":"queue_timeout"`},
		{name: "at once", status: 503, said: "after 0s"},
		{name: "with a wrong time", cfg: minute, headers: []string{headerTimeout, "-1"}, status: 400, said: "X-Orchion-Timeout is"},
		{name: "with a wrong priority", cfg: minute, headers: []string{headerPriority, "high"}, status: 400, said: `X-Orchion-Priority is \"high\"; interactive and batch are allowed`},
		{name: "when the client leaves", cfg: minute, do: func(_ *Gateway, cancel context.CancelFunc) { cancel() }, status: 200, after: 10 * time.Second},
		{name: "in a stream that has begun", cfg: minute, headers: []string{headerProgress, "true", headerTimeout, "3"}, body: `{"model":"m","stream":true}`, status: 200, after: 3 * time.Second,
			said: ": waiting for a replica of the model \"m\": request 1 of 1 in its queue\n\ndata: {\"error\":"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				body := c.body
				if body == "" {
					body = `{"model":"m"}`
				}
				got := ask(t, c.cfg, c.do, body, c.headers...)
				if got.status != c.status || got.after != c.after || !strings.Contains(got.body, c.said) {
					t.Errorf("answered %d after %v: %s\nwant %d after %v: %s", got.status, got.after, got.body, c.status, c.after, c.said)
				}
			})
		})
	}
}

func TestJobsAreLessUrgent(t *testing.T) {
	request := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", nil)
	if class, failure := classOf(request); class != routing.Interactive || failure != nil {
		t.Errorf("a person's request is %v, %v", class, failure)
	}
	caller := tunnel.Caller{NodeID: "n1", Ref: job.Ref{JobID: "j1", Attempt: 1}}
	request = request.WithContext(context.WithValue(request.Context(), callerKey{}, caller))
	if class, failure := classOf(request); class != routing.Batch || failure != nil {
		t.Errorf("a job's request is %v, %v", class, failure)
	}
	request.Header.Set(headerPriority, "interactive")
	if class, failure := classOf(request); class != routing.Interactive || failure != nil {
		t.Errorf("a job's request that is urgent is %v, %v", class, failure)
	}
}
