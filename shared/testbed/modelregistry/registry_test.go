package modelregistry

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testModel(t *testing.T) *Model {
	t.Helper()
	m, err := NewModel(Spec{
		Name: "tiny", Weights: []byte("the weights"), Template: "{{ .Prompt }}",
		Parameters: map[string]any{"stop": []string{"x"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func get(t *testing.T, client *http.Client, url string) (status int, body string) {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

// fetchAll follows the manifest to every blob.
func fetchAll(t *testing.T, client *http.Client, base string) {
	t.Helper()
	status, body := get(t, client, base+"/v2/library/tiny/manifests/latest")
	if status != http.StatusOK {
		t.Fatalf("manifest: %d %s", status, body)
	}
	var manifest struct {
		Config descriptor
		Layers []descriptor
	}
	if err := json.Unmarshal([]byte(body), &manifest); err != nil {
		t.Fatal(err)
	}
	if len(manifest.Layers) != 3 {
		t.Errorf("%d layers, want weights, template and parameters", len(manifest.Layers))
	}
	for _, d := range append(manifest.Layers, manifest.Config) {
		status, blob := get(t, client, base+"/v2/library/tiny/blobs/"+d.Digest)
		if status != http.StatusOK || len(blob) != d.Size {
			t.Errorf("%s: status %d, %d bytes; want 200 and %d", d.MediaType, status, len(blob), d.Size)
		}
	}
	if _, blob := get(t, client, base+"/v2/library/tiny/blobs/"+manifest.Layers[0].Digest); blob != "the weights" {
		t.Errorf("the weights are %q", blob)
	}
	for _, path := range []string{"/v2/library/other/manifests/latest", "/v2/library/tiny/blobs/sha256:0", "/blobs/sha256:0"} {
		if status, body := get(t, client, base+path); status != http.StatusNotFound || !strings.Contains(body, "MANIFEST_UNKNOWN") {
			t.Errorf("%s: %d %s, want 404 MANIFEST_UNKNOWN", path, status, body)
		}
	}
}

func TestHandler(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(NewHandler([]*Model{testModel(t)}, Options{}))
	defer server.Close()
	fetchAll(t, server.Client(), server.URL)
}

func TestProxyIsTheRegistryAndNothingElse(t *testing.T) {
	t.Parallel()
	proxy, err := StartProxy(t.Context(), []*Model{testModel(t)}, 0)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(proxy.Certificate()) {
		t.Fatal("the proxy's certificate cannot be read")
	}
	at, err := url.Parse(proxy.URL())
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{
		Proxy:           http.ProxyURL(at),
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
	}
	client := &http.Client{Transport: transport}
	fetchAll(t, client, "https://registry.ollama.ai")

	if _, err := client.Get("https://example.com/"); err == nil || !strings.Contains(err.Error(), "Forbidden") {
		t.Errorf("another host: %v, want the proxy to forbid it", err)
	}
	plain := &http.Client{Transport: &http.Transport{}}
	if status, body := get(t, plain, proxy.URL()+"/"); status != http.StatusForbidden ||
		!strings.Contains(body, "offline: only registry.ollama.ai is here") {
		t.Errorf("plain request: %d %s, want 403", status, body)
	}
	plain.CloseIdleConnections()
	// Close ends the connections that the client still holds open.
	if err := proxy.Close(); err != nil {
		t.Error(err)
	}
	transport.CloseIdleConnections()
}

func TestDownloadsAreThrottled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := testModel(t)
		blob := strings.Repeat("x", 1000)
		m.blobs["sha256:big"] = []byte(blob)
		began := time.Now()
		recorder := httptest.NewRecorder()
		NewHandler([]*Model{m}, Options{BytesPerSecond: 100}).
			ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/blobs/sha256:big", nil))
		if took := time.Since(began); recorder.Body.String() != blob || took != 10*time.Second {
			t.Errorf("%d bytes in %s, want 1000 in 10s", recorder.Body.Len(), took)
		}
	})
}
