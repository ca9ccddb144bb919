package docker

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// podmanAt answers as Podman with what handle says about networks.
func podmanAt(t *testing.T, handle http.HandlerFunc) *Driver {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/version") {
			fmt.Fprint(w, `{"ApiVersion":"1.41","Components":[{"Name":"Podman Engine","Version":"4.3.1"}]}`)
			return
		}
		handle(w, r)
	}))
	t.Cleanup(server.Close)
	d, err := Open(t.Context(), strings.Replace(server.URL, "http://", "tcp://", 1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

func TestNetworkFailures(t *testing.T) {
	missing := answer(http.StatusNotFound, `{"message":"network not found"}`)
	for _, tt := range []struct {
		name           string
		lookup, create http.HandlerFunc
		code           driver.Code
		parts          []string
	}{
		{"somebody else's", answer(200, `{"name":"orchion-jobs"}`), answer(409, `{"message":"network name orchion-jobs already used"}`),
			driver.CodeConflict, []string{"orchion-jobs", "did not make", "podman network rm orchion-jobs"}},
		{"no addresses left", missing, answer(500, `{"message":"could not find free subnet from subnet pools"}`),
			driver.CodeInternal, []string{"free subnet", "podman network prune"}},
		{"CNI", missing, answer(500, `{"message":"unsupported bridge network option isolate"}`),
			driver.CodeUnsupported, []string{"netavark"}},
		{"no word", missing, answer(500, `oops`), driver.CodeInternal, []string{"500"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := podmanAt(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost {
					tt.create(w, r)
					return
				}
				tt.lookup(w, r)
			})
			_, err := d.networkMode(t.Context(), driver.JobSpec("a"))
			if driver.CodeOf(err) != tt.code {
				t.Errorf("code %s, want %s: %v", driver.CodeOf(err), tt.code, err)
			}
			for _, part := range tt.parts {
				if err == nil || !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not say %q", err, part)
				}
			}
		})
	}
}

// A network that stays open after a reload keeps containers from being started.
func TestOpenNetworkIsRefused(t *testing.T) {
	var calls []string
	d := podmanAt(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodHead { // a ping
			calls = append(calls, r.Method)
		}
		fmt.Fprint(w, `{"name":"orchion-jobs","labels":{"orchion.managed":"true"}}`)
	})
	err := d.Start(t.Context(), "c")
	if driver.CodeOf(err) != driver.CodeConflict || !strings.Contains(err.Error(), "podman network rm orchion-jobs") {
		t.Errorf("Start = %v", err)
	}
	if got := strings.Join(calls, " "); got != "GET POST DELETE GET" {
		t.Errorf("calls %s", got)
	}
}
