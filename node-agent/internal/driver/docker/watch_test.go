package docker

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// forgetful is an engine that answers neither a wait nor the end of a log, as Podman 4 now
// and then does for a container that ends at once. The container runs until ended is set.
func forgetful(t *testing.T, ended *atomic.Bool) *Driver {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/version"):
			fmt.Fprint(w, `{"ApiVersion":"1.40","Components":[{"Name":"Podman Engine","Version":"4.3.1"}]}`)
		case strings.HasSuffix(r.URL.Path, "/wait"):
			ended.Store(true)
			<-r.Context().Done()
		case strings.HasSuffix(r.URL.Path, "/logs"):
			line := "2026-01-01T00:00:00Z hello\n"
			_, _ = w.Write(append([]byte{1, 0, 0, 0, 0, 0, 0, byte(len(line))}, line...))
			_ = http.NewResponseController(w).Flush()
			ended.Store(true)
			<-r.Context().Done()
		case ended.Load():
			fmt.Fprint(w, `{"Id":"c","Name":"/c","State":{"Status":"exited","ExitCode":7},"Config":{}}`)
		default:
			fmt.Fprint(w, `{"Id":"c","Name":"/c","State":{"Status":"running"},"Config":{}}`)
		}
	}))
	t.Cleanup(server.Close)
	d, err := Open(t.Context(), strings.Replace(server.URL, "http://", "tcp://", 1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	d.firstLook = time.Millisecond
	return d
}

func TestWaitThatIsNeverAnswered(t *testing.T) {
	var ended atomic.Bool
	exit, err := forgetful(t, &ended).Wait(t.Context(), "c")
	if err != nil || exit.Code != 7 {
		t.Errorf("Wait = %v, %v, want exit code 7", exit, err)
	}
}

func TestFollowedLogThatNeverEnds(t *testing.T) {
	var ended atomic.Bool
	var lines []string
	err := forgetful(t, &ended).Logs(t.Context(), "c", driver.LogOptions{Follow: true}, func(e driver.LogEntry) error {
		lines = append(lines, e.Text)
		return nil
	})
	if err != nil || len(lines) != 1 || lines[0] != "hello" {
		t.Errorf("Logs gave %q, %v", lines, err)
	}
}

func TestFollowingEndsWithItsContext(t *testing.T) {
	var ended atomic.Bool
	d := forgetful(t, &ended)
	d.firstLook = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	err := d.Logs(ctx, "c", driver.LogOptions{Follow: true}, func(driver.LogEntry) error {
		cancel()
		return nil
	})
	if ctx.Err() == nil || err == nil {
		t.Errorf("Logs = %v, want the context's error", err)
	}
}
