package api

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"
)

func TestDashboard(t *testing.T) {
	const script = "\n\tconsole.log('start');\n"
	page := `<!doctype html><title>Orchion</title><script>` + script + `</script><script type="module" src="/_app/x.js"></script>`
	h := newHarness(t, settings{dashboard: fstest.MapFS{
		"index.html":                  {Data: []byte(page)},
		"favicon.svg":                 {Data: []byte("<svg/>")},
		"_app/version.json":           {Data: []byte("{}")},
		"_app/immutable/app.a1b2.js":  {Data: []byte("export {}")},
		"_app/immutable/style.c3.css": {Data: []byte("a{}")},
	}})
	const immutable, fresh = "public, max-age=31536000, immutable", "no-cache"
	for path, want := range map[string]struct {
		status             int
		contentType, cache string
		body               string
	}{
		"/":                           {200, "text/html", fresh, "<title>Orchion"},
		"/index.html":                 {200, "text/html", fresh, "<title>Orchion"},
		"/nodes":                      {200, "text/html", fresh, "<title>Orchion"},
		"/jobs/0190-abc":              {200, "text/html", fresh, "<title>Orchion"},
		"/models/qwen3.5":             {200, "text/html", fresh, "<title>Orchion"},
		"/_app":                       {200, "text/html", fresh, "<title>Orchion"},
		"/favicon.svg":                {200, "image/svg+xml", fresh, "<svg/>"},
		"/_app/version.json":          {200, "application/json", fresh, "{}"},
		"/_app/immutable/app.a1b2.js": {200, "text/javascript", immutable, "export"},
		"/_app/immutable/old.js":      {404, "text/plain", "no-store", "There is no such file; reload the page."},
	} {
		a := h.call(t, http.MethodGet, path, "")
		if a.status != want.status || !strings.HasPrefix(a.header.Get("Content-Type"), want.contentType) ||
			a.header.Get("Cache-Control") != want.cache || !strings.Contains(string(a.body), want.body) {
			t.Errorf("%s answers %d %v %.80q", path, a.status, a.header, a.body)
		}
	}
	sum := sha256.Sum256([]byte(script))
	policy := h.call(t, http.MethodGet, "/", "").header.Get("Content-Security-Policy")
	if want := "script-src 'self' 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "';"; !strings.Contains(policy, want) {
		t.Errorf("the policy %q lacks %q", policy, want)
	}
	if a := h.call(t, http.MethodPost, "/nodes", ""); a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST answers %d %v", a.status, a.header)
	}
	if a := h.call(t, http.MethodHead, "/", ""); a.status != http.StatusOK || len(a.body) != 0 {
		t.Errorf("HEAD answers %d %q", a.status, a.body)
	}
}

func TestDashboardThatWasNotBuilt(t *testing.T) {
	h := newHarness(t, settings{})
	a := h.call(t, http.MethodGet, "/", "")
	if a.status != http.StatusOK || !strings.Contains(string(a.body), "./shared/scripts/build-all.sh") {
		t.Errorf("/ answers %d %s", a.status, a.body)
	}
	if a := h.call(t, http.MethodGet, "/nodes", ""); a.status != http.StatusNotFound || !strings.Contains(string(a.body), "build-all") {
		t.Errorf("/nodes answers %d", a.status)
	}
}
