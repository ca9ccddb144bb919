package hosting

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/driver/fake"
	"github.com/orchion/orchion/node-agent/internal/engine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// machine is a fake engine whose image "server" runs until it is stopped, or, with the
// variable CRASH, says why and ends.
func machine(t *testing.T) (*Host, *fake.Driver) {
	t.Helper()
	d := fake.New(fake.Options{Programs: map[string]fake.Program{"/server": func(p *fake.Process) int {
		if p.Getenv("CRASH") != "" {
			p.Sleep(time.Second)
			fmt.Fprintln(p.Stderr(), "loading")
			fmt.Fprintln(p.Stderr(), "no such device")
			return 3
		}
		p.Sleep(100 * time.Hour)
		return 0
	}}})
	d.AddImage("server", fake.Image{Entrypoint: []string{"/server"}})
	t.Cleanup(func() { d.Close() })
	return &Host{Driver: d, NodeID: "node", Engine: "test"}, d
}

func want(env map[string]string) Container {
	spec := driver.EngineSpec("server")
	spec.Env = env
	return Container{Key: "key", Spec: spec, Port: 80}
}

func TestEnsureReplacesWhatChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, d := machine(t)
		ctx := t.Context()
		first, err := h.Ensure(ctx, want(map[string]string{"A": "1"}))
		if err != nil {
			t.Fatal(err)
		}
		same, err := h.Ensure(ctx, want(map[string]string{"A": "1"}))
		if err != nil || same != first {
			t.Errorf("the same container = %+v, %v, was %+v", same, err, first)
		}
		changed, err := h.Ensure(ctx, want(map[string]string{"A": "2"}))
		if err != nil || changed.ID == first.ID {
			t.Errorf("another container = %+v, %v, was %+v", changed, err, first)
		}
		list, err := d.List(ctx, nil)
		if err != nil || len(list) != 1 || list[0].Labels[engine.LabelNode] != "node" || list[0].Labels[engine.LabelEngine] != "test" {
			t.Errorf("containers = %+v, %v", list, err)
		}
		found, ok, err := h.Find(ctx, "key", 80)
		if err != nil || !ok || found != changed {
			t.Errorf("Find = %+v, %v, %v, want %+v", found, ok, err, changed)
		}
		if err := h.Remove(ctx, "key", func() bool { return true }); err != nil {
			t.Fatal(err)
		}
		if _, ok, _ = h.Find(ctx, "key", 80); !ok {
			t.Error("removed although it is still needed")
		}
		if err := h.Remove(ctx, "key", func() bool { return false }); err != nil {
			t.Fatal(err)
		}
		if _, ok, _ = h.Find(ctx, "key", 80); ok {
			t.Error("not removed")
		}
	})
}

func TestWaitHealthy(t *testing.T) {
	failing := func(context.Context) error { return errors.New("status 503") }
	for _, tt := range []struct {
		name    string
		env     map[string]string
		healthy func(context.Context) error
		after   time.Duration
		code    engine.Code
		want    string
	}{
		{"at once", nil, func(context.Context) error { return nil }, 0, "", ""},
		{"too late", nil, failing, 10 * time.Second, engine.CodeUnavailable, "not healthy after 10s: status 503"},
		{"crash", map[string]string{"CRASH": "1"}, failing, time.Second, engine.CodeFailed,
			"ended with exit code 3; it said last: loading | no such device"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, _ := machine(t)
				running, err := h.Ensure(t.Context(), want(tt.env))
				if err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				err = h.WaitHealthy(t.Context(), running.ID, 10*time.Second, tt.healthy)
				if engine.CodeOf(err) != tt.code || (err != nil && !strings.Contains(err.Error(), tt.want)) {
					t.Errorf("error = %v, want %s, %q", err, tt.code, tt.want)
				}
				if took := time.Since(begin); took < tt.after || took > tt.after+pollInterval {
					t.Errorf("took %v, want about %v", took, tt.after)
				}
			})
		})
	}
}

func TestStatusError(t *testing.T) {
	for body, want := range map[string]string{
		`{"error":"model not found"}`:                          "status 404: model not found",
		`{"error":{"message":"no such model","type":"x"}}`:     "status 404: no such model",
		`{"object":"error","message":"The model is missing."}`: "status 404: The model is missing.",
		`<html>`: "status 404: <html>",
		``:       "status 404: ",
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			w.Write([]byte(body))
		}))
		client := NewClient()
		err := GetJSON(t.Context(), client, srv.URL, nil)
		var status *StatusError
		if !errors.As(err, &status) || status.Code != http.StatusNotFound || err.Error() != want {
			t.Errorf("%s: error = %v, want %q", body, err, want)
		}
		client.CloseIdleConnections()
		srv.Close()
	}
}
