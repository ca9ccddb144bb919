package gateway

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/model"
)

func TestDemandIsToldAtAPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		began := time.Now()
		m := newDemandMeter(func(name string, d model.Demand) {
			told = append(told, fmt.Sprintf("%v %s %d+%d %v", time.Since(began), name, d.Queued, d.InFlight, d.LastUsed.Sub(began)))
		})
		m.begin("m")
		for range 100 {
			time.Sleep(time.Millisecond)
			m.begin("m")
			m.end("m")
		}
		m.count("m", 3, 0)
		m.used("other")
		time.Sleep(time.Second)
		m.count("m", -3, 0)
		m.end("m")
		time.Sleep(time.Hour)
		m.begin("m")
		m.close()
		m.end("m")
		time.Sleep(time.Hour)
		want := []string{
			"0s m 0+1 0s", "100ms other 0+0 100ms", "500ms m 3+1 100ms", "1.1s m 0+1 1.1s", "1.6s m 0+0 1.1s", "1h0m1.1s m 0+1 1h0m1.1s",
		}
		if !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
	})
}

func TestRequestsAreDemand(t *testing.T) {
	var mu sync.Mutex
	var told []string
	var r *rig
	cold := model.Deployment{Name: "cold", Spec: model.Spec{Model: "cold:latest", Engine: model.Ollama, MaxReplicas: 1}}
	r = newRig(t, Config{
		Routes: oneRoute,
		Demand: func(name string, d model.Demand) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, fmt.Sprintf("%s %d", name, d.InFlight))
		},
		Deployments: func() []model.Deployment { return []model.Deployment{cold} },
	}, map[string]http.Handler{"n1": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !r.gateway.Busy("m", "n1", "r1") || r.gateway.Busy("m", "n1", "r2") {
			t.Error("not the replica that answers is busy")
		}
		_, _ = io.WriteString(w, `{"object":"chat.completion"}`)
	})})
	res := r.do(t, http.MethodPost, "/v1/chat/completions", `{"model":"m"}`)
	readAll(t, res)
	if got := r.do(t, http.MethodGet, "/v1/models/cold", ""); got.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("status = %d", got.StatusCode)
	}
	res = r.do(t, http.MethodPost, "/v1/chat/completions", `{"model":"cold"}`)
	if body := readAll(t, res); res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
		t.Errorf("a cold model answers %d: %s", res.StatusCode, body)
	}
	mu.Lock()
	defer mu.Unlock()
	if want := []string{"m 1", "cold:latest 0"}; !slices.Equal(told[:2], want) {
		t.Errorf("told %q, want %q", told, want)
	}
}
