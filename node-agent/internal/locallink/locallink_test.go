package locallink

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gateway is what stands for the gateway: it says who asked for what.
func gateway(t *testing.T) func(jobID string, attempt int) *http.Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, r.Header.Get("Job")+" "+r.Method+" "+r.URL.Path+" "+string(body)+r.Header.Get("Authorization"))
	}))
	t.Cleanup(server.Close)
	return func(jobID string, _ int) *http.Client {
		return &http.Client{Transport: transport{server.Listener.Addr().String(), jobID}}
	}
}

// transport sends all requests to one address, in the name of a job.
type transport struct{ address, jobID string }

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Host = t.address
	r.Header.Set("Job", t.jobID)
	return http.DefaultTransport.RoundTrip(r)
}

func ask(t *testing.T, l *Link, key string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, l.BaseURL()+"/chat/completions", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+key)
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func TestLink(t *testing.T) {
	dir := t.TempDir()
	cfg := Config{Dir: dir, Client: gateway(t), Logger: slog.New(slog.DiscardHandler)}
	links := New(cfg)
	first, err := links.Open(t.Context(), "job-1", 1)
	if err != nil {
		t.Fatal(err)
	}
	other, err := links.Open(t.Context(), "job-2", 1)
	if err != nil {
		t.Fatal(err)
	}
	if status, body := ask(t, first, first.Key()); status != http.StatusOK || body != "job-1 POST /v1/chat/completions hello" {
		t.Errorf("answered %d %q", status, body)
	}
	for _, key := range []string{"", "orchion-job", other.Key()} {
		if status, body := ask(t, first, key); status != http.StatusUnauthorized || !strings.Contains(body, "OPENAI_API_KEY") {
			t.Errorf("with the key %q: %d %s", key, status, body)
		}
	}

	// The next run of the agent opens the same again.
	first.Detach()
	again, err := New(cfg).Open(t.Context(), "job-1", 1)
	if err != nil {
		t.Fatal(err)
	}
	if again.BaseURL() != first.BaseURL() || again.Key() != first.Key() {
		t.Errorf("it is at %s now, was at %s", again.BaseURL(), first.BaseURL())
	}
	if status, _ := ask(t, again, first.Key()); status != http.StatusOK {
		t.Errorf("answered %d", status)
	}

	if err := links.Reap(t.Context(), func(jobID string, attempt int) bool { return jobID == "job-1" && attempt == 1 }); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 || left[0].Name() != "job-1_1.json" {
		t.Errorf("left are %v, %v", left, err)
	}
	for _, l := range []*Link{again, other} {
		if err := l.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
	if _, err := links.Open(t.Context(), "../x", 1); err == nil {
		t.Error("a path was taken for an id")
	}
}
